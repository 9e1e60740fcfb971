"""Sweep commands: run a sweep file; list, show, verify, clean up and export the results in a run store."""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option
from typer.core import TyperGroup

import site_lens as sl
from site_lens.cli.options import AsJson, Device, Replace, as_path, given, keep_run, path_option
from site_lens.cli.output import show_json, show_line, show_table
from site_lens.records.errors import unknown_name
from site_lens.records.limited_io import is_folder
from site_lens.records.outputs import is_within

if TYPE_CHECKING:
    from site_lens.sweeps.engines import Engine
    from site_lens.sweeps.events import Event
    from site_lens.sweeps.maintenance import JobState


class SweepGroup(TyperGroup):
    """Commands of sweeps; `site-lens sweep FILE`, as in 0.1, still runs the file."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Read a sweep file in the place of a command as `run` with that file."""
        if args[0].endswith(".toml"):
            show_line("note: `site-lens sweep FILE` is now `site-lens sweep run FILE`", aside=True)
            args = ["run", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=SweepGroup, help="Run sweeps, and look after their results.", no_args_is_help=True)

Store = Annotated[Path, Argument(parser=as_path, metavar="STORE", help="Run store, made by sweep run.")]
SweepName = Annotated[str | None, Option("--sweep", help="Name of the sweep, if the store has more than one.")]


def note_old_name() -> None:
    """Name the new command where a command is called by the name it had in 0.1."""
    show_line("note: `site-lens runs` is now `site-lens sweep`", aside=True)


