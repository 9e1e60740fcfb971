"""Head sets as text for other programs: JSON, or a Python literal, with the model that the heads belong to.

Both hold the same. In Python, `from heads import HEAD_SETS`; in JSON tuples are lists:

{"kind": "head_sets", "site_lens": "0.2.0",
 "model": {"name": "demo", "heads_per_layer": [8, 8, ...], "weights_digest": "...", "dtype": "float32"},
 "sets": {"antonym": [(0, 5), (2, 0)]}}

A head is (layer, head), both from 0.
"""

import ast
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from site_lens._version import __version__
from site_lens.heads.head_set import Head, HeadGrid, HeadSet
from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Count, Frozen
from site_lens.records.errors import InputError, MismatchError, StorageError
from site_lens.records.library_errors import system_errors
from site_lens.records.limited_io import parse_json, read_file
from site_lens.records.outputs import write_file

MOST_BYTES = 2**22
"""Bytes of a file of head sets: all heads of a large model in a hundred sets take a quarter."""

NAME = "HEAD_SETS"
"""Name of the literal in a Python file."""


class _Model(Frozen):
    name: str
    heads_per_layer: tuple[Count, ...]
    weights_digest: str
    dtype: str


class _HeadSets(Frozen):
    kind: Literal["head_sets"]
    site_lens: str
    model: _Model
    sets: dict[str, tuple[tuple[Count, Count], ...]]


def head_sets_text(
    sets: Mapping[str, HeadSet], model: ModelIdentity, *, format: Literal["json", "python"] = "json"
) -> str:
    """Head sets as JSON or as a Python literal, with name, heads and weights digest of the model.

    Args:
        sets: Sets by name, such as `run.paths.chosen()`.
        model: The model whose heads they are: `model.identity`, or `path.model` of a head path.
        format: `json`, or `python`: an assignment to `HEAD_SETS`.

    Raises:
        MismatchError: A set is over another grid than the model's.

    Example:
        >>> import site_lens as sl
        >>> model = sl.load_model("demo")
        >>> heads = sl.HeadSet.of(model.grid, ["L2H0", "L0H5"])
        >>> print(sl.head_sets_text({"antonym": heads}, model.identity, format="python").splitlines()[-3])
          'antonym': [(0, 5), (2, 0)]
    """
    for name, heads in sets.items():
        if heads.grid != model.grid:
            raise MismatchError(
                f"the set {name!r} is over {heads.grid}, and {model.short_name} has {model.grid}; give the model that "
                "the set was found on"
            )
    write: Callable[[Any], str] = json.dumps if format == "json" else repr
    of_model = {
        "name": model.short_name, "heads_per_layer": list(model.grid.heads_per_layer),
        "weights_digest": model.weights_digest, "dtype": model.dtype,
    }  # fmt: skip
    fields = {"kind": "head_sets", "site_lens": __version__, "model": of_model}
    lines = [f" {write(name)}: {write(value)}," for name, value in fields.items()]
    places = {name: [(head.layer, head.head) for head in sorted(heads.heads)] for name, heads in sets.items()}
    inner = ",\n".join(f"  {write(name)}: {write(heads)}" for name, heads in places.items())
    text = "\n".join(["{", *lines, f" {write('sets')}: {{", inner, " }", "}"]) + "\n"
    return text if format == "json" else f"# Attention heads: (layer, head), both from 0.\n{NAME} = {text}"


def write_head_sets(
    sets: Mapping[str, HeadSet], model: ModelIdentity, path: str | Path, *, replace: bool = False
) -> Path:
    """Write head sets to a `.json` file, or as a Python literal to a `.py` file; returns the path.

    Args:
        sets: Sets by name; see `head_sets_text`.
        model: The model whose heads they are.
        path: The file; its suffix says which format.
        replace: Write over any file that is there.

    Raises:
        InputError: The suffix is another one.
        MismatchError: A set is over another grid than the model's.
        StorageError: The folder cannot be written, or there is another file and `replace` is not given.

    Example:
        >>> import site_lens as sl
        >>> model = sl.load_model("demo")
        >>> sets = {"antonym": sl.HeadSet.of(model.grid, ["L2H0", "L0H5"])}
        >>> path = sl.write_head_sets(sets, model.identity, "heads.json")
        >>> sl.read_head_sets(path, model.identity) == sets
        True
    """
    formats: dict[str, Literal["json", "python"]] = {".json": "json", ".py": "python"}
    suffix = Path(path).suffix.lower()
    if suffix not in formats:
        raise InputError(f"{path} ends in none of {', '.join(formats)}, one of which says how to write head sets")
    return write_file(head_sets_text(sets, model, format=formats[suffix]).encode(), path, replace=replace)


def read_head_sets(path: str | Path, model: ModelIdentity, *, other_weights: bool = False) -> dict[str, HeadSet]:
    """Read the head sets of a file that `write_head_sets` wrote; nothing in it is run.

    A head such as L3H7 of one model is not that of another, so sets of another model are refused.

    Args:
        path: A `.json` or `.py` file.
        model: The model to use them on.
        other_weights: Take sets of other weights with as many heads in each layer: of a fine-tuned model, or of the
            same checkpoint in another number format.

    Returns:
        The sets by name.

    Raises:
        StorageError: The file cannot be read, or holds no head sets.
        MismatchError: The sets are of another model.
    """
    with system_errors(f"read {path}", "; check the path"):
        content = read_file(path, MOST_BYTES)
    try:
        value = _literal(content) if Path(path).suffix.lower() == ".py" else parse_json(content)
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise ValueError("it is no object with names")
        found = _HeadSets(**value)
        grid = HeadGrid(found.model.heads_per_layer)
        sets = {name: HeadSet.of(grid, [Head(*place) for place in places]) for name, places in found.sets.items()}
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:  # InputError is a ValueError
        raise StorageError(f"{path} holds no head sets: {error}; write it with write_head_sets") from error
    if grid != model.grid:
        raise MismatchError(
            f"the head sets in {path} are of {found.model.name} ({grid}), and {model.short_name} has {model.grid}"
        )
    if found.model.weights_digest != model.weights_digest and not other_weights:
        dtypes = f" ({found.model.dtype} and {model.dtype})" if found.model.dtype != model.dtype else ""
        raise MismatchError(
            f"the head sets in {path} are of {found.model.name}, whose weights are not those of "
            f"{model.short_name}{dtypes}; pass other_weights=True if it is the same model in another number format, or "
            "a fine-tuned copy"
        )
    return sets


def _literal(text: bytes) -> Any:
    """Evaluate the literal that a Python file assigns to `HEAD_SETS`, and nothing else."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [NAME]:
            return ast.literal_eval(node.value)
    raise ValueError(f"it assigns nothing to {NAME}")
