from typing import Annotated, Any, ClassVar, get_args, get_origin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_lens.heads.head_set import HeadGrid
from site_lens.records.base import Axes, Float32, Frozen, join
from site_lens.records.errors import InputError
from site_lens.records.hashing import digest_arrays
from site_lens.site.fit import SiteFit
from site_lens.tasks.first_tokens import FirstTokens
from tests.fakes import fake_fit
from tests.samples import SAMPLES, SMALL, laws, scores

ALL = [record for sample in SAMPLES.values() if (record := sample()).parts()[0]]
"""A record of each kind that holds arrays."""


def with_one_number_changed(values: np.ndarray, index: int = 0) -> np.ndarray:
    """Move one number by the least that float32 can tell, towards 1; in a match 0 and 1 change places."""
    changed = np.array(values)
    flat = changed.reshape(-1)
    target = np.float32(1) if flat[index] != 1 else np.float32(2)
    flat[index] = np.nextafter(flat[index], target)
    return changed


def other(value: Any, annotation: Any) -> Any:
    """Return a value of the same type that differs in as little as can be."""
    if value is None:
        tokens = FirstTokens(n_rows=2, n_answers=2, n_tokens=2, told_apart=1, constant=0.5, constant_token="a")
        kinds = {
            float: 0.5, int: 1, str: "x", FirstTokens: tokens, SiteFit: fake_fit("antonym"), tuple[int, ...]: (0,),
        }  # fmt: skip
        return next((kinds[kind] for kind in get_args(annotation) if kind in kinds), np.zeros((1, 1), dtype=np.float32))
    if isinstance(value, np.ndarray):
        return with_one_number_changed(value)
    if isinstance(value, HeadGrid):
        return HeadGrid((*value.heads_per_layer, 0))
    if isinstance(value, Frozen):
        name, field = next(iter(type(value).model_fields.items()))
        return with_field(value, name, other(getattr(value, name), field.annotation))
    if isinstance(value, tuple) and value:
        return (other(value[0], next(iter(get_args(annotation)), None)), *value[1:])
    if isinstance(value, tuple):
        kind = next(iter(get_args(annotation)), str)
        least = 1 if "int" in str(kind) else 0.5 if "float" in str(kind) else "x"
        return (other((), kind) if get_origin(kind) is tuple else least,)
    if isinstance(value, dict):
        return {} if value else {"x": 0.5}
    return not value if isinstance(value, bool) else value + ("x" if isinstance(value, str) else 1)


def with_field(record: Frozen, name: str, value: Any) -> Frozen:
    """Copy a record with one field changed, without the checks, which other fields might not pass any more."""
    fields = {field: getattr(record, field) for field in type(record).model_fields}
    return type(record).model_construct(**fields | {name: value})


def test_the_digest_of_every_kind_changes_when_any_field_does() -> None:
    for kind, sample in SAMPLES.items():
        record = sample()
        for name, field in type(record).model_fields.items():
            changed = with_field(record, name, other(getattr(record, name), field.annotation))
            assert changed.digest != record.digest, (kind, name)
            assert changed != record, (kind, name)


@laws
@given(data=st.data())
def test_the_digest_changes_when_any_single_number_does(data: st.DataObject) -> None:
    arrays, _ = data.draw(st.sampled_from(ALL)).parts()
    name = data.draw(st.sampled_from(sorted(arrays)))
    index = data.draw(st.integers(0, arrays[name].size - 1))
    changed = arrays | {name: with_one_number_changed(arrays[name], index)}
    assert digest_arrays(changed) != digest_arrays(arrays)


def test_every_kind_of_record_compares_comes_apart_and_shows_itself() -> None:
    for kind, sample in SAMPLES.items():
        record, again = sample(), sample()
        assert again == record, kind
        assert len({record, again}) == 1, kind
        assert record != "a text"
        arrays, fields = record.parts()
        assert type(record)(**join(fields, arrays)) == record, kind
        assert repr(record).startswith(f"{type(record).__name__}("), kind
        assert "\n" not in repr(record) and "array(" not in repr(record), kind
        table = record.frame()
        assert len(table) > 0, kind
        assert all(f"<th>{column}</th>" in record._repr_html_() for column in table.columns[:3]), kind


def test_arrays_are_read_only_float32_copies() -> None:
    for dtype in ("float32", "float64"):
        given_values = scores().values.astype(dtype)
        made = scores().replace(values=given_values)
        given_values[0, 0] = 7
        assert made.values.dtype == np.float32
        assert made.values[0, 0] == scores().values[0, 0]
        with pytest.raises(ValueError, match="read-only"):
            made.values[0, 0] = 0


class Study(Frozen):
    """A record-like value with every kind of axis: named, declared, of the grid, shared between arrays."""

    lengths: ClassVar = {"reference": 2, "target": "task", "families": "task", "rows": "query", "chosen": "query"}

    grid: HeadGrid = SMALL
    tasks: tuple[str, ...] = ("a", "b", "c")
    families: tuple[str | None, ...] = (None, None, "x")
    queries: tuple[str, ...]
    rows: tuple[int, ...] = ()
    chosen: tuple[int, ...] | None = None
    right: Annotated[Float32, Axes(("reference", "task", "target", "query"))]
    alphas: Annotated[Float32, Axes(("task", "layer", "head"))]
    patterns: Annotated[Float32, Axes(("query", "key"))] | None = None


def test_axes_of_one_name_have_one_length_in_a_record() -> None:
    def fields(n_tasks: int = 3, grid: tuple[int, ...] = SMALL.shape, n_references: int = 2) -> dict[str, Any]:
        right = np.zeros((n_references, n_tasks, n_tasks, 4))
        return {"queries": ("q",) * 4, "right": right, "alphas": np.zeros((n_tasks, *grid))}

    assert Study(**fields(), patterns=np.zeros((4, 9)), rows=(0,) * 4, chosen=(1,) * 4).chosen == (1,) * 4
    refused: dict[str, tuple[dict[str, Any], str]] = {
        "tasks": ({"tasks": ("a", "b")}, "tasks"),
        "repeated names": ({"tasks": ("a", "a", "b")}, "tasks"),
        "declared field": ({"families": ("x",)}, "families"),
        "queries": ({"queries": ("q",)}, "queries"),
        "optional field": ({"rows": (0,)}, "rows"),
        "optional array": ({"patterns": np.zeros((3, 9))}, "patterns"),
        "shared axis": ({"alphas": np.zeros((2, *SMALL.shape))}, "alphas"),
        "equal axes": ({"right": np.zeros((2, 3, 4, 4))}, "right"),
        "grid": ({"alphas": np.zeros((3, 3, 2))}, "alphas"),
        "declared length": ({"right": np.zeros((3, 3, 3, 4))}, "right"),
    }
    for what, (changes, culprit) in refused.items():
        with pytest.raises(InputError, match=f"Study: .*{culprit}"):
            print(what, Study(**fields() | changes))
