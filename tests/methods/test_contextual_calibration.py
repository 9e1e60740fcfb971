"""Contextual calibration: what it leaves alone, what it makes uniform, and what it is made of."""

import pytest
import torch

import site_lens as sl
from site_lens.methods.contextual_calibration import (
    CONTENT_FREE,
    calibrated,
    content_free_log_probs,
    content_free_prompts,
    subtracting,
)
from site_lens.methods.evaluate import EvaluationSettings, evaluate_methods
from site_lens.methods.method import prompting
from site_lens.models.base import LensModel
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.tasks.prompt_sampling import PromptSet
from tests.methods.conftest import batch_of

SMALL = ComparisonConfig(n_shots=4, n_probes=3)


@pytest.fixture(scope="module")
def drawn(demo_tasks: dict[str, sl.Task]) -> PromptSet:
    return content_free_prompts(demo_tasks["antonym"], SMALL)


def test_the_same_demonstrations_stand_before_every_content_free_input(drawn: PromptSet) -> None:
    texts = [prompt.text for prompt in drawn.prompts]
    before = [text[: text.rindex("Q:")] for text in texts]
    assert before[:3] == before[3:6] == before[6:]
    assert len(set(before)) == SMALL.n_probes
    assert [text[text.rindex("Q:") :] for text in texts[::3]] == [f"Q: {text}\nA:" for text in CONTENT_FREE]


def test_probabilities_are_averaged_over_prompts_however_they_are_batched(demo: LensModel, drawn: PromptSet) -> None:
    alone = torch.cat([demo.forward(batch_of(demo, p.text)).softmax(-1) for p in drawn.prompts]).mean(0)
    found = content_free_log_probs(demo, drawn)
    assert torch.allclose(found.exp(), alone, atol=1e-6)
    assert abs(float(found.logsumexp(0))) < 1e-4


def test_a_content_free_prompt_has_no_preference_once_calibrated_by_itself(demo: LensModel, drawn: PromptSet) -> None:
    one = drawn.prompts[0]
    log_p = content_free_log_probs(demo, PromptSet((one,), frozenset()))
    left = subtracting(log_p.exp())(demo.forward(batch_of(demo, one.text))).softmax(-1)
    assert float(left.max()) < 0.05  # rounding is all that is left of a probability less itself


def test_calibration_moves_few_shot_answers_and_nothing_else_and_counts_its_rows_with_those_of_a_prompt(
    demo: LensModel, demo_tasks: dict[str, sl.Task], drawn: PromptSet
) -> None:
    task = demo_tasks["antonym"]
    method = calibrated(ComparisonContext(demo, task, SMALL, progress=False), "antonym")
    assert (method.name, method.n_shots, method.n_trained, method.edits(demo)) == ("calibrated_4_shot", 4, 0, ())
    assert method.n_labelled == len(drawn.labelled_rows) + 4 <= 4 * 3 + 4
    settings = EvaluationSettings(SMALL.template, max_queries=10)
    measured = evaluate_methods(demo, task, [prompting(4), method], settings)
    assert (measured.log_prob[0] != measured.log_prob[1]).all()
    few = sl.Task("antonym", task.train[:6], task.valid, task.test)
    assert calibrated(ComparisonContext(demo, few, SMALL, progress=False), "antonym").n_labelled == 6