@app.command("run")
def sweep_run(
    sweep_file: Annotated[
        Path, Argument(parser=as_path, metavar="SWEEP", help="The sweep file (TOML); see docs/sweeps.md.")
    ],
    out: Annotated[Path | None, path_option("The run store; runs/NAME by default.", "--out", "-o")] = None,
    engine: Annotated[Literal["local", "ray", "slurm"], Option(help="Where to compute.")] = "local",
    gpus_per_job: Annotated[float | None, Option(min=0, help="GPUs of a Ray worker; 0 by default.")] = None,
    workers_per_model: Annotated[
        int | None, Option(min=1, help="Ray workers that load the same model; 1 by default.")
    ] = None,
    ray_address: Annotated[str | None, Option(help="Address of a Ray cluster, such as auto.")] = None,
    track: Annotated[Literal["wandb", "trackio"] | None, Option(help="Log the sweep there, too.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Print what would be computed, and stop.")] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Compute the missing jobs of models x tasks x templates x configs x seeds; exit code 1 if a job failed."""
    ray_options = given(gpus_per_job=gpus_per_job, workers_per_model=workers_per_model, address=ray_address)
    if ray_options and engine != "ray":
        raise sl.InputError("--gpus-per-job, --workers-per-model and --ray-address need --engine ray")
    sweep = sl.Sweep.load(sweep_file)
    folder = out or Path("runs") / sweep.name
    if dry_run:
        _show_cost(sweep, folder, as_json)
        return
    from site_lens.sweeps.events import Tracker
    from site_lens.sweeps.fit_jobs import FitJobs
    from site_lens.sweeps.worker import Worker

    outcome = sl.run_sweep(
        sweep,
        folder,
        engine=_engine(engine, folder, sweep, ray_options),
        worker=Worker(folder.resolve(), FitJobs(device=device, progress=None if engine == "local" else False)),
        watchers=[Tracker(track, project=sweep.name, config=sweep.model_dump(mode="json"))] if track else [],
    )
    counts = {
        "jobs": outcome.n_jobs, "found": outcome.n_found, "computed": len(outcome.stored),
        "elsewhere": outcome.n_elsewhere, "failed": len(outcome.failed),
    }  # fmt: skip
    if as_json:
        show_json({"store": str(folder)} | counts | {"errors": outcome.failed})
    else:
        show_line(", ".join(f"{n} {kind}" for kind, n in counts.items()) + f"; store: {folder}")
        names = {job.key: job for job in sl.RunStore(folder).plan(sweep.name).jobs}
        for key, message in outcome.failed.items():
            show_line(f"failed: {key[:12]}  {names[key]}  {message.splitlines()[0]}", aside=True)
    sys.exit(0 if outcome.ok else 1)


def _engine(name: str, folder: Path, sweep: sl.Sweep, ray_options: dict[str, Any]) -> "Engine | None":
    if name == "ray":
        from site_lens.sweeps.ray_engine import RayEngine

        return RayEngine(**ray_options)
    if name == "slurm":
        from site_lens.sweeps.slurm_engine import SlurmEngine

        return SlurmEngine(folder / "slurm", parameters=sweep.slurm)
    return None


def _show_cost(sweep: sl.Sweep, folder: Path, as_json: bool) -> None:
    from site_lens.sweeps.jobs import jobs_of
    from site_lens.sweeps.maintenance import estimate_cost

    jobs = jobs_of(sweep)
    store = sl.RunStore(folder) if is_folder(folder) and any(folder.iterdir()) else None
    costs = [asdict(cost) for cost in estimate_cost(jobs, store)]
    if as_json:
        missing = [job.name.model_dump() for job in jobs if store is None or not store.has(job.key)]
        show_json({"cost": costs, "missing": missing})
    else:
        show_table(costs)


@app.command("list")
def sweep_list(store: Store, sweep: SweepName = None, as_json: AsJson = False) -> None:
    """List the jobs of a sweep: stored, damaged, failed, running or missing."""
    from site_lens.sweeps.maintenance import job_states

    states = list(job_states(sl.RunStore(store), sweep))
    columns = ("state", "status", "accuracy", "seconds", "note")
    rows = [job.name.model_dump() | {name: getattr(job, name) for name in columns} for job in states]
    if as_json:
        show_json(rows)
    else:
        show_table([row | {"key": row["key"][:12]} for row in rows])
        print(_counts(states) or "no jobs")


def _counts(states: "Iterable[JobState]") -> str:
    return ", ".join(f"{n} {state}" for state, n in Counter(job.state for job in states).items())


@app.command("show")
def sweep_show(
    store: Store,
    key: Annotated[str | None, Argument(help="First digits of a job's key; the whole sweep by default.")] = None,
    sweep: SweepName = None,
    events: Annotated[int, Option(min=0, help="Number of events to show, the last ones.")] = 12,
) -> None:
    """Show the state of a sweep or of one of its jobs, errors, and the last events."""
    from site_lens.sweeps.events import read_events
    from site_lens.sweeps.maintenance import job_states

    opened = sl.RunStore(store)
    states = [job for job in job_states(opened, sweep) if job.name.key.startswith(key or "")]
    if key is not None and not states:
        raise unknown_name("key", key, [name.key[:12] for name in opened.plan(sweep).jobs])
    if key is None:
        print(f"{len(states)} jobs: {_counts(states)}")
        print(f"{sum(job.seconds or 0 for job in states):.1f} s of computing in what is stored")
    for job in states:
        if key is not None or job.state in ("damaged", "failed"):
            show_line(f"{job.name.key[:12]}  {job.name}  {job.state}  {job.note}".rstrip())
        for line in job.trace.splitlines() if key is not None else ():
            show_line(line)
    log, n_unreadable = read_events(opened.folder / "events")
    keys = {job.name.key for job in states}
    shown = [event for event in log if key is None or keys & {event.detail.get("key"), *event.detail.get("keys", ())}]
    for event in shown[max(0, len(shown) - events) :]:
        show_line(_line(event))
    if n_unreadable:
        print(f"{n_unreadable} lines of the event log cannot be read", file=sys.stderr)


def _line(event: "Event") -> str:
    details = {k: v for k, v in event.detail.items() if k not in ("key", "keys", "job") and v not in ([], None)}
    texts = {k: f"{v:.3g}" if isinstance(v, float) else " ".join(str(v).split()) for k, v in details.items()}
    rest = "  ".join(f"{name}={text}" for name, text in texts.items())
    return f"{event.at[:19].replace('T', ' ')}  {event.kind:14}  {event.detail.get('job', '')}  {rest}".rstrip()


@app.command("verify")
def sweep_verify(store: Store, as_json: AsJson = False) -> None:
    """Verify the digests of every result; exit code 1 if one is damaged or cannot be used."""
    from site_lens.sweeps.maintenance import damaged_results, unusable_results

    opened = sl.RunStore(store)
    problems = {"damaged": damaged_results(opened), "unusable": unusable_results(opened)}
    n_results = len(opened.stored_keys())
    if as_json:
        show_json({"n_results": n_results} | problems)
    else:
        for kind, reasons in problems.items():
            for key, reason in reasons.items():
                show_line(f"{kind}: {key[:12]}  {reason}")
        print(f"{n_results} results" + "".join(f", {len(reasons)} {kind}" for kind, reasons in problems.items()))
    sys.exit(1 if any(problems.values()) else 0)


@app.command("gc")
def sweep_gc(
    store: Store,
    damaged: Annotated[
        bool, Option("--damaged", help="Remove damaged results, too: the next sweep computes them again.")
    ] = False,
) -> None:
    """Remove what interrupted sweeps left behind; running jobs keep their files."""
    from site_lens.sweeps.maintenance import collect_garbage

    removed = collect_garbage(sl.RunStore(store), damaged=damaged)
    for path in removed:
        show_line(f"removed {path}")
    print(f"{len(removed)} removed")


@app.command("export")
def sweep_export(
    store: Store,
    out: Annotated[
        Path, Argument(parser=as_path, metavar="OUT", help="Folder for the runs: OUT/model/template/config.")
    ],
    sweep: SweepName = None,
    replace: Replace = False,
) -> None:
    """Export the results as runs, one for each model, template and config, for report, diagnose, ..."""
    from site_lens.sweeps.maintenance import job_states

    opened = sl.RunStore(store)
    runs = opened.runs(sweep)
    for name in runs:
        keep_run(out / name, replace, str(store))
        if is_within(out / name, store):
            raise sl.InputError(f"{out} lies in the run store {store}; name a folder outside of it")
    for name, run in runs.items():
        show_line(str(run.save(out / name)))
    left_out = [job for job in job_states(opened, sweep) if job.state != "stored"]
    if left_out:
        n_jobs = len(opened.plan(sweep).jobs)
        show_line(f"{len(left_out)} of {n_jobs} jobs left out: {_counts(left_out)}", aside=True)
