"""Registry of methods: what each does, its source, its colour, and the function that fits it.

A new method is one file and one entry here. Functions are named by "module:function" and imported when they are used,
so that reports and figures read this table without torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal, TypeAlias

from site_lens.methods.names import CALIBRATED, PROMPTING, EvaluatedMethod, split_seed
from site_lens.records.errors import InputError, unknown_name

if TYPE_CHECKING:
    from site_lens.methods.method import Method
    from site_lens.selectors.context import ComparisonContext

FitFunction: TypeAlias = Callable[["ComparisonContext", str], "Method"]
"""Fit a method for a task of a comparison context, by the task's name."""

UNKNOWN = "No description here; see the code that made the evaluation."


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """One way to make a model do a task."""

    description: str
    """What it does, for readers of a report; `{n}` stands for the number of demonstrations."""
    fit: str | FitFunction | None = None
    """The function that fits it, or its "module:function" in this folder; None for controls that only
    `fit_and_evaluate` fits."""
    reference: str = ""
    look: int | None = None
    """Place in palette and symbols, the same in every figure; None for one that others leave free."""
    control: Literal["embedding", "null", "shared"] | None = None
    """Of a control that is fitted beside SITE: what it changes. `embedding` changes what alphas mix in; `null` is a
    task that cannot be learned; `shared` is one alpha map for all tasks."""
    optional: bool = False
    """Whether it needs a package that does not come with site_lens."""
    needs_others: bool = False
    """Whether it needs a second task."""

    def make(self, context: "ComparisonContext", task: str) -> "Method":
        """Fit it for a task."""
        if self.fit is None:
            raise InputError("this control is fitted beside SITE; pass it to fit_and_evaluate as controls=[...]")
        function: FitFunction = resolve_name(f"{__package__}.{self.fit}") if isinstance(self.fit, str) else self.fit
        return function(context, task)


SITE = "Park and Rhee, arXiv 2507.20906"
ZERO_EMBEDDING = "site_zero_embedding"
SHUFFLED_ANSWERS = "site_shuffled_answers"
OTHER_EMBEDDING = "site_other_embedding"
TASK_AGNOSTIC = "site_task_agnostic"
MEAN_EMBEDDING = "site_mean_embedding"
RANDOM_EMBEDDING = "site_random_embedding"

