"""Every way to make a model do a task, under one signature."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from site_lens.methods.contextual_calibration import calibrated
from site_lens.methods.function_vector import function_vector
from site_lens.methods.i2cl import context_scalars
from site_lens.methods.in_context_vector import in_context_vector
from site_lens.methods.learned_task_vector import learned_task_vector
from site_lens.methods.lora import lora
from site_lens.methods.method import Method
from site_lens.methods.mtv import head_replacement
from site_lens.methods.names import CALIBRATED, PROMPTING, EvaluatedMethod
from site_lens.methods.prompting import few_shot, many_shot, zero_shot
from site_lens.methods.site_variants import (
    all_heads_half,
    all_heads_one,
    site,
    site_equal_data,
    site_hard,
    site_one_prompt,
    site_random_heads,
    site_task_agnostic,
    site_top_k,
    site_zero_embedding,
)
from site_lens.methods.task_vector import task_vector
from site_lens.records.errors import InputError, unknown_name
from site_lens.selectors.context import ComparisonContext


@dataclass(frozen=True, slots=True)
class Baseline:
    """A way to make a model do a task."""

    make: Callable[[ComparisonContext, str], Method]
    """Fit it for a task of a workbench."""
    reference: str
    optional: bool = False
    """Whether it needs a package that does not come with site_lens."""


SITE = "Park and Rhee, arXiv 2507.20906"
BASELINES: dict[str, Baseline] = {
    "zero_shot": Baseline(zero_shot, ""),
    "few_shot": Baseline(few_shot, "Brown et al., arXiv 2005.14165"),
    "many_shot": Baseline(many_shot, "Agarwal et al., arXiv 2404.11018"),
    "calibrated_few_shot": Baseline(calibrated, "Zhao et al., arXiv 2102.09690"),
    "site": Baseline(site, SITE),
    "site_hard": Baseline(site_hard, SITE),
    "site_top_k": Baseline(site_top_k, SITE),
    "site_one_prompt": Baseline(site_one_prompt, SITE),
    "site_equal_data": Baseline(site_equal_data, SITE),
    "site_task_agnostic": Baseline(site_task_agnostic, SITE),
    "site_zero_embedding": Baseline(site_zero_embedding, "control: gates alone"),
    "site_random_heads": Baseline(site_random_heads, "control: as many heads as SITE opens, drawn at random"),
    "all_heads_one": Baseline(all_heads_one, "control: every head replaced by the embedding"),
    "all_heads_half": Baseline(all_heads_half, "control: every head mixed half and half, where SITE starts"),
    "function_vector": Baseline(function_vector, "Todd et al., arXiv 2310.15213"),
    "task_vector": Baseline(task_vector, "Hendel, Geva and Globerson, arXiv 2310.15916"),
    "in_context_vector": Baseline(in_context_vector, "Liu et al., arXiv 2311.06668"),
    "context_scalars": Baseline(context_scalars, "I2CL: Li et al., arXiv 2405.14660"),
    "head_replacement": Baseline(head_replacement, "MTV: Huang et al., arXiv 2406.15334"),
    "learned_task_vector": Baseline(learned_task_vector, "Saglam et al., arXiv 2502.05390"),
    "lora": Baseline(lora, "Hu et al., arXiv 2106.09685", optional=True),
}
"""Every method by its name."""


def baseline_name(name: str, n_shots: int) -> str:
    """Return the name in `BASELINES` of a method: `ten_shot` is `few_shot` where prompts show ten demonstrations.

    Raises:
        InputError: The name is unknown, or names another number of demonstrations than `n_shots`.
    """
    if name in BASELINES:
        return name
    asked = EvaluatedMethod.parse(name)
    if asked.kind not in (PROMPTING, CALIBRATED):
        raise unknown_name("method", name, BASELINES)
    if asked.n_shots != n_shots:
        raise InputError(
            f"{name} shows {asked.n_shots} demonstrations, and the settings say n_shots={n_shots}; ask for few_shot "
            f"or set n_shots={asked.n_shots}"
        )
    return "few_shot" if asked.kind == PROMPTING else "calibrated_few_shot"


def fitted(context: ComparisonContext, name: str, task: str) -> Method:
    """Fit a method for a task, and take down how long it took, with all that it shares with other methods."""
    make = BASELINES[baseline_name(name, context.config.n_shots)].make
    with context.stopwatch() as watch:
        method = make(context, task)
    return replace(method, seconds=watch.seconds)
