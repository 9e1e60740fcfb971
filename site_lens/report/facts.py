"""The tables and facts of the report, as plain values that the template lays out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from site_lens.methods.evaluation import MATCHES, Evaluations, Match
from site_lens.models.identity import ModelIdentity
from site_lens.site.fit import SiteConfig, SiteFit, SiteFits
from site_lens.stats.intervals import Interval
from site_lens.tasks.prompt_template import PromptTemplate

if TYPE_CHECKING:
    import pandas as pd

N_TOP = 10
"""Heads in the table of a fit."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One accuracy of the table; `best` marks the highest of its task, ties included."""

    accuracy: Interval
    best: bool


@dataclass(frozen=True, slots=True)
class FitFacts:
    """What the report says of one fit beside its figures."""

    key: str
    fit: SiteFit
    open_heads: int
    mass: float
    undecided: float
    top: list[tuple[int, str, float]]
    """(rank, head, alpha) of the highest alphas."""
    settings: dict[str, str]
    provenance: dict[str, str]


def accuracy_table(evaluations: Evaluations, metric: Match) -> dict[str, list[Cell | None]]:
    """Return the accuracies of each task in the order of the methods; None where a task lacks a method."""
    table = {}
    for task, one in evaluations.items():
        found = [one.accuracy(m, metric) if m in one.methods else None for m in evaluations.methods]
        best = max(interval.value for interval in found if interval is not None)
        table[task] = [None if interval is None else Cell(interval, interval.value == best) for interval in found]
    return table


def measured(evaluations: Evaluations) -> list[Match]:
    """Return the metrics that every evaluation has."""
    return [m for m in MATCHES if all(getattr(one, m) is not None for one in evaluations.values())]


def fit_facts(key: str, fit: SiteFit) -> FitFacts:
    """Collect what the report says of one fit."""
    ranked = sorted(fit.gates.grid, key=lambda head: -fit.gates[head])[:N_TOP]
    top = [(rank, str(head), fit.gates[head]) for rank, head in enumerate(ranked, start=1)]
    return FitFacts(
        key=key,
        fit=fit,
        open_heads=len(fit.gates.above(0.5)),
        mass=fit.gates.mass(),
        undecided=fit.gates.undecided(),
        top=top,
        settings=_settings(fit.config) | {"template": _template(fit.template)},
        provenance=model_facts(fit.embedding.model)
        | {
            "labelled rows": f"{len(fit.labelled_rows)} of train, {fit.n_valid} of valid",
            "fit digest": fit.digest,
            "embedding digest": fit.embedding.digest,
            "task digest": fit.task_digest,
            "versions": ", ".join(f"{name} {number}" for name, number in fit.versions.items()),
        },
    )


def paths_table(fit: SiteFit) -> "pd.DataFrame":
    """Return the alphas of the highest heads at every evaluation, one row a step."""
    import pandas as pd

    ranked = sorted(fit.gates.grid, key=lambda head: -fit.gates[head])[:N_TOP]
    paths = {str(head): fit.trace.alphas[:, head.layer, head.head] for head in ranked}
    return pd.DataFrame({"step": fit.trace.eval_steps} | paths)


def spread_table(fits: Sequence[SiteFit]) -> "pd.DataFrame":
    """Return mean and standard deviation of every head over the fits of one task."""
    every = SiteFits(fits).frame().groupby(["layer", "head"])["alpha"]
    return every.agg(mean="mean", spread=lambda alphas: alphas.std(ddof=0), n_fits="size").reset_index()


def common_settings(fits: SiteFits) -> dict[str, str]:
    """Return every setting of the fits: its value, or all its values where the fits differ."""
    every = [_settings(fit.config) for fit in fits.values()]
    found = {}
    for name in every[0]:
        values = list(dict.fromkeys(settings[name] for settings in every))
        found[name] = values[0] if len(values) == 1 else f"differs: {', '.join(values)}"
    return found


def models(fits: SiteFits) -> list[dict[str, str]]:
    """Return the facts of every distinct model that the fits were made on."""
    distinct: dict[str, dict[str, str]] = {}
    for fit in fits.values():
        facts = model_facts(fit.embedding.model)
        distinct.setdefault(repr(facts), facts)
    return list(distinct.values())


def model_facts(model: ModelIdentity) -> dict[str, str]:
    """Return the identity of a model as words."""
    return {
        "model": model.name,
        "revision": model.revision or "not recorded",
        "architecture": f"{model.architecture}, hooked as {model.host}",
        "heads": f"{model.grid}, d_head {model.d_head}",
        "dtype": model.dtype,
        "weights": f"{model.processing}{', with value bias' if model.value_bias else ''}",
        "prompts begin with BOS": "yes" if model.bos else "no",
        "weights digest": model.weights_digest,
        "tokenizer digest": model.tokenizer_digest,
    }


def cautions(fits: SiteFits, evaluations: Evaluations | None) -> list[str]:
    """Return which records do not belong together."""
    found: list[str] = []
    if len(models(fits)) > 1:
        found.append("The fits were made on different models; their head maps do not show the same heads.")
    tasks = {fit.task for fit in fits.values()}
    weights = {fit.embedding.model.weights_digest for fit in fits.values()}
    for task, one in (evaluations or {}).items():
        if task not in tasks:
            found.append(f"{task} was evaluated, but there is no fit of it here.")
        if one.model.weights_digest not in weights:
            found.append(f"{task} was evaluated on other weights ({one.model.name}) than any fit was made on.")
    shown = sorted({one.n_shots for one in (evaluations or {}).values()})
    if len(shown) > 1:
        found.append(
            f"Few-shot prompting showed {' or '.join(map(str, shown))} demonstrations before a query, task by task: "
            "there is no mean over tasks of the gain over it."
        )
    return found


def notes(fits: SiteFits, evaluations: Evaluations | None) -> list[str]:
    """Return the notes of all evaluations, each once, with their task; fits show theirs in their own section."""
    return list(dict.fromkeys(f"{task}: {note}" for task, one in (evaluations or {}).items() for note in one.notes))


def _settings(config: SiteConfig) -> dict[str, str]:
    def words(value: Any) -> str:
        return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    return {name: words(getattr(config, name)) for name in SiteConfig.model_fields}


def _template(template: PromptTemplate) -> str:
    return repr(
        template.instruction
        + template.query_text("{input}")
        + template.answer_text("{output}")
        + template.output_separator
    )
