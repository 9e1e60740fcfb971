from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from site_lens.core.errors import InputError
from site_lens.core.fits import SiteConfig, SiteFit
from site_lens.core.heads import HeadGrid
from site_lens.core.prompts import PromptTemplate
from site_lens.core.records import Frozen, Record, join
from site_lens.core.scores import HeadScores
from tests.core.conftest import SAMPLES, SMALL, gates, laws, scores
from tests.fakes import fake_embedding, fake_fit, fake_identity

IDENTITY = fake_identity(grid=SMALL)
OTHER_NUMBERS = "of other numbers"
"""Stands for an array with one number changed."""
ONE_LAYER_MORE = HeadGrid((*SMALL.heads_per_layer, 0))

CHANGES: dict[str, dict[str, Any]] = {
    "head_scores": {
        "grid": ONE_LAYER_MORE,
        "values": OTHER_NUMBERS,
        "selector": "other",
        "meaning": "other",
        "task": "other",
    },
    "head_gates": {
        "grid": ONE_LAYER_MORE,
        "values": OTHER_NUMBERS,
        "selector": "other",
        "meaning": "other",
        "task": None,
    },
    "task_embedding": {
        "task": "other",
        "mean": OTHER_NUMBERS,
        "spread": OTHER_NUMBERS,
        "n_prompts": 51,
        "n_shots": 11,
        "seed": 1,
        "template": PromptTemplate(digit_rule=False),
        "task_digest": "other",
        "labelled_rows": (1,),
        "model": IDENTITY.replace(revision="main"),
    },
    "site_fit": {
        "task": "other",
        "config": SiteConfig(n_steps=21),
        "gates": gates().hard(),
        "embedding": fake_embedding("other", model=IDENTITY),
        "trace": OTHER_NUMBERS,
        "status": "step_limit",
        "kept_step": 1,
        "labelled_rows": (3, 6),
        "n_valid": 13,
        "n_labelled_elsewhere": 4,
        "shared_with": ("synonym",),
        "task_digest": "other",
        "template": PromptTemplate(input_prefix="In:"),
        "family": "lexical",
        "versions": {"site_lens": "0.0.1"},
        "notes": ("merged answer tokens",),
    },
    "evaluation": {
        "task": "other",
        "methods": ("a", "b", "c", "d", "e"),
        "first_token": OTHER_NUMBERS,
        "rank": OTHER_NUMBERS,
        "log_prob": OTHER_NUMBERS,
        "exact": np.ones((5, 4)),
        "prefix": np.ones((5, 4)),
        "labelled_rows": (1, 2, 3, 4, 5),
        "queries": ("a", "b", "c", "d"),
        "targets": ("a", "b", "c", "d"),
        "n_shots": 9,
        "seed": 1,
        "template": PromptTemplate(instruction="Answer."),
        "task_digest": "other",
        "model": IDENTITY.replace(bos=False),
        "family": "lexical",
        "versions": {},
        "notes": ("x",),
    },
}


def with_one_number_changed(values: np.ndarray, index: int = 0) -> np.ndarray:
    """Move one number by the least that float32 can tell, towards 1; in a match 0 and 1 change places."""
    changed = np.array(values)
    flat = changed.reshape(-1)
    target = np.float32(1) if flat[index] != 1 else np.float32(2)
    flat[index] = np.nextafter(flat[index], target)
    return changed


def changed_copy(record: Record, name: str) -> Record:
    value = CHANGES[record.kind][name]
    if name == "trace" and isinstance(record, SiteFit):
        return record.replace(trace=record.trace.replace(loss=with_one_number_changed(record.trace.loss)))
    if name == "first_token":
        return record.replace(first_token=1 - getattr(record, name))
    if name == "grid" and isinstance(record, HeadScores):
        return record.replace(grid=value, values=np.vstack([record.values, np.zeros((1, 3))]))
    if value is OTHER_NUMBERS:
        value = with_one_number_changed(getattr(record, name))
    return record.replace(**{name: value})


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, sample in SAMPLES.items() for name in type(sample()).model_fields]
)
def test_the_digest_changes_when_any_field_does(kind: str, name: str) -> None:
    record = SAMPLES[kind]()
    changed = changed_copy(record, name)
    assert changed.digest != record.digest
    assert changed != record


