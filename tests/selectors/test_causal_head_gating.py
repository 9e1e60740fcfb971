"""Causal head gating finds the planted heads, tells kinds of heads apart, and asks the prompts that it says."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.activations.queries import Queries
from site_lens.models.batch import Batch
from site_lens.selectors.causal_head_gating import (
    AllTokens,
    HeadGating,
    _job,
    _prompts,
    causal_head_gating,
    causal_head_gating_last,
    gate_edits,
    gatings_of_all_tokens,
    gatings_of_last_token,
)
from site_lens.site.gate_parametrization import PricedLogit
from site_lens.site.plan import make_plan
from tests.conftest import Bench
from tests.little_memory import allow_rows
from tests.planted import CARRIERS, COUNTER

SMALL = sl.ComparisonConfig(
    n_prompts=6, n_shots=3, n_valid=5, gating_steps=4, site=sl.SiteConfig(batch_size=3), rate_factors=(0.5, 1.0)
)
Gatings = Callable[[sl.ComparisonContext], Mapping[str, HeadGating]]


@pytest.mark.parametrize(
    ("gatings", "prepares"), [(gatings_of_all_tokens, "facilitating"), (gatings_of_last_token, "irrelevant")]
)
def test_planted_heads_are_of_their_kind(planted_bench: sl.ComparisonContext, gatings: Gatings, prepares: str) -> None:
    config = planted_bench.config.replace(gating_price=0.01, rate_factors=(1.0,))
    context = sl.ComparisonContext(planted_bench.model, planted_bench.tasks, config, progress=False)
    grid = context.model.grid
    for task, gating in gatings(context).items():
        kinds = {str(head): "irrelevant" for head in grid} | {COUNTER: "interfering", "L0H0": prepares}
        kinds |= dict.fromkeys(CARRIERS[task[-1]], "facilitating")
        for head in grid:
            assert getattr(gating, kinds[str(head)])[head.layer, head.head] > 0.9, (task, head)


def all_tokens(context: sl.ComparisonContext) -> AllTokens:
    """Return the optimizer of gates at all tokens of the prompts of antonyms."""
    plan = make_plan(context.model, [_job(context, "antonym", *_prompts(context, "antonym"))])
    return AllTokens(context.model, plan, budget_bytes=2**30, gates=PricedLogit(0.0))


def test_the_gradient_of_gates_at_all_tokens_is_the_slope_of_the_loss(bench: Bench) -> None:
    optimizer = all_tokens(bench(SMALL, "antonym"))
    (raw,) = optimizer._raw
    index, step = next((i, step) for i, step in enumerate(optimizer._plan.steps) if step.training)

    def loss_and_slope() -> tuple[Tensor, Tensor]:
        found: list[tuple[Tensor, ...]] = []

        def note(places: np.ndarray, prompts: list[list[int]]) -> None:
            found.append(optimizer._differentiate(prompts, raw[None], *optimizer._asked(step, places)))

        optimizer._each(index, step, np.arange(len(step.maps)), note)
        losses, slopes = zip(*found, strict=True)
        return torch.cat(losses).sum(), torch.cat(slopes).sum(0)

    _, slope = loss_and_slope()
    direction = torch.randn(raw.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for towards in (direction, slope / slope.norm()):
            raw.add_(0.02 * towards)
            above, _ = loss_and_slope()
            raw.sub_(0.04 * towards)
            below, _ = loss_and_slope()
            raw.add_(0.02 * towards)
            assert float(above - below) / 0.04 == pytest.approx(float((slope * towards).sum()), rel=0.02)


def test_both_forms_ask_the_prompts_of_the_embedding_token_by_token(demo: sl.LensModel, bench: Bench) -> None:
    template = sl.PromptTemplate(
        instruction="Do it.\n", output_prefix="", input_separator=" ->", query_suffix=" (", space_before_output=False
    )
    context = bench(SMALL.replace(template=template), "choose_last_of_3")
    asked, checked = _prompts(context, "choose_last_of_3")
    assert asked == context.embedding_set("choose_last_of_3")
    assert len(checked.prompts) == len(context.valid_rows("choose_last_of_3"))
    plan = make_plan(demo, [_job(context, "choose_last_of_3", asked, checked)])
    (alpha_map,) = plan.alpha_maps
    for drawn, prompts in ((alpha_map.train, asked.prompts), (alpha_map.valid, checked.prompts)):
        queries = Queries.of(demo, prompts)
        for question, row in zip(drawn.questions.flat, drawn.rows.flat, strict=True):
            assert plan.questions.prompts[plan.questions.prompt_of[question]] == queries.ids[row]
            assert plan.questions.answers[question][0] == queries.accepted[row][0]


def test_memory_that_runs_out_halves_whole_prompts_and_changes_no_gate(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = bench(SMALL.replace(gating_steps=2, site=sl.SiteConfig(batch_size=3, eval_every=50)), "antonym")
    (expected,) = all_tokens(context).run(progress=False)
    tried = allow_rows(monkeypatch, 2, "forward")
    (found,) = all_tokens(context).run(progress=False)
    np.testing.assert_allclose(found.alphas[-1], expected.alphas[-1], atol=1e-4)
    assert max(tried) > 2 >= min(tried)


def test_gates_multiply_z_at_every_token_of_their_row(demo: sl.LensModel, bench: Bench) -> None:
    asked = Queries.of(demo, bench(SMALL, "antonym").embedding_set("antonym").prompts)
    batch = Batch.of(asked.ids[:3], pad=0, device=demo.device)
    gates = torch.ones(3, *demo.grid.shape)
    gates[1] = 0
    with torch.no_grad():
        plain, gated = demo.forward(batch), demo.forward(batch, gate_edits(gates, demo.grid.heads_per_layer))
        zeros = [sl.Edit(layer, torch.zeros_like, column=None) for layer in range(demo.grid.n_layers)]
        without = demo.forward(batch, zeros)
    assert torch.allclose(gated[[0, 2]], plain[[0, 2]], atol=1e-4)
    assert torch.allclose(gated[1], without[1], atol=1e-4)
    assert not torch.allclose(plain[1], without[1], atol=1)


@pytest.mark.parametrize("gatings", [gatings_of_all_tokens, gatings_of_last_token])
def test_gates_are_the_same_alone_and_beside_other_tasks(bench: Bench, gatings: Gatings) -> None:
    config = SMALL.replace(rate_factors=(1.0,), gating_steps=2)
    alone = gatings(bench(config, "antonym"))["antonym"]
    beside = gatings(bench(config, "country-capital", "antonym"))["antonym"]
    for kind in ("facilitating", "irrelevant", "interfering"):
        assert np.allclose(getattr(alone, kind), getattr(beside, kind), atol=1e-3)
    assert alone.costs == beside.costs


def test_scores_say_where_the_gates_act_and_what_they_cost(bench: Bench) -> None:
    context = bench(SMALL.replace(site=sl.SiteConfig(batch_size=3, eval_every=50)), "antonym")
    asked, checked = _prompts(context, "antonym")
    rows = asked.labelled_rows | asked.queried_rows | checked.labelled_rows
    for score, where in ((causal_head_gating, "all prompt tokens"), (causal_head_gating_last, "the last prompt token")):
        scores = score(context)["antonym"]
        assert where in scores.meaning and 0 <= scores.values.min() <= scores.values.max() <= 1
        assert scores.n_forwards == 3 * 2 * (2 * 4 * 3 + 3 * 5)  # fits, rates; steps of batches, evaluations of valid
        assert (scores.n_labelled, len(scores.notes)) == (len(rows) + 5, 3)
