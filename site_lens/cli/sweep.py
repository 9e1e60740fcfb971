"""The commands for sweeps and run stores."""

import json
import os
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import site_lens as sl
from site_lens.cli.options import AsJson, Device, Replace, as_path, keep_run
from site_lens.cli.output import show_line, show_rows, show_table
from site_lens.records.errors import unknown_name
from site_lens.records.limited_io import is_folder
from site_lens.records.outputs import is_within

if TYPE_CHECKING:
    from site_lens.sweeps.engines import Engine
    from site_lens.sweeps.events import Event
    from site_lens.sweeps.maintenance import JobState

app = typer.Typer(help="List, show, verify, clear and export the results of sweeps.", no_args_is_help=True)

Store = Annotated[Path, typer.Argument(help="Run store, made by sweep.")]
SweepName = Annotated[str | None, typer.Option("--sweep", help="The sweep, where the store holds several.")]
LAST_EVENTS = 12
"""Events that `runs show` shows unless asked for more."""


def sweep(
    sweep_file: Annotated[Path, typer.Argument(metavar="SWEEP", help="The sweep file (TOML); see docs/sweeps.md.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The run store; runs/NAME by default.")] = None,
    engine: Annotated[Literal["local", "ray", "slurm"], typer.Option(help="Where to compute.")] = "local",
    gpus_per_job: Annotated[float | None, typer.Option(min=0, help="GPUs of a Ray worker; 0 by default.")] = None,
    workers_per_model: Annotated[
        int | None, typer.Option(min=1, help="Ray workers that hold the same model; 1 by default.")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="Address of a Ray cluster, such as auto.")] = None,
    track: Annotated[Literal["wandb", "trackio"] | None, typer.Option(help="Log the sweep there, too.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be computed, and stop.")] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Compute what is missing of models x tasks x templates x configs x seeds; exit code 1 if a job failed."""
    for_ray = {
        "--gpus-per-job": gpus_per_job, "--workers-per-model": workers_per_model, "--ray-address": ray_address,
    }  # fmt: skip
    if engine != "ray" and (given := [name for name, value in for_ray.items() if value is not None]):
        raise sl.InputError(f"{given[0]} is for Ray alone; add --engine ray, or leave it out")
    asked = sl.Sweep.load(sweep_file)
    if asked.slurm and engine != "slurm":
        show_line(f"note: [slurm] in {sweep_file} plays no part with --engine {engine}", aside=True)
    folder = out or Path("runs") / asked.name
    if dry_run:
        _show_cost(asked, folder, as_json)
        return
    from site_lens.sweeps.experiment_tracking import Tracker
    from site_lens.sweeps.fit_jobs import FitJobs
    from site_lens.sweeps.worker import Worker

    place = _engine(engine, folder, asked, gpus_per_job or 0, workers_per_model or 1, ray_address)
    compute = FitJobs(device=device, progress=None if place is None else False)
    found = sl.run_sweep(
        asked,
        folder,
        engine=place,
        worker=Worker(folder.resolve(), compute),
        watchers=[Tracker(track, project=asked.name, config=asked.model_dump(mode="json"))] if track else [],
    )
    counts = {
        "jobs": found.n_jobs, "found": found.n_found, "computed": len(found.stored), "elsewhere": found.n_elsewhere,
        "failed": len(found.failed),
    }  # fmt: skip
    if as_json:
        print(json.dumps({"store": str(folder)} | counts | {"errors": found.failed}, indent=1))
    else:
        show_line(", ".join(f"{n} {what}" for what, n in counts.items()) + f"; store: {folder}")
        named = {name.key: name for name in sl.RunStore(folder).plan(asked.name).jobs} if found.failed else {}
        for key, message in found.failed.items():
            show_line(f"failed: {key[:12]}  {named[key]}  {message.splitlines()[0]}", aside=True)
    sys.exit(0 if found.ok else 1)


def _engine(
    name: str, folder: Path, asked: "sl.Sweep", gpus: float, workers: int, address: str | None
) -> "Engine | None":
    if name == "ray":
        from site_lens.sweeps.ray_engine import RayEngine

        return RayEngine(gpus_per_job=gpus, workers_per_model=workers, address=address)
    if name == "slurm":
        from site_lens.sweeps.slurm_engine import SlurmEngine

        return SlurmEngine(folder / "slurm", parameters=asked.slurm)
    return None


def _show_cost(asked: "sl.Sweep", folder: Path, as_json: bool) -> None:
    from site_lens.sweeps.cost_estimate import estimate_cost
    from site_lens.sweeps.jobs import jobs_of

    jobs = jobs_of(asked)
    store = sl.RunStore(folder) if is_folder(folder) and any(folder.iterdir()) else None
    costs = estimate_cost(jobs, store)
    if as_json:
        missing = [job.name.model_dump() for job in jobs if store is None or not store.has(job.key)]
        print(json.dumps({"cost": [asdict(one) for one in costs], "missing": missing}, indent=1))
        return
    cells = [
        [c.model, c.template, c.config, str(c.n_jobs), str(c.n_stored), f"{c.prompt_tokens:,.0f}", f"{c.step_tokens:,}",
         "not timed yet" if c.seconds is None else f"{c.seconds / 60:.1f} min"]
        for c in costs
    ]  # fmt: skip
    header = ["model", "template", "config", "jobs", "stored", "prompt tokens", "step tokens", "time on one worker"]
    show_table(header, cells)
    print("Tokens are what is missing: of prompts about (4 letters each), of steps exactly.")


@app.command("list")
def runs_list(store: Store, sweep: SweepName = None, as_json: AsJson = False) -> None:
    """List the jobs of a sweep: stored, damaged, failed, running or missing."""
    from site_lens.sweeps.maintenance import job_states

    found = list(job_states(sl.RunStore(store), sweep))
    if as_json:
        show_rows([one.name.model_dump() | asdict(one) | {"name": str(one.name)} for one in found], as_json=True)
        return
    header = ["key", "model", "template", "config", "task", "seed", "state", "fit", "accuracy", "s", "note"]
    show_table(header, [_cells(one) for one in found])
    counts = Counter(one.state for one in found)
    print(", ".join(f"{n} {state}" for state, n in counts.items()) or "no jobs")


def _cells(one: "JobState") -> list[str]:
    name = one.name
    numbers = ["" if value is None else f"{value:.3g}" for value in (one.accuracy, one.seconds)]
    shown = [name.key[:12], name.model, name.template, name.config, name.task, str(name.seed), one.state]
    return [*shown, one.status or "", *numbers, one.note]


@app.command("show")
def runs_show(
    store: Store,
    key: Annotated[str | None, typer.Argument(help="First digits of a job's key; the whole sweep by default.")] = None,
    sweep: SweepName = None,
    events: Annotated[int, typer.Option(min=0, help="Events to show, the last ones.")] = LAST_EVENTS,
) -> None:
    """Show how a sweep or one of its jobs stands, and what happened last."""
    from site_lens.sweeps.events import read_events
    from site_lens.sweeps.maintenance import job_states

    opened = sl.RunStore(store)
    states = [one for one in job_states(opened, sweep) if key is None or one.name.key.startswith(key)]
    if not states:
        raise unknown_name("key", str(key), [name.key[:12] for name in opened.plan(sweep).jobs])
    if key is None:
        counts = Counter(one.state for one in states)
        print(f"{len(states)} jobs: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
        spent = sum(one.seconds or 0 for one in states)
        print(f"{spent:.1f} s of computing in what is stored")
    wrong = [one for one in states if one.state in ("damaged", "mismatched", "failed")]
    for one in states if key is not None else wrong:
        show_line(f"{one.name.key[:12]}  {one.name}  {one.state}  {one.note}".rstrip())
        if key is not None:
            _show_trace(opened, one)
    logged, n_unreadable = read_events(opened.folder / "events")
    keys = {one.name.key for one in states}
    about = [event for event in logged if key is None or keys & _keys_of(event)]
    for event in about[len(about) - min(events, len(about)) :]:
        show_line(_line(event))
    if n_unreadable:
        print(f"{n_unreadable} lines of the event log cannot be read", file=sys.stderr)


def _show_trace(store: sl.RunStore, one: "JobState") -> None:
    """Print the traceback of a job's last failure, if there is a note on it that can be read."""
    try:
        failure = store.failure(one.name.key)
    except sl.StorageError as error:
        if one.state != "failed":  # the state of a failed job says so itself
            show_line(str(error))
        return
    if failure is not None:
        for line in failure.trace.rstrip().split("\n"):
            show_line(line)