@laws
@given(data=st.data())
def test_the_digest_changes_when_any_single_number_does(record: Record, data: st.DataObject) -> None:
    arrays, fields = record.parts()
    name = data.draw(st.sampled_from(sorted(name for name in arrays if not name.endswith("first_token"))))
    places = np.flatnonzero(arrays[name]) if name.endswith("values") else np.arange(arrays[name].size)
    index = int(data.draw(st.sampled_from(places.tolist())))
    changed = type(record)(**join(fields, arrays | {name: with_one_number_changed(arrays[name], index)}))
    assert changed.digest != record.digest


def test_a_record_equals_one_made_anew_and_nothing_of_another_kind(record: Record) -> None:
    again = SAMPLES[record.kind]()
    assert again == record
    assert hash(again) == hash(record)
    assert record != "a text"
    assert len({record, again}) == 1


def test_gates_never_equal_scores_of_the_same_numbers() -> None:
    assert gates() != HeadScores(**{name: getattr(gates(), name) for name in HeadScores.model_fields})


def test_a_record_comes_apart_into_arrays_and_fields_and_together_again(record: Record) -> None:
    arrays, fields = record.parts()
    assert type(record)(**join(fields, arrays)) == record


def test_a_copy_of_pydantic_is_checked_and_has_a_digest_of_its_own() -> None:
    assert gates().digest  # cached from here on
    assert gates().model_copy() == gates()
    assert gates().model_copy(update={"task": "other"}).digest != gates().digest
    with pytest.raises(InputError, match="gates lie in"):
        gates().model_copy(update={"values": -gates().values})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_are_read_only_float32_copies(dtype: str) -> None:
    given_values = scores().values.astype(dtype)
    made = scores().replace(values=given_values)
    given_values[0, 0] = 7
    assert made.values.dtype == np.float32
    assert made.values[0, 0] == scores().values[0, 0]
    with pytest.raises(ValueError, match="read-only"):
        made.values[0, 0] = 0


def test_fields_cannot_be_set_nor_invented() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        scores().selector = "other"  # type: ignore[misc]
    with pytest.raises(InputError, match=r"HeadScores: selecter: Extra inputs are not permitted \(got 'site'\)"):
        scores().replace(selecter="site")


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match="HeadScores: meaning: Field required"):
        HeadScores(**{"grid": SMALL, "values": np.zeros(SMALL.shape), "selector": "test"})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros(9), r"values: needs axes \(layer head\), got an array of shape \(9,\)"),
        (np.full((3, 3), np.nan), "values: holds numbers that are not finite"),
        ([[1e300] * 3] * 3, "values: holds numbers that are not finite"),
        ("many", r"values: needs numbers with axes \(layer head\): could not convert"),
        ({"L0H0": 1}, r"values: needs numbers with axes \(layer head\): .*dict"),
        ([[1, 2], [3]], r"values: needs numbers with axes \(layer head\): .*inhomogeneous"),
    ],
)
def test_an_array_that_is_none_is_refused_with_axes_and_shape(values: object, said: str) -> None:
    with pytest.raises(InputError, match=f"HeadScores: {said}"):
        HeadScores(grid=SMALL, values=values, selector="test", meaning="x")


def test_values_that_hold_arrays_compare_too() -> None:
    trace = fake_fit("antonym").trace
    assert trace == fake_fit("antonym").trace
    assert trace != fake_fit("antonym", seed=1).trace
    assert trace != trace.replace(loss=with_one_number_changed(trace.loss))


def test_values_of_different_classes_with_the_same_fields_differ() -> None:
    class One(Frozen):
        n: int

    class Other(Frozen):
        n: int

    assert One(n=1) == One(n=1)
    assert One(n=1) != Other(n=1)
    assert One(n=1).digest != Other(n=1).digest


def test_every_record_has_a_table_of_at_least_a_row(record: Record) -> None:
    assert len(record.frame()) > 0


def test_the_changes_above_cover_every_field() -> None:
    assert {kind: set(type(sample()).model_fields) for kind, sample in SAMPLES.items()} == {
        kind: set(changes) for kind, changes in CHANGES.items()
    }
