"""Records that somebody damaged, edited or made up: refused by an error of ours, or read as what they are."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_lens.records.base import Record
from site_lens.records.serialization import load, record_paths, save
from tests.safety.mutations import damaged, signed, with_a_change
from tests.safety.watching import only_our_errors, watched
from tests.samples import SAMPLES

Pair = tuple[bytes, dict[str, Any]]
"""The arrays of a record as bytes, and its manifest."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """One saved record of every kind."""
    folder, made = tmp_path_factory.mktemp("pairs"), {}
    for kind, sample in SAMPLES.items():
        tensors, manifest = record_paths(save(sample(), folder / kind))
        load(manifest)  # what is imported on the way is imported before any watch
        made[kind] = (tensors.read_bytes(), json.loads(manifest.read_bytes()))
    return made


kinds = st.sampled_from(sorted(SAMPLES))


def read(folder: Path, tensors: bytes, manifest: bytes) -> Record | None:
    """Load a record of these two files under watch; None if it is refused as it should be."""
    (folder / "one.safetensors").write_bytes(tensors)
    (folder / "one.json").write_bytes(manifest)
    with watched(), only_our_errors():
        loaded: Record = load(folder / "one")
        return loaded
    return None


@given(kind=kinds, which=st.sampled_from([0, 1]), data=st.data())
def test_damaged_files_are_refused_or_say_the_same(
    kind: str, which: int, data: st.DataObject, pairs: dict[str, Pair], tmp_path: Path
) -> None:
    tensors, said = pairs[kind]
    files = [tensors, json.dumps(said, indent=1).encode()]
    files[which] = data.draw(damaged(files[which]) | st.binary(max_size=60))
    loaded = read(tmp_path, *files)
    assert loaded is None or json.loads(json.dumps(loaded.parts()[1])) == said["fields"]


@given(kind=kinds, data=st.data())
def test_manifests_that_were_changed_with_the_right_digests_make_a_record_or_are_refused(
    kind: str, data: st.DataObject, pairs: dict[str, Pair], tmp_path: Path
) -> None:
    tensors, said = pairs[kind]
    changed = said | {"fields": data.draw(with_a_change(said["fields"]))}
    if data.draw(st.booleans()):
        around = data.draw(with_a_change({name: value for name, value in said.items() if name != "fields"}))
        changed = around | {"fields": said["fields"]} if isinstance(around, dict) else {"kind": around}
    read(tmp_path, tensors, signed(changed, tensors))
