"""Records that somebody damaged, edited or made up: refused by an error of ours, or read as what they are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save as to_safetensors

from site_lens.records.base import Record
from site_lens.records.serialization import load, record_paths, save
from tests.safety.mutations import damaged, json_values, signed, with_a_change
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


lengths = st.integers(0, 4) | st.sampled_from([-1, 2**31, 2**62])
formats = st.sampled_from(["F32", "F32", "F64", "F16", "BF16", "I8", "BOOL", "F8_E4M3", "C64", "X"])


@given(kind=kinds, data=st.data())
def test_arrays_that_were_changed_with_the_right_digests_make_a_record_or_are_refused(
    kind: str, data: st.DataObject, pairs: dict[str, Pair], tmp_path: Path
) -> None:
    said = pairs[kind][1]
    axes: dict[str, Any] = dict(said["axes"]) | data.draw(st.sampled_from([{}, {"more": [1]}]))
    for name in data.draw(st.lists(st.sampled_from(sorted(axes)), max_size=2)) if axes else []:
        axes[name] = data.draw(st.lists(lengths, max_size=4))
    honest = {name: shape for name, shape in axes.items() if all(0 <= n < 99 for n in shape)}
    fill = data.draw(st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e30, np.nan, np.inf]))
    tensors = to_safetensors({name: np.full(shape, fill, np.float32) for name, shape in honest.items()})
    if data.draw(st.booleans()):  # the header says other things than the file holds
        header = {
            name: {"dtype": data.draw(formats), "shape": shape, "data_offsets": [0, data.draw(lengths)]}
            for name, shape in axes.items()
        }
        text = json.dumps(header).encode()
        tensors = data.draw(st.sampled_from([len(text), 2**40, 0])).to_bytes(8, "little") + text + bytes(64)
    read(tmp_path, tensors, signed(said | {"axes": axes}, tensors))


@given(manifest=json_values.map(lambda value: json.dumps(value).encode()))
def test_files_made_up_are_refused(manifest: bytes, tmp_path: Path) -> None:
    assert read(tmp_path, b"", manifest) is None
