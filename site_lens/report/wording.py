"""What the report says about methods and states: the words that a reader without the documentation needs."""

from site_lens.methods.registry import METHODS as METHODS
from site_lens.methods.registry import describe_method as describe_method

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
    "soft_hard_gap": "Rounding the alphas at 0.5 costs more than five points: those between 0 and 1 matter, or, where "
    "the heads of highest alpha alone do as well (site_top_k), 0.5 is the wrong place to cut.",
    "gates_alone": "Gates with an embedding of zeros reach most of the gain: weakening heads explains it.",
    "task_agnostic": "Gates shared by all tasks do as well: the task relies on generic heads.",
    "seeds_disagree": "Fits of the task that differ in seed or start disagree: a single map is underdetermined.",
    "few_queries": "Too few test queries for the differences that are read from them.",
    "first_tokens": "Answers share their first tokens, or one token is as right as the best method: first-token "
    "accuracy does not say whether answers are right.",
    "one_origin": "Records of the task were made on another model, another number format or other rows than its fit.",
}
"""What each check of the diagnosis says when it is set off."""
