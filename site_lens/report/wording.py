"""Words of the report: what methods, checks and terms mean, for a reader without the documentation."""

from site_lens.diagnostics.checks import CHECK_DESCRIPTIONS as CHECK_DESCRIPTIONS
from site_lens.methods.registry import METHODS as METHODS
from site_lens.methods.registry import describe_method as describe_method
from site_lens.site.fit import FAILED as FAILED
from site_lens.site.head_path import NO_SET as NO_SET

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
