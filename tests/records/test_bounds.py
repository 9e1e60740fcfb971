"""Records and settings refuse what cannot be: values of another type, shares of 7, counts below nothing."""

from typing import Any

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.base import Record
from site_lens.records.bounds import BOUNDS
from site_lens.records.errors import InputError
from tests.fakes import fake_embedding, fake_evaluation, fake_fit, fake_fits, fake_trace, fake_transfer

FIT = fake_fit("antonym")

TRANSFER = fake_transfer("abc", n_queries=4)
WRONG: list[tuple[Record, dict[str, Any]]] = [
    (FIT, {"kept_step": -1}), (FIT, {"labelled_rows": (1, -2)}), (FIT, {"task": b"antonym"}),
    (fake_evaluation("antonym"), {"log_prob": np.full((5, 40), 0.5)}),
    (fake_embedding("antonym"), {"spread": -fake_embedding("antonym").spread}),
    (TRANSFER, {"alphas": TRANSFER.alphas + 7}),
    (sl.head_overlap(fake_fits(["a", "b"])), {"spearman": np.full((2, 2), -1.5)}),
]  # fmt: skip
"""A record of each kind, and values that its fields cannot have."""


def test_what_cannot_be_is_refused() -> None:
    for record, change in WRONG:
        with pytest.raises(InputError):
            record.replace(**change)
            pytest.fail(f"{record.kind} took {change}")
    trace = fake_trace(FIT.gates.values)
    for name, value in (("valid_accuracy", 7), ("alphas", 1.5), ("loss", -1), ("valid_loss", -0.5), ("train_rows", -2)):
        with pytest.raises(InputError):
            trace.replace(**{name: getattr(trace, name) * 0 + value})
            pytest.fail(name)
    with pytest.raises(InputError):
        trace.replace(eval_steps=trace.eval_steps[::-1])


def test_numbers_of_numpy_are_numbers() -> None:
    assert sl.SiteConfig(n_steps=np.int64(7), lr=np.float32(0.5), shared=np.bool_(False)) == sl.SiteConfig(
        n_steps=7, lr=0.5
    )
    assert sl.SiteConfig(lr=1).lr == 1


def test_settings_of_another_type_or_size_are_refused() -> None:
    for name in BOUNDS.keys() & sl.SiteConfig.model_fields:
        wrong: tuple[Any, ...] = (True, "1", 1.0, -1, 10**20, float("nan"), [1])
        for value in wrong:
            for config in (sl.SiteConfig, sl.SiteConfig.quick, sl.SiteConfig.paper):
                with pytest.raises(InputError):
                    config(**{name: value})
                    pytest.fail(f"{name} = {value}")
    with pytest.raises(InputError):
        sl.SiteConfig(n_steps=BOUNDS["n_steps"][1], batch_size=BOUNDS["batch_size"][1])
    with pytest.raises(InputError):
        sl.ComparisonConfig(lora_steps=10**9)