METHODS: dict[str, MethodEntry] = {
    "zero_shot": MethodEntry(
        "The bare query, no demonstration, no edit: what the model does without being told the task.",
        "prompting:zero_shot", look=6,
    ),
    "few_shot": MethodEntry(
        "Few-shot prompting: {n} answered demonstrations from train before each query. Gains are measured against it.",
        "prompting:few_shot", "Brown et al., arXiv 2005.14165", look=0,
    ),
    "many_shot": MethodEntry(
        "Few-shot prompting with as many demonstrations as fit, 50 at most.",
        "prompting:many_shot", "Agarwal et al., arXiv 2404.11018",
    ),
    "calibrated_few_shot": MethodEntry(
        "The same with {n} demonstrations, less the probabilities behind empty inputs (Zhao et al. 2021).",
        "contextual_calibration:calibrated", "Zhao et al., arXiv 2102.09690",
    ),
    "site": MethodEntry(
        "The bare query; at its last token, every head's output is mixed with the task embedding in the share alpha"
        " that the fit learned for that head.",
        "site_variants:site", SITE, look=1,
    ),
    "site_sparse": MethodEntry(
        "The chosen head set: the few heads that do as well as any on valid are replaced wholly by the task embedding, "
        "and all others left alone (fit_path).",
        "site_variants:site_sparse", SITE, look=5,
    ),
    "gates_sparse": MethodEntry(
        "The control of site_sparse: no more heads, chosen in the same way, silenced instead of replaced by the "
        "embedding.",
        "site_variants:gates_sparse", "control: gates alone",
    ),
    "site_hard": MethodEntry(
        "As site, with every alpha rounded at 0.5: a head is replaced wholly or left alone.",
        "site_variants:site_hard", SITE, look=4,
    ),
    "site_top_k": MethodEntry(
        "As site, with the k heads of highest alpha replaced wholly and all others left alone; k is the sum of the "
        "alphas, rounded.",
        "site_variants:site_top_k", SITE, look=2,
    ),
    ZERO_EMBEDDING: MethodEntry(
        "Gates alone: alphas fitted in the same way, but mixing in zeros instead of the task embedding. It can only"
        " weaken heads, so what it reaches is no effect of the embedding's content.",
        "site_variants:site_zero_embedding", "control: gates alone", look=3, control="embedding",
    ),
    SHUFFLED_ANSWERS: MethodEntry(
        "Null: alphas fitted in the same way to queries with shuffled answers, where there is no task to learn.",
        control="null",
    ),
    OTHER_EMBEDDING: MethodEntry(
        "Null: alphas fitted in the same way, but mixing in the embedding of another task.",
        control="embedding",
    ),
    TASK_AGNOSTIC: MethodEntry(
        "One alpha map fitted on all tasks together; each task mixes in its own embedding.",
        "site_variants:site_task_agnostic", SITE, control="shared", needs_others=True,
    ),
    MEAN_EMBEDDING: MethodEntry(
        "Control: alphas fitted in the same way, but mixing in the mean embedding of all tasks.",
        control="embedding",
    ),
    RANDOM_EMBEDDING: MethodEntry(
        "Control: alphas fitted in the same way, but mixing in random directions as long as the task embedding's.",
        control="embedding",
    ),
    "site_one_prompt": MethodEntry(
        "As site, with an embedding of a single few-shot prompt (M = 1).",
        "site_variants:site_one_prompt", SITE,
    ),
    "site_equal_data": MethodEntry(
        "As site, made of no more labelled rows than a few-shot prompt shows: embedding and training queries come "
        "from the same few rows.",
        "site_variants:site_equal_data", SITE,
    ),
    "site_random_heads": MethodEntry(
        "Control: as many heads as site opens, drawn at random, replaced wholly by the embedding.",
        "site_variants:site_random_heads", "control: as many heads as SITE opens, drawn at random",
    ),
    "all_heads_one": MethodEntry(
        "Control: every head replaced by the task embedding.",
        "site_variants:all_heads_one", "control: every head replaced by the embedding",
    ),
    "all_heads_half": MethodEntry(
        "Control: every head mixed half and half with the task embedding, where the fit starts.",
        "site_variants:all_heads_half", "control: every head mixed half and half, where SITE starts",
    ),
    "function_vector": MethodEntry(
        "The summed outputs of the heads of highest indirect effect, added behind one layer that was chosen on "
        "valid (Todd et al. 2024).",
        "function_vector:function_vector", "Todd et al., arXiv 2310.15213",
    ),
    "universal_vector": MethodEntry(
        "Control: the mean of the function vectors of all other tasks, added behind one layer that was chosen on "
        "valid.",
        "function_vector:universal_vector", "control: other tasks' function vectors", needs_others=True,
    ),
    "task_vector": MethodEntry(
        "The residual stream of few-shot prompts put in the place of the query's own behind one layer that was "
        "chosen on valid (Hendel et al. 2023).",
        "task_vector:task_vector", "Hendel, Geva and Globerson, arXiv 2310.15916",
    ),
    "in_context_vector": MethodEntry(
        "The principal difference between outputs and inputs, added at every layer and token (Liu et al. 2024).",
        "in_context_vector:in_context_vector", "Liu et al., arXiv 2311.06668",
    ),
    "context_scalars": MethodEntry(
        "I2CL: context vectors of single demonstrations mixed into both blocks of every layer by four calibrated "
        "numbers a layer (Li et al. 2025).",
        "i2cl:context_scalars", "I2CL: Li et al., arXiv 2405.14660",
    ),
    "head_replacement": MethodEntry(
        "MTV: heads chosen by REINFORCE, replaced by their mean outputs at every generated token (Huang et al. 2024).",
        "mtv:head_replacement", "MTV: Huang et al., arXiv 2406.15334",
    ),
    "learned_task_vector": MethodEntry(
        "The task embedding added to every head in a learned amount of either sign (Saglam et al. 2025).",
        "learned_task_vector:learned_task_vector", "Saglam et al., arXiv 2502.05390",
    ),
    "learned_content": MethodEntry(
        "The heads of site_top_k, replaced by trained vectors that begin at the task embedding: the same heads, other "
        "content.",
        "learned_content:learned_content", "after JoLA: Lai et al., arXiv 2502.01179",
    ),
    "lora": MethodEntry(
        "LoRA on query and value projections; rate and checkpoint chosen on valid (Hu et al. 2021).",
        "lora:lora", "Hu et al., arXiv 2106.09685", optional=True,
    ),
}  # fmt: skip
"""Every method by its name."""

