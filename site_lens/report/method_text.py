"""Paragraph on the method of a run, from its settings, for a paper or a talk."""

from collections.abc import Iterable

from site_lens.methods.registry import method_label
from site_lens.report.headline import interval_basis
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFits
from site_lens.stats.paired_tests import SIGNIFICANT

LOSSES = {"first_token": "the first answer token", "answer": "all answer tokens"}


def method_text(run: Run) -> str:
    """Return a paragraph that says how a run was fitted, how heads were chosen and what intervals are."""
    return " ".join([*_fits(run.fits), *_heads(run), *_controls(run), *_evaluation(run)])


def _fits(fits: SiteFits) -> list[str]:
    configs = [fit.config for fit in fits.values()]
    identities = [fit.embedding.model for fit in fits.values()]
    models = _listed(f"{model.name} ({model.heads}, {model.dtype})" for model in identities)
    tasks = list(dict.fromkeys(fit.task for fit in fits.values()))
    n_seeds = max(len(fits.of(task)) for task in tasks)

    def each(name: str) -> str:
        return _listed(str(getattr(config, name)) for config in configs)

    start = "drawn at random" if any(config.init == "random" for config in configs) else f"at {each('init')}"
    kept = {"best": "those of lowest validation loss", "last": "the last ones"}
    losses = _listed(LOSSES.get(config.loss, config.loss) for config in configs)
    seeds = f" with up to {n_seeds} seeds each" if n_seeds > 1 else ""
    return [
        f"SITE (Park et al., 2026) was fitted with site_lens on {models} for {_count(len(tasks), 'task')}{seeds}.",
        f"The task embedding of each task is the mean output of every head at the last token of {each('n_prompts')} "
        f"prompts with {each('n_shots')} demonstrations each.",
        f"Alphas, one a {each('alpha_per')}, began {start} and were trained with Adam (learning rate {each('lr')}) in "
        f"up to {each('n_steps')} steps of {each('batch_size')} queries on the cross-entropy of {losses}; of the "
        f"alphas evaluated every {each('eval_every')} steps on up to {each('n_valid')} rows of the validation split, "
        f"{_listed(kept[config.keep] for config in configs)} were kept.",
    ]


def _heads(run: Run) -> list[str]:
    chosen = run.paths.chosen()
    if not run.paths:
        return ["A head counts as open when its alpha is above 0.5."]
    prices = sorted({fit.price for path in run.paths.values() for fit in path.fits})
    n_starts = max(len(path.sizes) for path in run.paths.values())
    return [
        f"Heads were chosen by fits under prices of {_listed(f'{price:g}' for price in prices)} nats per unit of "
        f"alpha, {_count(n_starts, 'fit')} a task and price, with alphas rounded: of the prices of 0 or more whose "
        "loss on the validation split is within one standard error of the lowest, or keeps 95% of its gain over "
        f"zero-shot, the one with the fewest open heads. A set was found for {len(chosen)} of "
        f"{_count(len(run.paths), 'task')}."
    ]


def _controls(run: Run) -> list[str]:
    names = [method_label(name) for name, fits in run.controls.items() if fits]
    return [f"Controls fitted in the same way: {_listed(names)}."] if names else []


def _evaluation(run: Run) -> list[str]:
    evaluations = run.evaluations
    if not evaluations:
        return []
    n_queries = sorted({len(evaluation.queries) for evaluation in evaluations.values()})
    size = f"{n_queries[0]}" if len(n_queries) == 1 else f"{n_queries[0]} to {n_queries[-1]}"
    n_shots = _listed(str(evaluation.n_shots) for evaluation in evaluations.values())
    in_sets = any(evaluation.set_of_query for evaluation in evaluations.values())
    return [
        f"Accuracy is the share of {size} test queries a task whose most probable first token begins the answer; "
        f"few-shot prompts show {n_shots} demonstrations{', drawn in sets that queries share' if in_sets else ''}.",
        f"Accuracies of methods are given as {interval_basis(len(evaluations))}.",
        f"Differences between methods are tested in pairs, at a false discovery rate of {SIGNIFICANT}.",
    ]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n != 1 else ''}"


def _listed(texts: Iterable[str]) -> str:
    """Join distinct texts in their order."""
    *others, last = dict.fromkeys(texts)
    return f"{', '.join(others)} and {last}" if others else last
