"""What the report says about methods and states: the words that a reader without the documentation needs."""

METHODS = {
    "zero_shot": "The bare query, no demonstration, no edit: what the model does without being told the task.",
    "ten_shot": "Few-shot prompting: ten answered demonstrations from train before each query. "
    "The reference that every gain is measured against.",
    "site": "The bare query; at its last token, every head's output is mixed with the task embedding in the share "
    "alpha that the fit learned for that head.",
    "site_hard": "As site, with every alpha rounded at 0.5: a head is replaced wholly or left alone.",
    "site_zero_embedding": "Gates alone: alphas fitted in the same way, but mixing in zeros instead of the task "
    "embedding. It can only weaken heads, so what it reaches is no effect of the embedding's content.",
    "site_shuffled_answers": "Null: alphas fitted in the same way to queries with shuffled answers, where "
    "there is no task to learn.",
    "site_other_embedding": "Null: alphas fitted in the same way, but mixing in the embedding of another task.",
    "site_task_agnostic": "One alpha map fitted on all tasks together; each task mixes in its own embedding.",
}
"""What each method of an evaluation does."""

UNKNOWN_METHOD = "No description here; see the code that made the evaluation."

BROKEN = ("nonfinite", "diverged")
"""States after which a head map must not be read as a result."""

TERMS = {
    "alpha": "Gate of one head, from 0 to 1: the share of its output that is replaced by the task embedding.",
    "open heads": "Heads with alpha above 0.5.",
    "mass": "Sum of all alphas: the effective number of heads that carry the task.",
    "undecided": "Share of the heads with 0.1 < alpha < 0.9.",
    "labelled rows": "Rows whose labels a method used, counted once each; for few-shot prompting, the rows that one "
    "prompt shows.",
    "task embedding": "Mean output of every head at the last token of few-shot prompts of the task.",
    "kept step": "Steps taken before the evaluation whose alphas were kept.",
}
"""Further words of the report."""


CHECKS = {
    "ended": "How the fit ended: a loss that was not finite, or alphas no better than the start, is no result.",
    "not_binary": "Many heads stay between 0.1 and 0.9 to the last step: too few steps, or a conflicting signal.",
    "null_as_binary": "A null fit turns as binary as the fit: that gates are binary is then the optimiser's doing.",
    "soft_hard_gap": "Rounding the alphas costs more than five points: those between 0 and 1 matter.",
    "gates_alone": "Gates with an embedding of zeros reach most of the gain: weakening heads explains it.",
    "task_agnostic": "Gates shared by all tasks do as well: the task relies on generic heads.",
    "seeds_disagree": "Fits of the task that differ in seed or start disagree: a single map is underdetermined.",
    "few_queries": "Too few test queries for the differences that are read from them.",
}
"""What each check of the diagnosis says when it is set off."""


def describe(method: str) -> str:
    """Return what a method does."""
    return METHODS.get(method, UNKNOWN_METHOD)
