"""Provenance of a run: which of its records were made on another model, other weights or other rows than its fits."""

from collections.abc import Iterator

from site_lens.models.identity import FORMATS, ModelIdentity
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFit


def foreign_records(run: Run, task: str) -> tuple[list[str], list[str]]:
    """Say what of a task in a run does not belong to its fits, and what was made in another number format alone.

    The fits themselves are held against the first fit of the run.

    Args:
        run: The run.
        task: A task that has a fit.

    Returns:
        What was made on another model or on other rows; what differs in dtype or quantisation.
    """
    first, own = next(iter(run.fits.values())), run.fits.of(task)[0]
    others: list[str] = []
    formats: list[str] = []
    for what, model, digest in _made(run, task, own):
        parts = (first.embedding.model if what == "the fit" else own.embedding.model).differing(model)
        foreign = [part for part in parts if part not in FORMATS]
        if foreign:
            others.append(f"{what} was made on {model.short_name}: other {', '.join(foreign)}")
        elif parts:
            formats.append(f"{what} was made in {model.quantization or model.dtype}: other {', '.join(parts)}")
        if digest is not None and digest != own.task_digest:
            others.append(f"{what} was made on other rows, or another split, under the same name")
    return list(dict.fromkeys(others)), list(dict.fromkeys(formats))


def _made(run: Run, task: str, own: SiteFit) -> Iterator[tuple[str, ModelIdentity, str | None]]:
    """Yield every record about a task: in words, the model, and the digest of the task's rows where it holds one."""
    for fit in run.fits.of(task):
        yield "the fit" if fit is own else f"the fit of seed {fit.seed}", fit.embedding.model, fit.task_digest
    for name, fits in run.controls.items():
        for fit in fits.of(task):
            yield name, fit.embedding.model, fit.task_digest
    measured = None if run.evaluations is None else run.evaluations.get(task)
    if measured is not None:
        yield "the evaluation", measured.model, measured.task_digest
    if task in run.attention:
        yield "the attention sample", run.attention[task].model, None
    for name, study in run.studies.items():
        model, tasks = getattr(study, "model", None), getattr(study, "tasks", (getattr(study, "task", None),))
        if isinstance(model, ModelIdentity) and task in tasks:
            digests = getattr(study, "task_digests", (getattr(study, "task_digest", None),) * len(tasks))
            yield f"study {name}", model, digests[list(tasks).index(task)]
