"""Lazy public names of a package, read from its stub file.

`__init__.pyi` lists each public name once, for type checkers and for the import at run time. `lazy_loader.attach_stub`
does the same for relative imports only, and cannot check the arguments of functions on their way out.
"""

import ast
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any


def public_names(init: str) -> dict[str, str]:
    """Return the module that defines each public name of a package, given the path of its `__init__.py`."""
    stub = ast.parse(Path(init).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def lazy_names(
    package: str, init: str, *, renamed: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package (PEP 562).

    A name is imported when it is first used. Functions check the types of their arguments when called from here.

    Args:
        package: Name of the package.
        init: Path of its `__init__.py`, beside the stub.
        renamed: New names by old ones. An old name still works, with a DeprecationWarning.
    """
    old_names = dict(renamed or {})
    module_of = public_names(init)

    def get(name: str) -> Any:
        from site_lens.records.type_checks import checked

        if name in old_names:
            warnings.warn(f"{package}.{name} is now {package}.{old_names[name]}", DeprecationWarning, stacklevel=2)
            name = old_names[name]
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = module_of[name]
        if module == package:
            return import_module(f"{package}.{name}")
        value = getattr(import_module(module), name)
        return value if isinstance(value, type) or not callable(value) else checked(value, package)

    return get, lambda: sorted(module_of), sorted(module_of)
