"""Function vectors, of a task and of all others: what heads write together, added to the residual stream."""

import pytest
import torch

import site_lens as sl
from site_lens.heads.head_set import HeadSet
from site_lens.methods.evaluate import EvaluationSettings, evaluate_methods
from site_lens.methods.function_vector import function_vector, universal_vector, vector_heads, written_by
from site_lens.methods.method import prompting
from site_lens.models.base import LensModel
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.indirect_effect import indirect_effect
from tests.conftest import Bench
from tests.methods.conftest import batch_of

PROMPTS = ["Q: hot\nA:", "Q: old\nA: young\n\nQ: day\nA:"]
SMALL = ComparisonConfig(n_prompts=6, n_shots=4, n_probes=4, n_valid=8, n_vector_heads=5)


@pytest.fixture(scope="module")
def context(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> ComparisonContext:
    chosen = [demo_tasks[name] for name in ("english-french", "country-capital")]
    return ComparisonContext(demo, chosen, SMALL, progress=False)


def test_all_heads_of_a_layer_write_the_output_of_its_attention_but_for_the_bias(model: LensModel) -> None:
    batch = batch_of(model, *PROMPTS)
    z, whole = model.last_z(batch), model.last_outputs(batch, "attn_out")
    for layer in range(model.grid.n_layers):
        heads = HeadSet(model.grid, frozenset(head for head in model.grid if head.layer == layer))
        rest = torch.stack([whole[row, layer] - written_by(model, heads, z[row]) for row in (0, 1)])
        assert whole[:, layer].abs().max() > 0.05
        bound = 1e-5 * float(whole[:, layer].abs().max())  # of what is written: float32 knows no more than seven digits
        torch.testing.assert_close(rest[0], rest[1], atol=bound, rtol=0)  # a bias is the same for every prompt
        if model.identity.architecture.startswith("Llama"):
            torch.testing.assert_close(rest, torch.zeros_like(rest), atol=bound, rtol=0)


def added(method: sl.Method, model: LensModel) -> torch.Tensor:
    """Return what a method adds to the stream."""
    (edit,) = method.edits(model)
    assert (edit.column, edit.hook_point) == (-1, "residual")
    return edit.change(torch.zeros(1, model.host.cfg.d_model))[0]


def test_the_vector_is_what_the_heads_of_highest_indirect_effect_write_on_average(context: ComparisonContext) -> None:
    for task, scores in indirect_effect(context).items():
        vector = written_by(context.model, scores.top(5), context.mean_z(task, 100))
        torch.testing.assert_close(added(function_vector(context, task), context.model), vector)


def test_universal_heads_are_of_highest_effect_on_the_mean_over_tasks_and_cost_the_labels_of_all(
    context: ComparisonContext,
) -> None:
    universal = ComparisonContext(context.model, context.tasks, SMALL.replace(vector_heads="universal"), progress=False)
    effects = indirect_effect(context)
    own = {task: vector_heads(context, task) for task in context.tasks}
    mean = sum(scores.values for scores in effects.values()) / len(effects)
    for task, scores in effects.items():
        heads, borrowed = vector_heads(universal, task)
        assert heads == scores.replace(values=mean).top(5)
        assert own[task] == (scores.top(5), 0)
        (other,) = set(context.tasks) - {task}
        assert borrowed == context.labelled("effects", "probes", task=other) > 0
        assert function_vector(universal, task).n_labelled == function_vector(context, task).n_labelled + borrowed


def test_a_function_vector_says_what_it_took_and_beats_asking_without_it(context: ComparisonContext) -> None:
    method = function_vector(context, "english-french")
    drawn, valid = context.probe_set("english-french"), len(context.tasks["english-french"].valid[:8])
    shown = set(context.embeddings(100)["english-french"].labelled_rows)
    assert method.n_labelled == len(shown | drawn.labelled_rows) + valid  # probes ask some of these rows of valid
    assert (method.n_shots, method.n_trained, method.every_step) == (0, 0, False)
    assert method.stored_bytes == 4 * 192
    settings = EvaluationSettings(SMALL.template)
    found = evaluate_methods(context.model, context.tasks["english-french"], [prompting(0), method], settings)
    assert found.log_prob[1].mean() > found.log_prob[0].mean() + 0.5


def test_the_universal_vector_is_the_mean_of_those_of_all_other_tasks_which_alone_choose_universal_heads(
    demo: LensModel, bench: Bench
) -> None:
    config, names = SMALL.replace(effect_prompts=None), ("english-french", "country-capital", "antonym")
    context = bench(config, *names)
    own = {name: added(function_vector(context, name), demo) for name in names}
    for task in names:
        method, others = universal_vector(context, task), [other for other in names if other != task]
        torch.testing.assert_close(added(method, demo), torch.stack([own[other] for other in others]).mean(0))
        borrowed = sum(context.labelled("effects", "probes", task=other) for other in others)
        assert (method.n_labelled, method.n_trained) == (borrowed + context.labelled("valid", task=task), 0)
    universal = config.replace(vector_heads="universal")
    without = bench(universal, *names[:2])
    expected = torch.stack([added(function_vector(without, name), demo) for name in names[:2]]).mean(0)
    torch.testing.assert_close(added(universal_vector(bench(universal, *names), "antonym"), demo), expected)
