"""The choice of checkpoint and learning rate: the lowest loss on valid, the same way for every rival."""

import pytest

import site_lens as sl
from site_lens.methods.method import prompting
from site_lens.methods.registry import METHODS
from site_lens.methods.validation import valid_losses, valid_questions
from site_lens.selectors.validation import Checkpoint, choose_checkpoint
from tests.conftest import Bench

TRAINED = ("lora", "context_scalars", "learned_task_vector", "learned_content", "head_replacement")
"""Rivals with an optimiser."""

SHORT = sl.ComparisonConfig(
    n_prompts=6, n_shots=4, site=sl.SiteConfig(n_steps=20, eval_every=5, batch_size=4), lora_steps=12, lora_batch=4,
    context_epochs=6, weight_steps=12, content_steps=12, content_batch=4,
    l0_steps=12, mask_steps=12, masks_per_step=4, mask_prompts=6,
)  # fmt: skip


def run(*losses: float) -> list[Checkpoint[str]]:
    return [Checkpoint(10 * i, loss, f"{loss:g} after {10 * i}") for i, loss in enumerate(losses)]


def test_the_planted_lowest_loss_is_kept_wherever_it_stands() -> None:
    for rate in (0.1, 0.2, 0.4):
        for step in range(3):
            losses = {each: [3.0, 2.0, 2.5] for each in (0.1, 0.2, 0.4)}
            losses[rate][step] = 1.0
            found = choose_checkpoint("planted", {each: run(*some) for each, some in losses.items()}, n_steps=20)
            assert found.state == f"1 after {10 * step}"
            (note,) = found.notes
            assert all(part in note for part in (f"after {10 * step} of 20", f"rate {rate:g},", "0.1, 0.2, 0.4"))


def test_a_rate_that_became_nonfinite_is_left_out_as_a_whole_and_said() -> None:
    broken = run(1.0, float("nan"))
    found = choose_checkpoint("planted", {0.1: run(3, 2), 0.2: broken}, n_steps=10)
    assert found.state == "2 after 10" and len(found.notes) == 2 and "0.2" in found.notes[1]
    with pytest.raises(sl.FitError):
        choose_checkpoint("planted", {0.2: broken, 0.4: run(float("inf"))}, n_steps=10)


def test_every_rival_has_as_many_checkpoints_as_site() -> None:
    for site in (sl.SiteConfig(), sl.SiteConfig.quick(), sl.SiteConfig.paper()):
        config, of_site = sl.ComparisonConfig(site=site), 1 + site.n_steps // site.eval_every
        for n_steps in (1, 12, 100, 200, 500, 600):
            found = [step for step in range(n_steps + 1) if config.evaluates_at(step, n_steps)]
            assert (found[0], found[-1]) == (0, n_steps)
            assert len(found) == of_site or n_steps % (of_site - 1)


def test_site_keeps_its_published_rate_and_chooses_on_the_rows_that_rivals_do(bench: Bench) -> None:
    short = SHORT.replace(lora_steps=2, context_epochs=1, weight_steps=2, content_steps=2, mask_steps=2)
    context, blind = (bench(short.replace(n_valid=n), "antonym") for n in (7, 1))
    fit = context.fits()["antonym"]
    assert (fit.config.lr, fit.config.keep, fit.n_valid) == (0.2, "best", 7)
    for name in TRAINED:
        more = METHODS[name].make(context, "antonym").n_labelled - METHODS[name].make(blind, "antonym").n_labelled
        assert more == 6, name


@pytest.mark.parametrize("name", TRAINED[:3])
def test_the_kept_rate_is_the_best_on_valid_of_those_that_are_tried_alone(bench: Bench, name: str) -> None:
    def loss(factors: tuple[float, ...]) -> float:
        context = bench(SHORT.replace(rate_factors=factors), "antonym")
        method = METHODS[name].make(context, "antonym")
        return valid_losses(context, valid_questions(context, "antonym"), [method])[0]

    alone = [loss((factor,)) for factor in (0.3, 3.0)]
    assert loss((0.3, 3.0)) == pytest.approx(min(alone), abs=1e-4)
    assert abs(alone[0] - alone[1]) > 1e-3


@pytest.mark.parametrize("name", TRAINED[:3])
def test_a_training_that_only_harms_is_not_kept(bench: Bench, name: str) -> None:
    """Rates so high that every step makes the model worse: what is kept is the start."""
    config = SHORT.replace(lora_lr=50.0, context_lr=1000.0, weight_lr=1000.0)
    context = bench(config, "antonym")
    method = METHODS[name].make(context, "antonym")
    assert "was kept after 0 of" in method.notes[0]
    if name != "context_scalars":  # which begins with a tenth of its vectors
        plain, found = valid_losses(context, valid_questions(context, "antonym"), [prompting(0), method])
        assert found == pytest.approx(plain, abs=1e-5)
