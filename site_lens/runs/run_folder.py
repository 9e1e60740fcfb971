"""Overwrite protection of a run's folder: which of its files belong to the run, and how another run takes its place.

A run lists what it writes in `written.sha256`. Replacing a run removes what is listed; the notes, pages and tables of
others stay, and where one of them stands in the way, nothing is done.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from site_lens.methods.evaluation import Evaluations
from site_lens.records import outputs
from site_lens.records.errors import StorageError
from site_lens.records.limited_io import parse_json, read_file
from site_lens.records.serialization import holds_record

RESULTS, HEADS, REPORT, INPUTS = "results.csv", "heads.csv", "report.html", "inputs.json"
PRODUCTS = (RESULTS, HEADS, REPORT, INPUTS)
"""What stands beside the records of a run; it goes when the run is replaced."""
SAVED = ".saved"
"""A whole run on its way into the folder that holds this one: it counts until all of its files are in their places."""
RECORDS = (".json", ".safetensors")
"""Suffixes of the files of a record."""
MARK_BYTES = 2**16
"""A mark of a study that is larger says nothing."""


def study_mark(folder: str | Path, name: str) -> Path:
    """Return the file beside a study that says what it was made of, so that it need not be made again."""
    return Path(folder) / "studies" / f"{name}.key"


def study_pieces(folder: str | Path, name: str) -> Path:
    """Return the folder in which a study keeps what it has measured until it is done."""
    return Path(folder) / "studies" / f"{name}.pieces"


def read_mark(path: Path) -> dict[str, Any]:
    """Read a mark: under `key` what was marked is made of, and what else was said; empty if it cannot be read.

    The first marks were the key alone.
    """
    with suppress(OSError, ValueError):
        content = read_file(path, MARK_BYTES).decode()
        return dict(parse_json(content)) if content.startswith("{") else {"key": content}
    return {}


def write_mark(path: Path, key: str, **details: Any) -> None:
    """Write a mark, over an earlier one."""
    outputs.write_output({path: json.dumps({"key": key, **details}).encode()}, replace=True)


def check_run_folder(folder: str | Path, *, replaces: bool = False) -> None:
    """Find out before long work whether a run can be written to `folder`, and nothing of others is replaced.

    A run whose saving was interrupted when it was whole is put in its place.

    Args:
        folder: The folder, which is made if need be.
        replaces: The run that is there will go, not only be added to.

    Raises:
        StorageError: The folder cannot be written, a part of it is a link, or it holds a file where one of the run has
            to be that was not written with it.
    """
    folder = Path(folder)
    refuse_links(folder)
    outputs.check_writable(folder)
    settle(folder)
    refuse_strangers(folder, replaces=replaces)


def refuse_strangers(folder: Path, *, replaces: bool) -> None:
    """Raise StorageError if a file is in the place of one of a run that was not written with it."""
    own = {folder / name for name in own_files(folder)}
    for path in _run_files(folder):
        if (replaces or path.parent == folder) and path not in own:
            raise StorageError(
                f"{path} was not written with the run of this folder; move it away, or choose another folder"
            )


def own_files(folder: Path) -> list[str]:
    """Return the files of the run in a folder, by their paths in it: those in its list, and of a run on its way there.

    Of a run without a list, as site_lens 0.1.0 wrote them: its records, and what has a name of what stands beside them.
    """
    names = outputs.listed(folder) + outputs.listed(folder / SAVED)
    if not outputs.has_list(folder) and any(map(holds_record, (folder / "fits").glob("*.json"))):
        unlisted = [path for path in _run_files(folder) if path.suffix not in RECORDS or holds_record(path)]
        names += [path.relative_to(folder).as_posix() for path in unlisted]
    return names


def _run_files(folder: Path) -> Iterator[Path]:
    """Find the files that are taken for those of a run because of their names."""
    for part in outputs.PARTS:
        yield from sorted(path for path in (folder / part).rglob("*") if path.suffix in (*RECORDS, ".key"))
    yield from (folder / name for name in PRODUCTS if (folder / name).exists())


def whole(folder: Path) -> Path:
    """Return where the run of a folder is: in it, or, where saving was interrupted, on its way there."""
    return folder / SAVED if outputs.has_list(folder / SAVED) else folder


def settle(folder: Path) -> None:
    """Put a run that was saved beside the one of a folder in its place; may be interrupted, and done again.

    Raises:
        StorageError: A file cannot be put in its place or removed.
    """
    waiting = folder / SAVED
    if not outputs.has_list(waiting):
        return

    def inside(names: list[str]) -> list[str]:
        return [name for name in names if outputs.is_within((folder / name).parent, folder)]

    new, old = inside(outputs.listed(waiting)), inside(own_files(folder))
    try:
        for name in new:
            outputs.write_whole({folder / name: (waiting / name).read_bytes()})
        for name in {*old} - {*new}:
            (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # something else is in it
                os.removedirs((folder / name).parent)
        outputs.write_whole({folder / outputs.LISTED: (waiting / outputs.LISTED).read_bytes()})
        (waiting / outputs.LISTED).unlink()  # from here on the folder itself counts
        shutil.rmtree(waiting)
    except OSError as error:  # which names the file
        raise StorageError(f"cannot put the run in {waiting} in its place: {error}; save it again") from error


def refuse_links(folder: str | Path) -> None:
    """Raise StorageError if a part of a run's folder is a link: what is saved or cleared there lies somewhere else."""
    for name in (*outputs.PARTS, SAVED, outputs.LISTED):
        for path in (Path(folder) / name, *(Path(folder) / name).glob("*/")):
            if path.is_symlink():
                raise StorageError(f"{path} is a link to {path.readlink()}; remove the link first")


def write_results(evaluations: Evaluations, folder: str | Path) -> Path:
    """Write `results.csv`: one row per task, method and metric; over that of an earlier evaluation.

    Raises:
        StorageError: The folder cannot be written.
    """
    path = Path(folder) / RESULTS
    outputs.write_output({path: evaluations.results().to_csv(index=False).encode()}, replace=True)
    return path
