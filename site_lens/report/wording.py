"""What the report says about methods and states: the words that a reader without the documentation needs."""

from site_lens.methods.names import CALIBRATED, PROMPTING, EvaluatedMethod

METHODS = {
    "zero_shot": "The bare query, no demonstration, no edit: what the model does without being told the task.",
    "site": "The bare query; at its last token, every head's output is mixed with the task embedding in the share "
    "alpha that the fit learned for that head.",
    "site_hard": "As site, with every alpha rounded at 0.5: a head is replaced wholly or left alone.",
    "site_top_k": "As site, with the k heads of highest alpha replaced wholly and all others left alone; k is the sum "
    "of the alphas, rounded.",
    "site_zero_embedding": "Gates alone: alphas fitted in the same way, but mixing in zeros instead of the task "
    "embedding. It can only weaken heads, so what it reaches is no effect of the embedding's content.",
    "site_shuffled_answers": "Null: alphas fitted in the same way to queries with shuffled answers, where "
    "there is no task to learn.",
    "site_other_embedding": "Null: alphas fitted in the same way, but mixing in the embedding of another task.",
    "site_task_agnostic": "One alpha map fitted on all tasks together; each task mixes in its own embedding.",
    "site_mean_embedding": "Control: alphas fitted in the same way, but mixing in the mean embedding of all tasks.",
    "site_random_embedding": "Control: alphas fitted in the same way, but mixing in random directions as long as the "
    "task embedding's.",
    "site_one_prompt": "As site, with an embedding of a single few-shot prompt (M = 1).",
    "site_equal_data": "As site, made of no more labelled rows than a few-shot prompt shows: embedding and training "
    "queries come from the same few rows.",
    "site_random_heads": "Control: as many heads as site opens, drawn at random, replaced wholly by the embedding.",
    "all_heads_one": "Control: every head replaced by the task embedding.",
    "all_heads_half": "Control: every head mixed half and half with the task embedding, where the fit starts.",
    "many_shot": "Few-shot prompting with as many demonstrations as fit, 50 at most.",
    "function_vector": "The summed outputs of the heads of highest indirect effect, added behind one layer that was "
    "chosen on valid (Todd et al. 2024).",
    "task_vector": "The residual stream of few-shot prompts put in the place of the query's own behind one layer that "
    "was chosen on valid (Hendel et al. 2023).",
    "in_context_vector": "The principal difference between outputs and inputs, added at every layer and token (Liu et "
    "al. 2024).",
    "context_scalars": "I2CL: context vectors of single demonstrations mixed into both blocks of every layer by four "
    "calibrated numbers a layer (Li et al. 2025).",
    "head_replacement": "MTV: heads chosen by REINFORCE, replaced by their mean outputs at every generated token "
    "(Huang et al. 2024).",
    "learned_task_vector": "The task embedding added to every head in a learned amount of either sign "
    "(Saglam et al. 2025).",
    "lora": "LoRA on query and value projections; rate and checkpoint chosen on valid (Hu et al. 2021).",
}
"""What each method of an evaluation does, prompting with demonstrations apart."""

FEW_SHOT = {
    PROMPTING: "Few-shot prompting: {n} answered demonstrations from train before each query. Gains are measured "
    "against it.",
    CALIBRATED: "The same with {n} demonstrations, less the probabilities behind empty inputs (Zhao et al. 2021).",
}
"""What prompting with n demonstrations does, by its kind."""

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


def describe(method: str) -> str:
    """Return what a method does."""
    one = EvaluatedMethod.parse(method)
    return METHODS.get(one.name, FEW_SHOT.get(one.kind, UNKNOWN_METHOD).format(n=one.n_shots))