def _keys_of(event: "Event") -> set[str]:
    return {str(event.detail.get("key")), *map(str, event.detail.get("keys", ()))}


def _line(event: "Event") -> str:
    shown = {name: value for name, value in event.detail.items() if name not in ("key", "keys", "job") and value != []}
    rest = "  ".join(f"{name}={_short(value)}" for name, value in shown.items() if value is not None)
    return f"{event.at[:19].replace('T', ' ')}  {event.kind:14}  {event.detail.get('job', '')}  {rest}".rstrip()


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else " ".join(str(value).split())


@app.command("verify")
def runs_verify(store: Store, as_json: AsJson = False) -> None:
    """Read every result and compare its digests; exit code 1 if one is damaged or cannot be used."""
    from site_lens.sweeps.maintenance import damaged_results, odd_results

    opened = sl.RunStore(store)
    damaged, odd = damaged_results(opened), odd_results(opened)
    n_results = len(opened.stored_keys())
    if as_json:
        print(json.dumps({"n_results": n_results, "damaged": damaged, "odd": odd}, indent=1))
    else:
        for word, found in (("damaged", damaged), ("odd", odd)):
            for key, wrong in found.items():
                show_line(f"{word}: {key[:12]}  {wrong}")
        print(f"{n_results} results, {len(damaged)} damaged" + (f", {len(odd)} odd" if odd else ""))
    sys.exit(1 if damaged or odd else 0)


