"""Record of a task embedding."""

import numpy as np
import pytest

import site_lens as sl
from tests.fakes import fake_embedding, fake_identity
from tests.samples import SMALL

MODEL = fake_identity(grid=SMALL)
WRONG: tuple[dict[str, object], ...] = (
    {"mean": np.zeros((3, 3, 5))}, {"spread": np.zeros((3, 2, 4))}, {"mean": np.zeros((3, 3))},
    {"mean": np.full((3, 3, 4), np.inf)}, {"n_prompts": 0}, {"n_shots": -1}, {"seed": 0.5}, {"task": None},
)  # fmt: skip


def test_fields_that_make_no_sense_are_refused_by_name() -> None:
    for changes in WRONG:
        with pytest.raises(sl.InputError, match=next(iter(changes))):
            fake_embedding("antonym", model=MODEL).replace(**changes)


def test_the_zero_embedding_keeps_all_but_the_numbers() -> None:
    embedding = fake_embedding("antonym", model=MODEL)
    zero = embedding.zeros()
    assert not zero.mean.any() and not zero.spread.any()
    assert zero.replace(mean=embedding.mean, spread=embedding.spread) == embedding


def test_the_frame_gives_the_norm_and_spread_of_every_head() -> None:
    mean, spread = np.zeros((2, 2, 4)), np.full((2, 2, 4), 0.5)
    mean[1, 0] = [3, 0, 4, 0]
    model = fake_identity(grid=sl.HeadGrid.full(2, 2))
    table = fake_embedding("antonym", model=model, mean=mean, spread=spread).frame()
    assert table["norm"].tolist() == [0, 0, 5, 0]
    assert table["spread"].tolist() == [0.5] * 4
    assert table[["layer", "head"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert len(fake_embedding("antonym", model=MODEL).frame()) == len(SMALL)
