from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest

from site_lens.heads.head_set import HeadGrid
from site_lens.records.base import Axes, Float32, Frozen
from site_lens.records.errors import InputError
from tests.samples import SAMPLES, SMALL, scores


def others(value: Any) -> Iterator[Any]:
    """Return values of the same type that differ in one number or text, without the checks."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, str):
        yield value + "x"
    elif isinstance(value, int | float):
        yield value + 1
    elif isinstance(value, np.ndarray) and value.size:
        yield np.append(value.flat[:-1], value.flat[-1] + 1).reshape(value.shape).astype(np.float32)
    elif isinstance(value, tuple) and value:
        yield from ((*value[:-1], last) for last in others(value[-1]))
    elif isinstance(value, dict):
        yield from (value | {key: other} for key in value for other in others(value[key]))
    elif isinstance(value, Frozen):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        yield from (type(value).model_construct(**changed) for changed in others(fields))


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # a text that is none of the choices of its field
def test_the_digest_of_every_kind_is_made_of_all_fields_that_do_not_have_their_default() -> None:
    for kind, sample in SAMPLES.items():
        record = sample()
        _, stored = record.parts()
        for name, field in type(record).model_fields.items():
            assert name in stored or getattr(record, name) == field.get_default(call_default_factory=True), (kind, name)
        assert list(others(record)), kind
        for other in others(record):
            assert other.digest != record.digest and other != record, (kind, other)


def test_every_kind_of_record_compares_comes_apart_and_shows_itself() -> None:
    for kind, sample in SAMPLES.items():
        record, again = sample(), sample()
        assert again == record, kind
        assert len({record, again}) == 1, kind
        assert record != "a text"
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
    fields = {"queries": ("q",) * 4, "right": np.zeros((2, 3, 3, 4)), "alphas": np.zeros((3, *SMALL.shape))}
    assert Study(**fields, patterns=np.zeros((4, 9)), rows=(0,) * 4, chosen=(1,) * 4).chosen == (1,) * 4
    refused: dict[str, tuple[dict[str, Any], str]] = {
        "tasks": ({"tasks": ("a", "b")}, "tasks"),
        "repeated names": ({"tasks": ("a", "a", "b")}, "tasks"),
        "declared field": ({"families": ("x",)}, "families"),
        "optional array": ({"patterns": np.zeros((3, 9))}, "patterns"),
        "equal axes": ({"right": np.zeros((2, 3, 4, 4))}, "right"),
        "grid": ({"alphas": np.zeros((3, 3, 2))}, "alphas"),
        "declared length": ({"right": np.zeros((3, 3, 3, 4))}, "right"),
    }
    for what, (changes, culprit) in refused.items():
        with pytest.raises(InputError, match=f"Study: .*{culprit}"):
            print(what, Study(**fields | changes))