LABELS = {
    "zero_shot": "zero-shot", "few_shot": "{n}-shot", "many_shot": "many-shot",
    "calibrated_few_shot": "{n}-shot, calibrated", "site": "SITE", "site_sparse": "SITE, head set",
    "gates_sparse": "gates alone, head set", "site_hard": "SITE, rounded", "site_top_k": "SITE, top k",
    ZERO_EMBEDDING: "gates alone", SHUFFLED_ANSWERS: "SITE, shuffled answers", OTHER_EMBEDDING: "SITE, other task",
    TASK_AGNOSTIC: "SITE, one map", MEAN_EMBEDDING: "SITE, mean of tasks", RANDOM_EMBEDDING: "SITE, random vector",
    "site_one_prompt": "SITE, one prompt", "site_equal_data": "SITE, equal data",
    "site_random_heads": "SITE, random heads", "all_heads_one": "all heads at 1", "all_heads_half": "all heads at 0.5",
    "function_vector": "function vector", "universal_vector": "universal function vector",
    "task_vector": "task vector", "in_context_vector": "in-context vector",
    "context_scalars": "I2CL", "head_replacement": "MTV", "learned_task_vector": "learned task vector",
    "learned_content": "learned content", "lora": "LoRA",
}  # fmt: skip
"""Names of the methods in figures and tables for readers; `{n}` stands for the number of demonstrations."""

SPARSE_METHODS = frozenset({"site_sparse", "gates_sparse"})
"""What is measured of a head path."""
SITE_METHODS = ("site", "site_hard", "site_top_k")
"""What is measured of a fit; a control is measured under its own name alone."""
CONTROLS = tuple(name for name, entry in METHODS.items() if entry.control)
"""Controls that can be fitted beside SITE."""
CONTENTS = tuple(name for name in CONTROLS if METHODS[name].control == "embedding")
"""Those that change what alphas mix in, and nothing else."""
NULLS = (SHUFFLED_ANSWERS, OTHER_EMBEDDING)
"""Those whose alphas have no mapping of the task to learn."""


def comparable_methods() -> tuple[str, ...]:
    """Return the names of the methods that `run_methods` can fit."""
    return tuple(name for name, entry in METHODS.items() if entry.fit is not None)


def registered_name(name: str, n_shots: int) -> str:
    """Return the name in `METHODS` of a method: `ten_shot` is `few_shot` where prompts show ten demonstrations.

    Raises:
        InputError: The name is unknown, or names another number of demonstrations than `n_shots`.
    """
    if name in comparable_methods():
        return name
    method = EvaluatedMethod.parse(name)
    if method.kind not in (PROMPTING, CALIBRATED):
        raise unknown_name("method", name, comparable_methods())
    if method.n_shots != n_shots:
        raise InputError(
            f"{name} shows {method.n_shots} demonstrations, and the settings say n_shots={n_shots}; ask for few_shot "
            f"or set n_shots={method.n_shots}"
        )
    return "few_shot" if method.kind == PROMPTING else "calibrated_few_shot"


def fit_method(context: "ComparisonContext", name: str, task: str) -> "Method":
    """Fit a method for a task, and measure how long it took, with its share of what other methods use, too."""
    entry = METHODS[registered_name(name, context.config.n_shots)]
    with context.stopwatch() as watch:
        method = entry.make(context, task)
    return replace(method, seconds=watch.seconds)


def entry_of(name: str) -> MethodEntry | None:
    """Return the entry of a method by its display name, such as `ten_shot` or `site#1_hard`; None of unknown ones."""
    method = EvaluatedMethod.parse(name)
    if method.kind == PROMPTING:
        return METHODS["few_shot" if method.n_shots else "zero_shot"]
    return METHODS.get("calibrated_few_shot" if method.kind == CALIBRATED else method.kind)


def method_look(name: str) -> int | None:
    """Return the place in palette and symbols of a method, by its display name; None of one without a fixed place."""
    entry = entry_of(name)
    return None if entry is None else entry.look


def method_label(name: str) -> str:
    """Return the name of a method in figures, by its display name: `site#1_hard` is "SITE, rounded (seed 1)"."""
    method, (plain, seed) = EvaluatedMethod.parse(name), split_seed(name)
    n_shots = "N" if method.n_shots is None else str(method.n_shots)
    key = {PROMPTING: "few_shot" if method.n_shots else "zero_shot", CALIBRATED: "calibrated_few_shot"}.get(method.kind)
    label = LABELS[key].format(n=n_shots) if key else LABELS.get(method.kind, plain)
    return label if seed is None else f"{label} (seed {seed})"


def describe_method(name: str) -> str:
    """Return what a method does, by its display name."""
    entry, n_shots = entry_of(name), EvaluatedMethod.parse(name).n_shots
    return UNKNOWN if entry is None else entry.description.format(n="N" if n_shots is None else n_shots)
