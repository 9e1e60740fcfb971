"""Task embeddings are means and spreads over exactly the prompts that were asked for."""

from collections.abc import Callable

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import embedding_prompts


def z_of(model: LensModel, texts: list[str]) -> np.ndarray:
    return np.concatenate(
        [model.last_z(Batch.of(model.encoder.encode([t]), pad=0, device=model.device)).numpy() for t in texts]
    )


def test_mean_and_spread_are_those_of_the_single_prompts(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    task = demo_tasks["choose_last_of_3"]
    found = sl.capture_embeddings(demo, [task], n_prompts=7, n_shots=2, seed=3)[task.name]
    stream = seed_stream(3, task.digest, "embedding", 2)
    prompts = embedding_prompts(task, sl.PromptTemplate(), n_prompts=7, n_shots=2, stream=stream)
    z = z_of(demo, [prompt.text for prompt in prompts.prompts])
    assert np.abs(found.mean - z.mean(0)).max() < 1e-5
    assert np.abs(found.spread - z.std(0, ddof=1)).max() < 1e-5
    assert found.labelled_rows == tuple(sorted(prompts.labelled_rows))


def test_an_embedding_does_not_depend_on_which_tasks_are_captured_with_it(
    demo: LensModel, demo_tasks: dict[str, sl.Task]
) -> None:
    together = sl.capture_embeddings(demo, demo_tasks.values(), n_prompts=5, n_shots=3)
    for name, task in demo_tasks.items():
        alone = sl.capture_embeddings(demo, [task], n_prompts=5, n_shots=3)[name]
        assert np.abs(alone.mean - together[name].mean).max() < 1e-5
        assert alone.labelled_rows == together[name].labelled_rows


def test_seeds_draw_other_prompts_and_the_same_seed_the_same(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    task = [demo_tasks["antonym"]]
    first, again, other = (
        sl.capture_embeddings(demo, task, n_prompts=3, n_shots=2, seed=s)["antonym"] for s in (0, 0, 1)
    )
    assert first == again
    assert first.labelled_rows != other.labelled_rows


def test_one_prompt_has_no_spread(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    found = sl.capture_embeddings(demo, [demo_tasks["antonym"]], n_prompts=1, n_shots=2)["antonym"]
    assert not found.spread.any()


def test_too_few_examples_for_the_shots_are_refused_by_task_and_number(demo: LensModel) -> None:
    rows = [sl.Example(f"w{i}", ("x",)) for i in range(10)]
    task = sl.Task.from_examples("small", rows)
    with pytest.raises(sl.InputError, match=r"'small' has 7 train rows, too few for 10-shot prompts"):
        sl.capture_embeddings(demo, [task])


def test_a_prompt_longer_than_the_context_is_refused(
    tiny: Callable[[str], LensModel], demo_tasks: dict[str, sl.Task]
) -> None:
    with pytest.raises(sl.InputError, match="exceed the model's context of 128"):
        sl.capture_embeddings(tiny("llama"), [demo_tasks["choose_last_of_3"]], n_prompts=1, n_shots=40)


def test_tasks_may_come_alone_or_by_name(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    by_name = sl.capture_embeddings(demo, {"antonym": demo_tasks["antonym"]}, n_prompts=2, n_shots=1)
    alone = sl.capture_embeddings(demo, demo_tasks["antonym"], n_prompts=2, n_shots=1)
    assert by_name == alone


def test_no_prompt_at_all_is_refused(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    with pytest.raises(sl.InputError, match="n_prompts"):
        sl.capture_embeddings(demo, demo_tasks["antonym"], n_prompts=0)
