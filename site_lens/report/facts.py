"""Tables and facts of the report, as plain values that the template lays out."""

from collections.abc import Sequence
from typing import Any

from site_lens.methods.evaluation import Evaluations, Match
from site_lens.models.identity import ModelIdentity
from site_lens.records.lazy_pandas import pd
from site_lens.site.fit import SiteConfig, SiteFit, SiteFits
from site_lens.stats.intervals import Interval

N_TOP = 10
"""Heads in the table of a fit."""


def accuracy_table(evaluations: Evaluations, metric: Match) -> dict[str, list[tuple[Interval, bool] | None]]:
    """Return the accuracies of each task in the order of the methods, None where a task lacks a method.

    Beside each accuracy stands whether it is the highest of its task, ties included.
    """
    table = {}
    for task, evaluation in evaluations.items():
        measured = {method: evaluation.accuracy(method, metric) for method in evaluation.methods}
        best = max(accuracy.value for accuracy in measured.values())
        cells = (measured.get(method) for method in evaluations.methods)
        table[task] = [None if cell is None else (cell, cell.value == best) for cell in cells]
    return table


def fit_facts(key: str, fit: SiteFit) -> dict[str, Any]:
    """Return a fit with its key, its heads of highest alpha (rank, head, alpha), settings and provenance."""
    found = fit.gates.top(min(N_TOP, len(fit.gates.grid)))
    top = [(rank, str(head), alpha) for rank, (head, alpha) in enumerate(found.ranked, start=1)]
    template = fit.template
    text = template.query_text("{input}") + template.answer_text("{output}") + template.output_separator
    return {
        "key": key,
        "fit": fit,
        "top": top,
        "no_top": found.reason,
        "settings": _settings(fit.config) | {"template": repr(template.instruction + text)},
        "provenance": model_facts(fit.embedding.model)
        | {
            "labelled rows": f"{len(fit.labelled_rows)} of train, {fit.n_valid} of valid",
            "fit digest": fit.digest,
            "embedding digest": fit.embedding.digest,
            "task digest": fit.task_digest,
            "versions": ", ".join(f"{name} {number}" for name, number in fit.versions.items()),
        },
    }


def paths_table(fit: SiteFit) -> "pd.DataFrame":
    """Return the alphas of the highest heads at every evaluation, one row a step."""
    highest = sorted(fit.gates.grid, key=lambda head: -fit.gates[head])[:N_TOP]
    paths = {str(head): fit.trace.alphas[:, head.layer, head.head] for head in highest}
    return pd.DataFrame({"step": fit.trace.eval_steps} | paths)


def spread_table(fits: Sequence[SiteFit]) -> "pd.DataFrame":
    """Return mean and standard deviation of every head over the fits of one task."""
    alphas = SiteFits(fits).frame().groupby(["layer", "head"])["alpha"]
    return alphas.agg(mean="mean", spread=lambda values: values.std(ddof=0), n_fits="size").reset_index()


def common_settings(fits: SiteFits) -> dict[str, str]:
    """Return every setting of the fits: its value, or all its values where the fits differ."""
    settings = [_settings(fit.config) for fit in fits.values()]
    values = {name: list(dict.fromkeys(each[name] for each in settings)) for name in settings[0]}
    return {name: each[0] if len(each) == 1 else f"differs: {', '.join(each)}" for name, each in values.items()}


def models(fits: SiteFits) -> list[dict[str, str]]:
    """Return the facts of every distinct model that the fits were made on."""
    return list({repr(facts := model_facts(fit.embedding.model)): facts for fit in fits.values()}.values())


def model_facts(model: ModelIdentity) -> dict[str, str]:
    """Return the identity of a model as words."""
    return {
        "model": model.short_name,
        "revision": model.revision or "not recorded",
        "architecture": f"{model.architecture}, hooked as {model.host}",
        "heads": model.heads,
        "dtype": model.dtype,
        "weights": f"{model.processing}{', with value bias' if model.value_bias else ''}",
        "weights from": model.weights_from or "the checkpoint",
        "prompts begin with BOS": "yes" if model.bos else "no",
        "weights digest": model.weights_digest,
        "tokenizer digest": model.tokenizer_digest,
    }


def cautions(fits: SiteFits, evaluations: Evaluations) -> list[str]:
    """Return which records do not belong together."""
    lines = []
    if len(models(fits)) > 1:
        lines.append("The fits were made on different models; their head maps do not show the same heads.")
    tasks = {fit.task for fit in fits.values()}
    weights = {fit.embedding.model.weights_digest for fit in fits.values()}
    for task, evaluation in evaluations.items():
        if task not in tasks:
            lines.append(f"{task} was evaluated, but there is no fit of it here.")
        if evaluation.model.weights_digest not in weights:
            lines.append(
                f"{task} was evaluated on other weights ({evaluation.model.short_name}) than any fit was made on."
            )
    n_shots = sorted({evaluation.n_shots for evaluation in evaluations.values()})
    if len(n_shots) > 1:
        lines.append(
            f"Few-shot prompting showed {' or '.join(map(str, n_shots))} demonstrations before a query, task by task: "
            "there is no mean over tasks of the gain over it."
        )
    return lines


def _settings(config: SiteConfig) -> dict[str, str]:
    words = {None: "none", True: "true", False: "false"}
    values = {name: getattr(config, name) for name in SiteConfig.model_fields}
    return {name: words[v] if v is None or isinstance(v, bool) else str(v) for name, v in values.items()}
