"""Types of arguments, checked where a public function or method begins: a wrong one is an InputError of one line."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import fields, is_dataclass
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import FunctionType, NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from site_lens.records.errors import InputError, unknown_name

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

WIDER: dict[object, Any] = {int: Integral, float: Real, bool: bool | np.bool_, Path: PathLike}
"""What counts as a number, a truth value and a path: NumPy's scalars and other people's paths do, too."""

ITERABLES = (Sequence, Collection, Iterable)
"""Types of several values: what suits one of them suits the others."""

SHOWN = (str, int, float, Sequence, NoneType)
"""Types of values that an error shows; of others it names the type."""

ADVICE = {
    "LensModel": "; sl.load_model and sl.wrap_model make one",
    "Task": "; sl.load_tasks reads some",
    "Run": "; sl.fit_and_evaluate makes one, sl.Run.load reads one",
    "SiteFits": "; sl.fit_site makes them, sl.SiteFits.load reads them",
    "SiteFit": "; take one of sl.SiteFits",
}
"""Where a value of a type comes from, by the first word of the type."""


def checked_methods(kind: type[T]) -> type[T]:
    """Check the arguments of a class's public methods and of its `__init__`; see `checked`."""
    for name, member in list(vars(kind).items()):
        inner = getattr(member, "__func__", member)
        if isinstance(inner, FunctionType) and (not name.startswith("_") or name == "__init__"):
            setattr(kind, name, checked(inner) if inner is member else type(member)(checked(inner)))
    return kind


def checked(function: F, home: str | None = None) -> F:
    """Check the arguments of a function against their annotations, whenever it is called.

    Numbers are never truth values, a text is never a sequence, a model is what has the methods of one, and elements are
    checked unless they come one by one. An annotation that type checkers alone can see is not checked.

    Args:
        function: The function.
        home: Module through which the checked one is reached, if it is another than the function's own.
    """
    return cast(F, _checked(function, home))


@cache  # the same name is looked up again and again
def _checked(function: Callable[..., Any], home: str | None) -> Callable[..., Any]:
    signature = inspect.signature(function)
    hints: dict[str, object] = {}

    @wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # Python's own error names the function and what is missing
        for name, value in given.items():
            parameter = signature.parameters[name]
            if name not in hints:
                hints[name] = hint_of(parameter, function)
            for item in value if parameter.kind is parameter.VAR_POSITIONAL else (value,):
                if item is not parameter.default and not suits(item, hints[name]):
                    raise _refusal(name, item, hints[name])
        return function(*args, **kwargs)

    call.__module__ = home or function.__module__  # where pickle looks for it
    return call


def hint_of(parameter: inspect.Parameter, function: Callable[..., Any]) -> object:
    """Return the type that a parameter is checked against, `Any` where it is not."""
    if parameter.annotation is parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
        return Any
    holder = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return get_type_hints(holder, inspect.unwrap(function).__globals__)[parameter.name]
    except NameError:  # imported for type checkers alone, because it is heavy
        return Any


def suits(value: Any, hint: Any) -> bool:
    """Tell whether a value is what a type hint says; anything suits `Any`, `object` and type variables."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if kind in (Union, UnionType):
        return any(suits(value, part) for part in parts)
    if kind is Literal:
        return any(type(value) is type(option) and value == option for option in parts)
    if getattr(kind, "_is_protocol", False) and kind not in ITERABLES:
        return all(hasattr(value, name) for name in {*kind.__annotations__, *vars(kind)} if not name.startswith("_"))
    if kind in ITERABLES:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            return False
        return isinstance(value, Iterator) or all(suits(item, parts[0]) for item in value)
    if kind is tuple:
        each = parts[:1] * len(value) if parts[1:] == (...,) and isinstance(value, Sized) else parts
        is_tuple = isinstance(value, tuple | list) and len(value) == len(each)
        return is_tuple and all(map(suits, value, each))
    if isinstance(value, bool) and kind in (int, float):
        return False
    if not isinstance(value, WIDER.get(kind, kind)):
        return False
    keyed = isinstance(value, Mapping) and len(parts) == 2
    return not keyed or all(suits(key, parts[0]) and suits(item, parts[1]) for key, item in value.items())


def _refusal(name: str, value: object, hint: object) -> InputError:
    """Build the error for a value that its hint refuses: what was wanted, what came, where to get it."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    options = [option for part in parts if get_origin(part) is Literal for option in get_args(part)]
    if options and isinstance(value, str):
        return unknown_name(f"value of `{name}`:", value, map(str, options))
    wanted = re.sub(r"[a-z_]\w*\.", "", str(hint) if get_args(hint) else getattr(hint, "__name__", str(hint)))
    first = re.split(r"\W", wanted)[0]
    came = f"{type(value).__name__} {value!r:.60}" if isinstance(value, SHOWN) else type(value).__name__
    return InputError(f"{name} must be {wanted}, got {came}{_part_that_suits(value, hint) or ADVICE.get(first, '')}")


def _part_that_suits(value: object, hint: object) -> str:
    """Name the part of a collection, or of a run, that would have been taken; empty where there is none."""
    if isinstance(value, Mapping):
        return next((f"; hand in one of them, such as [{key!r}]" for key in value if suits(value[key], hint)), "")
    if not is_dataclass(value):
        return ""
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    whole = (f"; hand in its {name}" for name, part in parts.items() if suits(part, hint))
    members = (f"{inner}, of its {name}" for name, part in parts.items() if (inner := _part_that_suits(part, hint)))
    return next(whole, "") or next(members, "")
