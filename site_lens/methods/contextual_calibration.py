"""Contextual calibration: few-shot prompting with the first token's bias taken out."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.generation import OnLogits
from site_lens.activations.prefill import prompt_batches
from site_lens.methods.method import Method
from site_lens.methods.names import CALIBRATED
from site_lens.models.base import LensModel
from site_lens.records.hashing import seed_stream
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.tasks.prompt_sampling import PromptSet, few_shot_prompts
from site_lens.tasks.task import Example, Task

SMALLEST = 1e-9
"""Probabilities that calibration takes to nothing, or below it, are set to this."""

CONTENT_FREE = ("N/A", "", "[MASK]")
"""Inputs that ask nothing; those of the source."""


def calibrated(context: ComparisonContext, task: str) -> Method:
    """Take the first token's probabilities after content-free inputs off its own; shown as `calibrated_ten_shot` of 10.

    The source shows the same demonstrations before content-free and true queries. Here they are drawn anew for each
    query, so the content-free probabilities are a mean: over `n_probes` draws of demonstrations, each before all three
    content-free inputs. Only the first answer token is calibrated, over the whole vocabulary.

    Reference: Zhao et al., arXiv 2102.09690, section 5, in the form of their code for open answers
    (`run_extraction.py`): W = 1 and b = -p_cf. Their W = diag(p_cf)^-1 is for a few labels; over a vocabulary it lifts
    the tokens that are never expected.
    """
    config, of_task = context.config, context.tasks[task]
    drawn = content_free_prompts(of_task, config)
    log_p = content_free_log_probs(context.model, drawn)
    return Method(
        CALIBRATED,
        n_shots=config.n_shots,
        on_logits=subtracting(log_p.exp()),
        # The demonstrations of a query may or may not be among the rows of the calibration: this counts the most.
        n_labelled=min(len(of_task.train), len(drawn.labelled_rows) + config.n_shots),
        stored_bytes=log_p.numel() * 4,
    )


def content_free_prompts(task: Task, config: ComparisonConfig) -> PromptSet:
    """Put the same draws of demonstrations before each content-free input."""
    parts = []
    for text in CONTENT_FREE:
        stream = seed_stream(config.seed, task.digest, "calibration")
        queries = [Example(text, ("N/A",))] * config.n_probes  # nobody looks at the answer
        parts.append(few_shot_prompts(task, queries, config.template, n_shots=config.n_shots, stream=stream))
    return PromptSet(
        tuple(prompt for part in parts for prompt in part.prompts),
        frozenset().union(*(part.labelled_rows for part in parts)),
    )


@torch.no_grad()
def content_free_log_probs(model: LensModel, drawn: PromptSet) -> Float[Tensor, " vocab"]:
    """Return the logarithm of the mean probability of each token behind some prompts."""
    ids = model.encoder.encode([prompt.text for prompt in drawn.prompts])
    log_probs = []
    for _, batch in prompt_batches(model, ids):
        log_probs.append(model.forward(batch).log_softmax(-1).logsumexp(0))
    return torch.stack(log_probs).logsumexp(0) - float(np.log(len(ids)))


def subtracting(p: Float[Tensor, " vocab"]) -> OnLogits:
    """Return the step on the logits that takes `p` off the probabilities.

    What falls below a billionth is set there, so that it has a logarithm; the rest of the harness makes probabilities
    of it again.
    """
    return lambda logits: (logits.softmax(-1) - p.to(logits.device)).clamp(min=SMALLEST).log()
