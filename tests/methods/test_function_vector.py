"""Function vectors: what heads write together, added to the residual stream."""

import pytest
import torch

import site_lens as sl
from site_lens.heads.head_set import HeadSet
from site_lens.methods.evaluate import EvaluationSettings, evaluate_methods
from site_lens.methods.function_vector import function_vector, vector_heads, written_by
from site_lens.methods.method import prompting
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.indirect_effect import indirect_effect

PROMPTS = ["Q: hot\nA:", "Q: old\nA: young\n\nQ: day\nA:"]
SMALL = ComparisonConfig(n_prompts=6, n_shots=4, n_probes=4, n_valid=8, n_vector_heads=5)


@pytest.fixture(scope="module")
def context(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> ComparisonContext:
    chosen = [demo_tasks[name] for name in ("english-french", "country-capital")]
    return ComparisonContext(demo, chosen, SMALL, progress=False)


def batch_of(model: LensModel) -> Batch:
    return Batch.of(model.encoder.encode(PROMPTS), pad=0, device=model.device)


def test_all_heads_of_a_layer_write_the_output_of_its_attention_but_for_the_bias(model: LensModel) -> None:
    z, whole = model.last_z(batch_of(model)), model.last_outputs(batch_of(model), "attn_out")
    for layer in range(model.grid.n_layers):
        heads = HeadSet(model.grid, frozenset(head for head in model.grid if head.layer == layer))
        rest = torch.stack([whole[row, layer] - written_by(model, heads, z[row]) for row in (0, 1)])
        assert whole[:, layer].abs().max() > 0.05
        bound = 1e-5 * float(whole[:, layer].abs().max())  # of what is written: float32 knows no more than seven digits
        torch.testing.assert_close(rest[0], rest[1], atol=bound, rtol=0)  # a bias is the same for every prompt
        if model.identity.architecture.startswith("Llama"):
            torch.testing.assert_close(rest, torch.zeros_like(rest), atol=bound, rtol=0)


def test_the_vector_is_what_the_heads_of_highest_indirect_effect_write_on_average(context: ComparisonContext) -> None:
    for task in context.tasks:
        (edit,) = function_vector(context, task).edits(context.model)
        heads = indirect_effect(context)[task].top(5)
        vector = written_by(context.model, heads, context.mean_z(task, 100))
        assert (edit.column, edit.hook_point) == (-1, "residual")
        torch.testing.assert_close(edit.change(torch.ones(2, len(vector))), 1 + vector.expand(2, -1))


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