@app.command("gc")
def runs_gc(
    store: Store,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Remove damaged results, too: they are computed anew.")
    ] = False,
) -> None:
    """Remove what interrupted sweeps left behind; what is being computed now stays."""
    from site_lens.sweeps.maintenance import collect_garbage

    removed = collect_garbage(sl.RunStore(store), damaged=damaged)
    for path in removed:
        show_line(f"removed {path}")
    print(f"{len(removed)} removed")


@app.command("export")
def runs_export(
    store: Store,
    out: Annotated[
        Path, typer.Argument(parser=as_path, metavar="OUT", help="Folder for the runs: OUT/model/template/config.")
    ],
    sweep: SweepName = None,
    replace: Replace = False,
) -> None:
    """Put results together as runs, one for each model, template and config, for report, diagnose, ..."""
    from site_lens.sweeps.maintenance import export_runs, job_states

    opened = sl.RunStore(store)
    for where in opened.runs(sweep):
        keep_run(out / where, replace, str(store))
        if is_within(Path(os.path.realpath(out / where)), store):
            raise sl.InputError(f"{out} lies in the run store {store}; name a folder outside of it")
    for folder in export_runs(opened, out, sweep):
        show_line(str(folder))
    states = [one.state for one in job_states(opened, sweep)]
    left_out = Counter(state for state in states if state != "stored")
    if left_out:
        kinds = ", ".join(f"{n} {state}" for state, n in left_out.items())
        show_line(f"{left_out.total()} of {len(states)} jobs left out: {kinds}", aside=True)
