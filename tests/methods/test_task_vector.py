"""Task vectors: the mean residual stream of few-shot prompts in the place of a query's."""

import torch

import site_lens as sl
from site_lens.methods.evaluate import EvaluationSettings, evaluate_methods
from site_lens.methods.method import prompting
from site_lens.methods.task_vector import mean_residual, overwriting, task_vector
from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import embedding_prompts
from tests.conftest import Tasks
from tests.methods.conftest import batch_of

PROMPTS = ["Q: hot\nA:", "Q: old\nA: young\n\nQ: day\nA:", "Q: cat, dog\nA:"]
SMALL = sl.ComparisonConfig(n_prompts=6, n_shots=4, n_valid=8)


def test_overwriting_with_a_runs_own_stream_is_the_clean_model(model: sl.LensModel) -> None:
    for prompt in PROMPTS:
        batch = batch_of(model, prompt)
        own, clean = model.last_outputs(batch, "residual")[0], model.forward(batch)
        for layer in range(model.grid.n_layers):
            same = model.forward(batch, [sl.Edit(layer, overwriting(own[layer]), -1, "residual")])
            torch.testing.assert_close(same, clean, atol=1e-5, rtol=1e-5)


def test_the_mean_is_over_the_prompts_of_the_embedding_one_by_one(model: sl.LensModel, demo_tasks: Tasks) -> None:
    task = demo_tasks["antonym"]
    context = sl.ComparisonContext(model, task, SMALL, progress=False)
    drawn = embedding_prompts(
        task, SMALL.template, n_prompts=6, n_shots=4, stream=seed_stream(0, task.digest, "embedding", 4)
    )
    batches = [batch_of(model, prompt.text) for prompt in drawn.prompts]
    alone = torch.cat([model.last_outputs(batch, "residual") for batch in batches])
    torch.testing.assert_close(mean_residual(context, "antonym"), alone.mean(0), atol=1e-5, rtol=1e-5)
    z = torch.cat([model.last_z(batch) for batch in batches])
    torch.testing.assert_close(context.mean_z("antonym"), z.mean(0), atol=1e-5, rtol=1e-5)
    assert set(context.embeddings()["antonym"].labelled_rows) == drawn.labelled_rows


def test_a_task_vector_says_what_it_took_and_beats_asking_without_it(demo: sl.LensModel, demo_tasks: Tasks) -> None:
    task = demo_tasks["english-french"]
    context = sl.ComparisonContext(demo, task, SMALL, progress=False)
    method = task_vector(context, task.name)
    assert method.n_labelled == len(context.embeddings()[task.name].labelled_rows) + len(task.valid[:8])
    assert (method.name, method.n_shots, method.n_trained, method.every_step) == ("task_vector", 0, 0, False)
    assert method.stored_bytes == 4 * 192
    (edit,) = method.edits(demo)
    vector = mean_residual(context, task.name)[edit.layer]
    torch.testing.assert_close(edit.change(torch.ones(2, len(vector))), vector.expand(2, -1))
    found = evaluate_methods(demo, task, [prompting(0), method], EvaluationSettings(SMALL.template))
    assert found.log_prob[1].mean() > found.log_prob[0].mean() + 1
