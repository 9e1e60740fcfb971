"""Heads command: the heads of a saved run by name, with published labels, or as files for other programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

import site_lens as sl
from site_lens.cli import options as opt
from site_lens.cli.output import show_json, show_line, show_notes, show_table
from site_lens.records.wording import listed
from site_lens.site.head_path import OPEN
from site_lens.tasks.prompt_sampling import sampled, zero_shot_prompts

N_PROMPTS = 40
"""Test rows at most on which the effect of a control vector is measured."""

FORMATS = (".json", ".py", ".safetensors", ".pt", ".gguf")


def heads(
    run: opt.RunFolder,
    tasks: Annotated[
        list[str] | None,
        Argument(parser=opt.not_empty, metavar="TASK", help="Tasks of the run; all of them by default."),
    ] = None,
    out: Annotated[
        Path | None,
        opt.path_option(
            "Write the sets as .json or .py; or one fit as affine edits of heads (.safetensors, .pt) or as a control "
            "vector of llama.cpp (.gguf).",
            "--out",
            "-o",
        ),
    ] = None,
    labels: Annotated[Path | None, opt.path_option("Published labels: a .csv with layer, head, label, source.")] = None,
    dense: Annotated[
        bool, Option("--dense", help="Take the soft fits where the chosen head sets would be taken.")
    ] = False,
    approximate: Annotated[
        bool, Option("--approximate", help="Write a control vector, which only approximates the fit.")
    ] = False,
    replace: opt.ReplaceFile = False,
    as_json: opt.AsJson = False,
) -> None:
    """Print the heads of each task of a saved run, join them with labels, or write them for other programs."""
    if out is not None and out.suffix.lower() not in FORMATS:
        raise sl.InputError(f"{out} ends in none of {', '.join(FORMATS)}, one of which says what to write")
    saved = sl.Run.load(run)
    fits = opt.chosen_fits(saved, dense=dense)
    names = opt.split_names(tasks or list(fits), list(fits))
    chosen = {name: fits[name] for name in names}
    if not chosen:
        raise sl.InputError(f"{run} has no fit to take heads of; fit it with: site-lens fit")
    sets = {name: fit.gates.above(OPEN) for name, fit in chosen.items()}
    joined = None
    if labels is not None:
        joined = sl.label_overlap(sets, sl.read_head_labels(labels, saved.fits.one_grid()))
    if out is not None:
        _write(out, run, saved, chosen, sets, approximate=approximate, replace=replace)
        show_line(str(out), aside=as_json)
        if labels is None and not as_json:
            return
    rows = [row for name in names for row in _rows(name, chosen[name], sets[name], saved, joined)]
    tests = [] if joined is None else json.loads(joined.frame().to_json(orient="records"))
    if as_json:
        show_json({"heads": rows, "labels": tests})
        return
    show_table(rows)
    for test in joined.tests if joined is not None else ():
        show_line(test.sentence)


def _rows(
    name: str, fit: sl.SiteFit, heads: sl.HeadSet, saved: sl.Run, joined: sl.LabelOverlap | None
) -> list[dict[str, Any]]:
    """Return a row for each head: of a chosen set what it gains alone, highest first, and of a soft fit its alpha."""
    path = saved.paths.get(fit.task)
    ranked = path.ranked if path is not None and fit == path.sparse else None
    values: Mapping[sl.Head, float | None] = {head: fit.gates[head] for head in heads} if ranked is None else ranked
    return [
        {"task": name, "head": str(head), "alpha" if ranked is None else "gain alone": value}
        | ({} if joined is None else {"labels": ", ".join(joined.labels.of(head))})
        for head, value in values.items()
    ]


def _write(
    out: Path,
    run: Path,
    saved: sl.Run,
    fits: dict[str, sl.SiteFit],
    sets: dict[str, sl.HeadSet],
    *,
    approximate: bool,
    replace: bool,
) -> None:
    """Write what the suffix of a file says."""
    suffix = out.suffix.lower()
    if suffix in (".json", ".py"):
        models = {fit.embedding.model.weights_digest: fit.embedding.model for fit in fits.values()}
        if len(models) > 1:
            raise sl.InputError(f"the fits of {run} are of {len(models)} models; name tasks of one")
        sl.write_head_sets(sets, next(iter(models.values())), out, replace=replace)
        return
    if len(fits) > 1:
        raise sl.InputError(f"{out} holds one fit; name one of {listed(fits)}")
    (fit,) = fits.values()
    if suffix != ".gguf":
        sl.write_affine_edits(fit, out, replace=replace)
        return
    if saved.inputs is None:
        raise sl.InputError(f"{run} does not say where its model is, which a .gguf is made with; use sl.control_vector")
    model = opt.ModelOfRun().of(run, saved).load()
    vector = sl.control_vector(model, fit)
    sl.write_control_vector(vector, out, approximate=approximate, replace=replace)
    show_notes(vector.differences)
    task = opt.TaskFilesOfRun().of(run, saved.inputs).load([fit.task])[fit.task]
    prompts = [prompt.text for prompt in zero_shot_prompts(sampled(task.test, N_PROMPTS), fit.template)]
    show_line(sl.control_vector_effect(model, fit, vector, prompts).sentence, aside=True)
