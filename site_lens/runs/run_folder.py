"""Overwrite protection of a run's folder: which of its files belong to the run, and how another run takes its place.

A run lists what it writes in `written.sha256`. Replacing a run removes what is listed, as it was written; the notes,
pages and tables of others stay, and where one of them stands in the way, nothing is done.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from site_lens.methods.evaluation import Evaluations
from site_lens.records import outputs
from site_lens.records.errors import StorageError
from site_lens.records.hashing import digest_bytes
from site_lens.records.limited_io import parse_json, read_file
from site_lens.records.serialization import holds_record

SEVERAL = ("controls", "scores")
"""Parts of a run's folder that hold a folder for each control or selector."""
RESULTS, HEADS, REPORT, INPUTS = "results.csv", "heads.csv", "report.html", "inputs.json"
PRODUCTS = (RESULTS, HEADS, REPORT, INPUTS)
"""What stands beside the records of a run; it goes when the run is replaced."""
SAVED = ".saved"
"""A whole run on its way into the folder that holds this one: it counts until all of its files are in their places."""
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
    """Write a mark, over another mark only."""
    outputs.write_output({path: json.dumps({"key": key, **details}).encode()}, _is_mark)


def _is_mark(path: Path) -> bool:
    return re.fullmatch("[0-9a-f]{64}", str(read_mark(path).get("key"))) is not None


def check_run_folder(folder: str | Path, *, replaces: bool = False) -> None:
    """Find out before long work whether a run can be written to `folder`, and nothing of others is replaced.

    A run whose saving was interrupted when it was whole is put in its place.

    Args:
        folder: The folder, which is made if need be.
        replaces: The run that is there will go, not only be added to.

    Raises:
        StorageError: The folder cannot be written, a part of it is a link, or it holds a file where one of the run has
            to be that was not written with it, or was changed since.
    """
    folder = Path(folder)
    refuse_links(folder)
    outputs.check_writable(folder)
    settle(folder)
    refuse_strangers(folder, replaces=replaces)


def refuse_strangers(folder: Path, *, replaces: bool) -> None:
    """Raise StorageError if a file is in the place of one of a run that was not written with it, or changed since."""
    for path in _run_files(folder) if replaces else [folder / name for name in PRODUCTS if (folder / name).exists()]:
        if not _is_own(path, folder):
            raise StorageError(
                f"{path} was not written with the run of this folder, or was changed since; move it away, or choose "
                "another folder"
            )


def is_new(folder: Path) -> bool:
    """Tell whether nothing was written to a run's folder so far."""
    return not outputs.has_list(folder) and next(_run_files(folder), None) is None


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
    known = (*outputs.PARTS, *PRODUCTS)
    new = {name: digests for name, digests in outputs.listed(waiting).items() if name.split("/")[0] in known}
    old = _written(folder)
    try:
        outputs.write_list(folder, {name: old.get(name, set()) | new.get(name, set()) for name in old | new})
        for name in new:
            _place(waiting / name, folder / name)
        for name in old.keys() - new.keys():
            path = folder / name
            if path.is_file() and not _through_link(path, folder) and _is_own(path, folder):
                path.unlink()
                for above in path.relative_to(folder).parents[:-1]:
                    if not any((folder / above).iterdir()):
                        (folder / above).rmdir()
        outputs.write_list(folder, new)
        done = Path(tempfile.mkdtemp(dir=folder, prefix=".saving-"))
        waiting.replace(done)
        shutil.rmtree(done)
    except OSError as error:  # which names the file
        raise StorageError(f"cannot put the run in {waiting} in its place: {error}; save it again") from error


def _place(path: Path, target: Path) -> None:
    """Put a file in another place, in one step, and leave it where it is, too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.new")
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:  # a file system without links
        shutil.copyfile(path, beside)
    beside.replace(target)


def _through_link(path: Path, folder: Path) -> bool:
    return any((folder / above).is_symlink() for above in (path.relative_to(folder), *path.relative_to(folder).parents))


def _written(folder: Path) -> dict[str, set[str]]:
    """Return what was written to a run's folder; of a run without a list, what is known by its content."""
    if outputs.has_list(folder):
        return outputs.listed(folder)
    own = [path for path in _run_files(folder) if _is_own(path, folder)]
    return {path.relative_to(folder).as_posix(): {digest_bytes(read_file(path, outputs.MOST_BYTES))} for path in own}


def _run_files(folder: Path) -> Iterator[Path]:
    """Find the files that are taken for those of a run because of their names."""
    parts = [folder / part for part in outputs.PARTS if part not in SEVERAL]
    parts += [part for several in SEVERAL for part in sorted((folder / several).glob("*"))]
    parts += sorted((folder / "studies").glob("*.pieces"))
    for part in parts:
        if part.is_dir():
            yield from sorted(path for path in part.iterdir() if path.suffix in (".json", ".safetensors", ".key"))
    yield from (folder / name for name in PRODUCTS if (folder / name).exists())


def _is_own(path: Path, folder: Path) -> bool:
    """Tell whether a file of a run's folder was written with the run, and not changed since by others.

    Of a run without a list, as site_lens 0.1.0 wrote them: whether it begins as such a file does.
    """
    if path.suffix in (".json", ".safetensors") and path.parent != folder:
        return bool(outputs.listed_digests(path)) if outputs.has_list(folder) else holds_record(path)
    if outputs.has_list(folder):
        return outputs.is_listed(path)
    if path.suffix == ".key":
        return _is_mark(path)
    begins = {
        RESULTS: rb"task,method,metric,value,",
        HEADS: rb"task,head,layer,chosen,",
        REPORT: rb'(?s:.*?)<meta name="generator" content="site_lens ',
        INPUTS: rb'\{\s*"kind": "run_inputs"',
    }
    with suppress(OSError):
        return path.name in begins and re.match(begins[path.name], read_file(path, outputs.MOST_BYTES)) is not None
    return False


def refuse_links(folder: str | Path) -> None:
    """Raise StorageError if a part of a run's folder is a link: what is saved or cleared there lies somewhere else."""
    inner = [part for name in SEVERAL for part in (Path(folder) / name).glob("*")]
    pieces = (Path(folder) / "studies").glob("*.pieces")
    for part in (*(Path(folder) / name for name in (*outputs.PARTS, SAVED, outputs.LISTED)), *inner, *pieces):
        if part.is_symlink():
            raise StorageError(f"{part} is a link to {part.readlink()}, out of the run's folder; remove the link first")


def is_report(path: Path) -> bool:
    """Tell whether a file is the report that was written with the run of its folder."""
    return path.name == REPORT and outputs.is_run(path.parent) and _is_own(path, path.parent)


def write_results(evaluations: Evaluations, folder: str | Path) -> Path:
    """Write `results.csv`: one row per task, method and metric.

    Raises:
        StorageError: There is a file of that name that was not written with the run, or was changed since.
    """
    return write_product(evaluations.results().to_csv(index=False).encode(), Path(folder) / RESULTS)


def write_product(content: bytes, path: Path) -> Path:
    """Write a file of a run that is no record, such as `heads.csv` or `inputs.json`.

    Raises:
        StorageError: There is a file of that name that was not written with the run, or was changed since.
    """
    outputs.write_output({path: content}, lambda there: _is_own(there, there.parent))
    return path
