"""Compressed sensing of random masks: fewer masks than heads find what was planted, in whatever order they come."""

from typing import Literal

import numpy as np
import pytest

import site_lens as sl
from site_lens.selectors.compressed_sensing import balanced_masks, compressed_sensing, sparse_effects
from tests import planted

N_HEADS, N_MASKS = 400, 80
EFFECTS = {3: 2.0, 57: 1.0, 200: -0.5, 399: 1.5}


def responses() -> tuple[np.ndarray, np.ndarray]:
    """Return masks, and losses to which four heads of them add up, with a little noise."""
    stream = np.random.default_rng(1)
    masks = balanced_masks(N_HEADS, N_MASKS, 0.5, stream)
    losses = 7 + sum(effect * masks[:, head] for head, effect in EFFECTS.items())
    return masks, losses + 0.01 * stream.standard_normal(N_MASKS)


def test_a_fifth_as_many_masks_as_heads_find_the_few_that_matter() -> None:
    masks, losses = responses()
    found = sparse_effects(masks, losses, penalty=0.01)
    order = np.argsort(-np.abs(found))
    assert set(order[:4]) == set(EFFECTS)
    for head, effect in EFFECTS.items():
        assert found[head] == pytest.approx(effect, abs=0.15)
    assert np.abs(found[order[4:]]).max() < 0.1


def test_effects_have_the_unit_of_the_losses_and_depend_on_no_order_and_no_level() -> None:
    masks, losses = responses()
    found, stream = sparse_effects(masks, losses, penalty=0.01), np.random.default_rng(2)
    of_masks, of_heads = stream.permutation(N_MASKS), stream.permutation(N_HEADS)
    assert np.allclose(sparse_effects(masks[of_masks], losses[of_masks], penalty=0.01), found, atol=1e-3)
    assert np.allclose(sparse_effects(masks[:, of_heads], losses, penalty=0.01), found[of_heads], atol=1e-3)
    assert np.allclose(sparse_effects(masks, 10 * losses + 3, penalty=0.01), 10 * found, atol=1e-6)
    assert not sparse_effects(masks, np.full(N_MASKS, 2.5), penalty=0.01).any()


def test_masks_are_of_one_size_and_take_every_head_equally_often() -> None:
    masks = balanced_masks(50, 13, 0.3, np.random.default_rng(0))
    assert set(masks.sum(1)) == {15}
    assert np.ptp(masks.sum(0)) <= 1
    assert len(np.unique(masks, axis=0)) == 13
    for share in (0.01, 1.0):  # no head, or all of them
        with pytest.raises(sl.InputError):
            balanced_masks(20, 4, share, np.random.default_rng(0))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> sl.LensModel:
    """The planted model with 40 heads a layer, of which as few matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planted, "N_HEADS", 40)
        patch.setattr(planted, "D_MODEL", 40 * planted.D_HEAD)
        folder = planted.save_planted(tmp_path_factory.mktemp("wide"))
    return sl.load_model(folder, dtype="float32", device="cpu")


@pytest.mark.parametrize("content", ["zero", "mean"])
def test_half_as_many_masks_as_heads_find_the_planted(wide: sl.LensModel, content: Literal["zero", "mean"]) -> None:
    config = sl.ComparisonConfig(
        template=planted.TEMPLATE, n_shots=8, n_probes=8, n_prompts=8, sensing_masks=60, sensing_content=content
    )
    tasks = [planted.planted_tasks()[name] for name in ("direct_u", "swapped_v")]
    context = sl.ComparisonContext(wide, tasks, config, progress=False)
    for task, scores in compressed_sensing(context).items():
        assert set(map(str, scores.top(3))) == set(planted.CARRIERS[task[-1]])
        assert scores.n_forwards == 60 * 8 + (8 if content == "mean" else 0)
        assert scores.n_labelled == context.labelled(*(["embedding"] if content == "mean" else []), "probes", task=task)
