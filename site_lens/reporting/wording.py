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


def describe(method: str) -> str:
    """Return what a method does."""
    return METHODS.get(method, UNKNOWN_METHOD)
