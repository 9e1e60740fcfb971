"""Causal selectors find what was planted, and agree with one another where theory says that they must."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import site_lens as sl
from site_lens.activations.queries import Queries
from site_lens.models.batch import Batch
from site_lens.selectors.ablation import zero_ablation
from site_lens.selectors.attribution import attribution_patching
from site_lens.selectors.indirect_effect import indirect_effect, one_head_each
from site_lens.selectors.registry import SELECTORS, registered_scores
from site_lens.tasks.prompt_sampling import sample_rows
from tests.planted import CARRIERS, COUNTER, TEMPLATE, planted_tasks

CAUSAL = [name for name, selector in SELECTORS.items() if selector.causal and "gating" not in name]
"""Causal selectors but head gating, whose own tests say of every head which kind it is."""
SLOW = ("bernoulli_masks", "site_path")
"""Those that take long to find, and are asked for the planted heads elsewhere; `make test-full` asks them here."""


@pytest.mark.parametrize(
    "selector", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CAUSAL]
)
def test_every_causal_selector_ranks_the_planted_heads_first(
    planted_bench: sl.ComparisonContext, selector: str
) -> None:
    for task, scores in registered_scores(planted_bench, selector).items():
        is_carrier, mask = sl.HeadSet.of(scores.grid, CARRIERS[task[-1]]).mask(), scores.grid.mask
        assert roc_auc_score(is_carrier[mask], scores.values[mask]) == 1, task


@pytest.mark.parametrize(
    "selector", ["indirect_effect", "attribution_patching", "gim", "relp", "zero_ablation", "mean_ablation"]
)
def test_a_head_that_works_against_the_task_scores_below_zero_and_heads_that_write_nothing_score_zero(
    planted_bench: sl.ComparisonContext, selector: str
) -> None:
    for task, scores in registered_scores(planted_bench, selector).items():
        assert scores.values.min() == scores[COUNTER] < 0
        idle = ~sl.HeadSet.of(scores.grid, [*CARRIERS[task[-1]], COUNTER]).mask()
        assert np.abs(scores.values[idle]).max() < 1e-5


@pytest.fixture
def context(demo: sl.LensModel, demo_tasks: dict[str, sl.Task]) -> sl.ComparisonContext:
    config = sl.ComparisonConfig(n_prompts=8, n_shots=4, n_probes=6, effect_prompts=None)
    return sl.ComparisonContext(demo, [demo_tasks["antonym"], demo_tasks["country-capital"]], config, progress=False)


def answer(context: sl.ComparisonContext, task: str, edits: list[sl.Edit], *, shuffled: bool = False) -> torch.Tensor:
    """Return the log-probability of every answer under edits, from whole prompts."""
    model, asked = context.model, Queries.of(context.model, context.probe_set(task, shuffled=shuffled).prompts)
    batch = Batch.of(asked.ids, pad=0, device=model.device)
    with torch.no_grad():
        return model.forward(batch, edits).log_softmax(-1).gather(1, asked.targets(model.device)[:, None])[:, 0]


def replacing(head: sl.Head, value: torch.Tensor) -> sl.Edit:
    """Put a value in the place of one head's z at the last token."""

    def changed(z: torch.Tensor) -> torch.Tensor:
        changed = z.clone()
        changed[:, head.head] = value
        return changed

    return sl.Edit(head.layer, changed)


def test_effects_and_knock_outs_are_those_of_whole_prompts_without_a_prefix(context: sl.ComparisonContext) -> None:
    task, mean = "antonym", context.mean_z("antonym")
    for name in ("L0H0", "L3H5", "L5H7"):
        head = sl.Head.parse(name)
        edit = replacing(head, mean[head.layer, head.head])
        clean, patched = (answer(context, task, edits, shuffled=True).exp() for edits in ([], [edit]))
        assert indirect_effect(context)[task][name] == pytest.approx(float((patched - clean).mean()), abs=1e-5)
    lost = answer(context, task, []) - answer(context, task, [replacing(sl.Head(2, 0), torch.zeros(1))])
    assert zero_ablation(context)[task]["L2H0"] == pytest.approx(float(lost.mean()), abs=1e-5)


def test_attribution_patching_is_the_indirect_effect_to_first_order(context: sl.ComparisonContext) -> None:
    held, mean = context.probes("antonym", shuffled=True), context.mean_z("antonym")
    z, gradient = held.gradients(torch.exp)
    linear = ((mean - z) * gradient).sum(-1).flatten(1).T  # (head prompt)
    clean = held.under([]).log_prob.exp()
    gaps = []
    for step in (0.02, 0.01):
        moved = (held.answers(step * one_head_each(context.model.grid), mean[None]).log_prob.exp() - clean) / step
        gaps.append(float((moved - linear).abs().max()))
    assert gaps[0] < 0.05 * float(linear.abs().max())
    assert gaps[1] < 0.7 * gaps[0]  # what is left shrinks with the step
    assert np.allclose(attribution_patching(context)["antonym"].values.ravel(), linear.mean(1).numpy(), atol=1e-6)


def test_a_knock_out_at_all_tokens_takes_more_than_the_last_token(context: sl.ComparisonContext) -> None:
    config = context.config.replace(knock_out_at="all", n_probes=2)
    task = context.tasks["antonym"]
    everywhere = zero_ablation(sl.ComparisonContext(context.model, task, config))["antonym"]
    last = zero_ablation(sl.ComparisonContext(context.model, task, config.replace(knock_out_at="last")))["antonym"]
    first_layer = everywhere.values[0] - last.values[0]
    assert np.abs(first_layer).max() > 0.01  # what layer 0 does at earlier tokens counts only in one of the two
    assert np.allclose(everywhere.values[-1], last.values[-1], atol=1e-4)  # the last layer acts at the last token alone
    assert "prompt tokens" in everywhere.meaning


def test_probes_ask_rows_of_valid_or_of_train_behind_demonstrations_of_train(context: sl.ComparisonContext) -> None:
    task = context.tasks["antonym"]
    for split, rows in (("valid", task.valid), ("train", task.train)):
        one = sl.ComparisonContext(
            context.model, task, context.config.replace(probe_queries=split, n_valid=5), progress=False
        )
        drawn, shuffled = one.probe_set(task.name), one.probe_set(task.name, shuffled=True)
        queries = [prompt.text.rsplit("Q: ", 1)[1] for prompt in drawn.prompts]
        assert queries == [prompt.text.rsplit("Q: ", 1)[1] for prompt in shuffled.prompts]
        asked = {i for i, row in enumerate(rows) if f"{row.input}\nA:" in queries}
        assert drawn.queried_rows == asked
        assert asked <= set(sample_rows(rows, 5 if split == "valid" else None))
        assert drawn.labelled_rows == shuffled.labelled_rows
        counted = one.labelled("probes", "valid", task=task.name)
        assert counted == 5 + len(drawn.labelled_rows | (asked if split == "train" else set()))


def test_the_table_names_every_selector_as_its_scores_do(planted: sl.LensModel) -> None:
    config = sl.ComparisonConfig(
        template=TEMPLATE, n_prompts=4, n_shots=4, n_probes=2, mask_steps=2, l0_steps=5, weight_steps=5,
        gating_steps=2, site=sl.SiteConfig(n_steps=5),
    )  # fmt: skip
    context = sl.ComparisonContext(planted, planted_tasks()["direct_u"], config, progress=False)
    for name in SELECTORS:
        (first,) = registered_scores(context, name).values()
        assert first.selector == name and first.meaning and first.n_forwards is not None
