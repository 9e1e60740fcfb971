"""What a sweep is put through: each scenario ends with a tally of what the store then holds."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import site_lens as sl
from site_lens.sweeps.engines import Engine
from site_lens.sweeps.events import Event
from site_lens.sweeps.maintenance import collect_garbage, damaged_results
from site_lens.sweeps.store import RunStore
from site_lens.sweeps.worker import Worker
from tests.sweeps.drive import command
from tests.sweeps.faulty import Faulty, Tally, small_sweep, tally

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 120.0
"""Seconds after which a scenario has hung."""


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the sweep hangs")
        time.sleep(0.01)


def n_results(folder: Path) -> int:
    """Count the results of a store."""
    results = folder / "store" / "results"
    return len(list(results.iterdir())) if results.is_dir() else 0


@contextmanager
def driver(folder: Path, n_tasks: int, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start a driver in a process of its own, and make sure that it is gone in the end."""
    process = subprocess.Popen(
        command(folder, n_tasks, **options),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(folder: Path, n_tasks: int, faults: dict[str, str] | None = None, engine: Engine | None = None) -> Tally:
    """Run what a store lacks to its end in this process, and count."""
    store, diary = folder / "store", folder / "diary"
    sweep = small_sweep(folder, n_tasks, tasks_at_once=4)
    sl.run_sweep(sweep, store, worker=Worker(store, Faulty(diary, store, faults or {})), engine=engine)
    return tally(sweep, store, diary)


def interrupt(sweep: sl.Sweep, worker: Worker, engine: Engine) -> None:
    """Interrupt a sweep when its first result is stored."""

    class Interrupting:
        def on_event(self, event: Event) -> None:
            if event.kind == "job_stored":
                raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        sl.run_sweep(sweep, worker.folder, worker=worker, engine=engine, watchers=[Interrupting()])
        raise RuntimeError("the sweep was not interrupted")


def killed_driver(folder: Path, *, n_tasks: int, kill_after: list[int]) -> Tally:
    """Kill the driver each time that so many more results are there, then let another one finish."""
    (folder / "diary").mkdir()
    small_sweep(folder, n_tasks)
    for n_more in kill_after:
        enough = n_results(folder) + n_more
        with driver(folder, n_tasks, seconds=0.03) as process:
            wait_for(lambda enough=enough: n_results(folder) >= enough)  # type: ignore[misc]  # a default for the loop
            process.send_signal(signal.SIGKILL)
            process.wait()
    return replace(finish(folder, n_tasks), n_faults=len(kill_after))


def two_drivers(folder: Path, *, n_tasks: int) -> Tally:
    """Let two drivers fill one store."""
    (folder / "diary").mkdir()
    sweep = small_sweep(folder, n_tasks)
    with (
        driver(folder, n_tasks, seconds=0.02, tasks_at_once=2) as one,
        driver(folder, n_tasks, seconds=0.02, tasks_at_once=3) as other,
    ):
        codes = [process.wait(PATIENCE) for process in (one, other)]
        if codes != [0, 0]:
            raise RuntimeError(f"drivers ended with {codes}: {one.communicate()} {other.communicate()}")
    return tally(sweep, folder / "store", folder / "diary")


def one_driver_dies_beside_another(folder: Path, *, n_tasks: int) -> Tally:
    """Kill one of two drivers: the other takes over what it held."""
    (folder / "diary").mkdir()
    sweep = small_sweep(folder, n_tasks)
    with (
        driver(folder, n_tasks, seconds=0.05, tasks_at_once=n_tasks) as one,
        driver(folder, n_tasks, seconds=0.05, tasks_at_once=n_tasks) as other,
    ):
        wait_for(lambda: n_results(folder) >= 1 or (folder / "diary" / "diary.txt").exists())
        first = (folder / "diary" / "diary.txt").read_text().split()[2]
        holder, survivor = (one, other) if str(one.pid) == first else (other, one)
        holder.send_signal(signal.SIGKILL)
        if survivor.wait(PATIENCE) != 0:
            raise RuntimeError(f"the survivor failed: {survivor.communicate()}")
    return replace(tally(sweep, folder / "store", folder / "diary"), n_faults=1)


def harmed_files(folder: Path, harm: Callable[[Path], None], *, n_tasks: int, every: int) -> Tally:
    """Harm a file of some results, have them found and removed, and compute them again."""
    (folder / "diary").mkdir()
    finish(folder, n_tasks)
    store = RunStore(folder / "store")
    harmed = store.stored_keys()[::every]
    for key in harmed:
        harm(sorted(store.result_folder(key).rglob("*.safetensors"))[0])
    if sorted(damaged_results(store)) != harmed:
        raise RuntimeError("verify does not find what was harmed")
    collect_garbage(store, damaged=True)
    return replace(finish(folder, n_tasks), n_faults=len(harmed))


@contextmanager
def small_disk(folder: Path, *, kilobytes: int) -> Iterator[Path]:
    """Mount a small file system in memory; raises PermissionError where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change how a file system is mounted."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def full_disk(folder: Path, *, n_tasks: int, kilobytes: int) -> tuple[Tally, int, str]:
    """Let the disk of a store become full, then give it room, and finish.

    Returns:
        The tally, how many results there were when the disk was full, and what was said then.
    """
    (folder / "diary").mkdir()
    sweep = small_sweep(folder, n_tasks, tasks_at_once=4)
    with small_disk(folder / "store", kilobytes=kilobytes) as store:
        worker = Worker(store, Faulty(folder / "diary", store))
        said = ""
        try:
            sl.run_sweep(sweep, store, worker=worker)
        except sl.StorageError as error:
            said = str(error)
        when_full = tally(sweep, store, folder / "diary")
        if when_full.n_corrupt or list((store / "partial").iterdir()):
            raise RuntimeError("a full disk left something half-written")
        remount(store, "size=64m")
        found = finish(folder, n_tasks)
        shutil.copytree(store, folder / "kept")
    return replace(found, n_faults=1), when_full.n_results, said


def read_only(folder: Path, *, n_tasks: int) -> tuple[Tally, str]:
    """Sweep into a store that may only be read, then let it be written again."""
    (folder / "diary").mkdir()
    with small_disk(folder / "store", kilobytes=65536) as store:
        finish(folder, n_tasks // 2)
        shutil.rmtree(folder / "tasks")
        remount(store, "ro")
        said = ""
        try:
            finish(folder, n_tasks)
        except sl.StorageError as error:
            said = str(error)
        remount(store, "rw")
        return replace(finish(folder, n_tasks), n_faults=1), said


def on_ray(folder: Path, engine: Engine, *, n_tasks: int, n_seeds: int = 1, faults: dict[str, str]) -> Tally:
    """Sweep on Ray while workers raise, die and run out of memory; what failed is tried again, twice."""
    (folder / "diary").mkdir()
    store, diary = folder / "store", folder / "diary"
    sweep = small_sweep(folder, n_tasks, n_seeds=n_seeds, tasks_at_once=2)
    worker = Worker(store, Faulty(diary, store, faults))
    for _ in range(3):
        if sl.run_sweep(sweep, store, worker=worker, engine=engine).ok:
            break
    return tally(sweep, store, diary)
