"""Records on disk: what is saved comes back, what was damaged is refused, a save that stops leaves the old record."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save as to_bytes

from site_lens._version import __version__
from site_lens.heads.scores import HeadGates, HeadScores
from site_lens.records.base import Record
from site_lens.records.errors import StorageError
from site_lens.records.hashing import digest_bytes, digest_json
from site_lens.records.serialization import KINDS, load, record_paths, save
from site_lens.records.study_registry import STUDIES
from site_lens.site.fit import SiteFit
from tests.samples import SAMPLES, SMALL, gates, laws

texts = st.text(st.characters(codec="utf-8"), max_size=20)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
Pair = tuple[Path, Path]


@pytest.fixture
def saved(tmp_path: Path) -> Pair:
    """Paths of the two files of saved gates: arrays, JSON."""
    save(gates(), tmp_path / "gates")
    return record_paths(tmp_path / "gates")


def rewrite(paths: Pair, tensors: bytes | None = None, **changes: Any) -> Path:
    """Change a manifest as somebody would who knows how to set every digest right."""
    tensors_path, manifest_path = paths
    if tensors is not None:
        tensors_path.write_bytes(tensors)
    said = json.loads(manifest_path.read_bytes()) | {"tensors_digest": digest_bytes(tensors_path.read_bytes())}
    said |= changes
    said.pop("digest")
    manifest_path.write_text(json.dumps(said | {"digest": digest_json(said)}))
    return manifest_path


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# What is saved comes back


def test_records_of_every_kind_come_back_and_saving_again_writes_the_same_bytes(tmp_path: Path) -> None:
    for kind, sample in SAMPLES.items():
        record = sample()
        loaded: Record = load(save(record, tmp_path / kind))
        assert type(loaded) is type(record), kind
        assert loaded == record, kind
        save(loaded, tmp_path / f"{kind}_again")
        for one, two in zip(record_paths(tmp_path / kind), record_paths(tmp_path / f"{kind}_again"), strict=True):
            assert one.read_bytes() == two.read_bytes(), kind


@laws
@given(values=arrays.arrays(np.float32, SMALL.shape, elements=floats), text=texts, task=st.none() | texts)
def test_any_numbers_and_texts_come_back_to_the_last_bit(
    tmp_path: Path, values: np.ndarray, text: str, task: str | None
) -> None:
    record = HeadScores(grid=SMALL, values=values * SMALL.mask, selector=text, meaning=text, task=task)
    loaded = load(save(record, tmp_path / "one"), HeadScores)
    assert loaded == record
    assert (loaded.selector, loaded.task) == (text, task)
    assert loaded.values.tobytes() == record.values.tobytes()


def test_every_record_of_the_package_can_be_stored_and_is_sampled() -> None:
    def heirs(of: type[Record]) -> set[type[Record]]:
        return {heir for child in of.__subclasses__() for heir in {child, *heirs(child)}}

    homes = {f"{heir.__module__}:{heir.__name__}" for heir in heirs(Record) if hasattr(heir, "kind")}
    stored = {*KINDS.values(), *(study.result for study in STUDIES.values())}
    assert {home for home in homes if home.startswith("site_lens.")} <= stored
    assert {*KINDS, *STUDIES} == set(SAMPLES)
    assert {kind: sample().kind for kind, sample in SAMPLES.items()} == {kind: kind for kind in SAMPLES}


# What was damaged is refused


def test_edited_and_swapped_files_are_recognised(saved: Pair, tmp_path: Path) -> None:
    text = saved[1].read_text()
    for was, becomes in (('"antonym"', '"synonym"'), (__version__, "9.9.9"), ('"antonym"', "NaN")):
        saved[1].write_text(text.replace(was, becomes))
        with pytest.raises(StorageError, match="was edited"):
            load(saved[1])
    saved[1].write_text(text)
    save(gates().hard(), tmp_path / "hard")
    shutil.copy(tmp_path / "hard.safetensors", saved[0])
    with pytest.raises(StorageError):
        load(saved[1])
    doubles = {name: array.astype("float64") for name, array in gates().parts()[0].items()}
    with pytest.raises(StorageError, match="float32"):
        load(rewrite(saved, to_bytes(doubles)))


def test_newer_schemas_other_kinds_and_missing_files_end_in_one_line(saved: Pair, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not a site_fit"):
        load(saved[1], SiteFit)
    newer: list[dict[str, Any]] = [{"record_schema": 2, "site_lens": "9.0.0"}, {"kind": "os.system"}]
    for changes in newer:
        with pytest.raises(StorageError, match="upgrade"):
            load(rewrite(saved, **changes))
    saved[0].unlink()
    for path in (saved[1], tmp_path / "nowhere", tmp_path, saved[1] / "x"):
        with pytest.raises(StorageError) as refused:
            load(path)
        assert "\n" not in str(refused.value)


# What cannot be written leaves nothing behind


def test_an_interrupted_save_leaves_the_old_record_whole(saved: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        for n_written in (0, 1):
            calls: list[int] = []

            def fsync(handle: int, calls: list[int] = calls, n: int = n_written, error: BaseException = error) -> None:
                calls.append(handle)
                if len(calls) > n:
                    raise error

            monkeypatch.setattr(os, "fsync", fsync)
            with pytest.raises(StorageError if isinstance(error, OSError) else KeyboardInterrupt):
                save(gates().hard(), saved[1])
            assert files_below(saved[0].parent) == {"gates.json", "gates.safetensors"}
            assert load(saved[1], HeadGates) == gates()
