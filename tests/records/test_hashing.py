import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import site_lens
from site_lens.records.hashing import (
    MEASURING,
    canonical_json,
    code_version,
    digest_arrays,
    digest_bytes,
    digest_json,
    seed_stream,
)
from tests.samples import laws

PACKAGE = Path(site_lens.__file__).parent
letters = st.text(st.characters(codec="utf-8"), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | letters,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(letters, inner, max_size=4),
    max_leaves=12,
)


@laws
@given(json_values)
def test_the_canonical_form_says_the_same_and_is_stable(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


@laws
@given(st.dictionaries(letters, json_values, max_size=6))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any]) -> None:
    assert digest_json(dict(reversed(list(value.items())))) == digest_json(value)


@laws
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_different_bytes_have_different_digests_of_64_digits(a: bytes, b: bytes) -> None:
    assert (digest_bytes(a) == digest_bytes(b)) == (a == b)
    assert len(digest_bytes(a)) == 64


def test_numbers_that_are_not_finite_have_no_digest() -> None:
    for number in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            digest_json({"lr": number})


def test_the_digest_of_arrays_knows_names_shapes_dtypes_and_numbers() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    moved = array.copy()
    moved[1, 2] = np.nextafter(moved[1, 2], np.float32(9))
    variants: list[dict[str, np.ndarray]] = [
        {"a": array},
        {"b": array},
        {"a": array.reshape(3, 2)},
        {"a": array.view(np.int32)},
        {"a": moved},
        {"a": array, "b": array},
    ]
    assert len({digest_arrays(variant) for variant in variants}) == len(variants)


def test_the_code_that_measures_is_digested_and_code_that_draws_is_not(tmp_path: Path) -> None:
    for folder in (*MEASURING, "plots"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("x = 1")
    before = code_version(tmp_path)
    code_version.cache_clear()
    (tmp_path / "plots" / "a.py").write_text("x = 2")
    assert code_version(tmp_path) == before
    for folder in MEASURING:
        code_version.cache_clear()
        (tmp_path / folder / "a.py").write_text("x = 2")
        assert code_version(tmp_path) != before
        assert (PACKAGE / folder).is_dir(), folder
        (tmp_path / folder / "a.py").write_text("x = 1")


def test_the_digest_of_arrays_ignores_memory_layout_and_order_of_names() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest_arrays({"a": array, "b": array}) == digest_arrays({"b": array, "a": np.asfortranarray(array)})


def test_the_same_parts_open_the_same_stream_and_other_parts_another() -> None:
    parts: list[tuple[object, ...]] = [(0, "a"), (1, "a"), (0, "b"), (0,), (0, "a", "x"), ("0a",)]
    drawn = [seed_stream(*part).integers(2**62) for part in parts]
    assert drawn == [seed_stream(*part).integers(2**62) for part in parts]
    assert len(set(drawn)) == len(parts)


def test_a_stream_is_still_the_one_that_saved_records_were_drawn_from() -> None:
    assert seed_stream(0, "planted").integers(1000, size=4).tolist() == [907, 463, 183, 835]
