"""Run store: results under a key, the digest of everything they were computed from, safe for several writers.

STORE/run_store.json                    mark of a run store
STORE/results/<key>/job.json            description of a result, with a digest of every file
STORE/results/<key>/fits, controls, evaluations, results.csv    a run like any other
STORE/failures/<key>.json               error of the last attempt at a job
STORE/plans/<sweep>.json                jobs of a sweep
STORE/models/<digest>.json              identity of a model when it was first loaded
STORE/claims/<key>.lock                 lock of the process that computes the job
STORE/partial/<key>.<random>/           result that is being written, or was damaged and set aside
STORE/events/<random>.jsonl             event log, one file a writer

A result is written elsewhere on the same file system and renamed into its place: it is there whole, or not at all.
Claims are locks of the operating system, which it releases when their holder dies. Nothing depends on the clock.
"""

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from site_lens.models.identity import ModelIdentity
from site_lens.records.errors import InputError, MismatchError, StorageError, unknown_name
from site_lens.records.hashing import digest_file, digest_json
from site_lens.records.library_errors import system_errors
from site_lens.records.outputs import LISTED
from site_lens.records.terminal_escape import visible
from site_lens.records.type_checks import checked_methods
from site_lens.runs.run import Run
from site_lens.sweeps import store_schema as layout
from site_lens.sweeps.events import EventLog
from site_lens.sweeps.seed_merge import merge_seeds

MOST_TRACE = 100_000
"""Characters of a traceback that are kept, the last ones."""


@checked_methods
class RunStore:
    """Results of sweeps in a folder.

    Args:
        folder: The folder; made by `run_sweep` and `site-lens sweep run`.

    Raises:
        StorageError: The folder is not a run store.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        layout.check_store(self.folder)

    @classmethod
    def create(cls, folder: str | Path) -> "RunStore":
        """Open a store for writing, made if it is not there.

        Raises:
            StorageError: It cannot be written; or the folder is no store, and has entries named like those of one.
        """
        layout.make_store(Path(folder))
        return cls(folder)

    def result_folder(self, key: str) -> Path:
        """Return the folder of a result, whether it is there or not. It is a run: `Run.load` reads it."""
        return self.folder / "results" / key

    def stored_keys(self) -> list[str]:
        """List the keys of all results, damaged ones included."""
        return [path.name for path in layout.entries(self.folder / "results", layout.RESULT)]

    def holds(self, key: str) -> bool:
        """Tell whether there is a result, even a damaged one."""
        return self.result_folder(key).is_dir()

    def has(self, key: str) -> bool:
        """Tell whether a job has a result whose files are there with their sizes."""
        return self.damage(key) is None

    def stored(self, key: str) -> layout.StoredJob:
        """Read the description of a result; raises StorageError if it is not there or damaged."""
        return layout.read_sealed(self.result_folder(key) / layout.JOB_FILE, layout.StoredJob)

    def damage(self, key: str, *, deep: bool = False) -> str | None:
        """Describe the damage of a result, or return None.

        Args:
            key: Key of the result.
            deep: Read every file and compare its digest; else compare sizes only.
        """
        folder = self.result_folder(key)
        try:
            stored = self.stored(key)
            if not stored.name.key == digest_json(stored.made_from) == key:
                return f"{folder / layout.JOB_FILE} describes another job than its folder is named after"
            for name, recorded in stored.files.items():
                path = folder / name
                if (n_bytes := path.stat().st_size) != recorded.n_bytes:
                    return f"{path} has {n_bytes} bytes, not {recorded.n_bytes}"
                if deep and digest_file(path) != recorded.sha256:
                    return f"{path} was changed after it was written"
        except StorageError as error:
            return str(error)
        except OSError as error:
            return f"cannot read {error.filename}: {error.strerror}"
        return None

    def load(self, key: str) -> Run:
        """Read a result as a run; raises StorageError if it is not there or damaged."""
        return Run.load(self.result_folder(key))

    def failure(self, key: str) -> layout.Failure | None:
        """Return the error of the last attempt at a job, unless it succeeded; raises StorageError if it is damaged."""
        path = self._failure_file(key)
        return layout.read_sealed(path, layout.Failure) if path.exists() else None

    def _failure_file(self, key: str) -> Path:
        return self.folder / "failures" / f"{key}.json"

    def plan(self, sweep: str | None = None) -> layout.SweepPlan:
        """Read the jobs of a sweep; its name may be left out if the store has one.

        Raises:
            InputError: There is no such sweep, or several and none was named.
        """
        names = [path.stem for path in layout.plan_files(self.folder)]
        if sweep is None and len(names) != 1:
            raise InputError(f"{self.folder} holds {len(names)} sweeps ({', '.join(names)}); name one")
        name = names[0] if sweep is None else sweep
        if name not in names:
            raise unknown_name("sweep", name, names)
        return layout.read_sealed(self.folder / "plans" / f"{name}.json", layout.SweepPlan)

    def runs(self, sweep: str | None = None) -> dict[str, Run]:
        """Merge the results of a sweep into one run for each model, template and config: "model/template/config".

        Jobs without a result are left out. Seeds of a task stand beside each other, as in a run of `fit_and_evaluate`.

        Raises:
            StorageError: A result is damaged; the message says which, and how to have it computed again.
        """
        members: dict[str, dict[str, dict[int, Run]]] = {}
        for name in self.plan(sweep).jobs:
            if self.holds(name.key):
                by_task = members.setdefault(f"{name.model}/{name.template}/{name.config}", {})
                by_task.setdefault(name.task, {})[name.seed] = self._read(name)
        return {
            where: Run.join([merge_seeds(by_seed) for by_seed in by_task.values()])
            for where, by_task in members.items()
        }

    def _read(self, name: layout.JobName) -> Run:
        """Read a result that is there; raises StorageError, with what to do, if it is damaged."""
        damage = self.damage(name.key)
        if damage is None:
            try:
                return self.load(name.key)
            except StorageError as error:
                damage = self.damage(name.key, deep=True)
                if damage is None:
                    raise StorageError(f"the result {name} ({name.key[:12]}) cannot be used: {error}") from error
        raise StorageError(
            f"the result {name} ({name.key[:12]}) is damaged: {damage}; remove it with "
            f"`site-lens sweep gc {self.folder} --damaged`, then run the sweep again"
        )

    # Writing.

    def event_log(self) -> EventLog:
        """Open an event log for this process."""
        return EventLog(self.folder / "events")

    def write_plan(self, plan: layout.SweepPlan) -> None:
        """Write the jobs of a sweep, in place of an earlier plan of the same name."""
        layout.write_sealed(plan, self.folder / "plans" / f"{plan.sweep}.json")

    @contextmanager
    def claim(self, keys: Iterable[str]) -> Iterator[frozenset[str]]:
        """Lock the jobs that no other process has locked, until the block ends.

        Yields:
            The keys that were free.
        """
        from filelock import FileLock, Timeout

        with ExitStack() as locks:
            claimed = set()
            for key in sorted(keys):
                path = self._claim_file(key)
                lock = FileLock(path, timeout=0)
                with system_errors(f"lock {path}", f"; clean up with: site-lens sweep gc {self.folder}"):
                    try:
                        lock.acquire()
                    except Timeout:
                        continue
                locks.callback(lock.release)
                # Unlinked while it is locked: whoever opened it before finds the file gone and tries again.
                locks.callback(path.unlink, missing_ok=True)
                claimed.add(key)
            yield frozenset(claimed)

    def is_claimed(self, key: str) -> bool:
        """Tell whether a process is computing a job."""
        from filelock import FileLock, Timeout

        path = self._claim_file(key)
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a reader of a read-only store believes the file; a writer is to try the lock and hear why not
            return not os.access(path.parent, os.W_OK)

    def _claim_file(self, key: str) -> Path:
        return self.folder / "claims" / f"{key}.lock"

    def commit(self, name: layout.JobName, parts: Mapping[str, Any], run: Run, *, seconds: float) -> bool:
        """Store the result of a job.

        Args:
            name: The job.
            parts: What its key is a digest of.
            run: The result.
            seconds: Time that it took.

        Returns:
            Whether it was stored; False if another process had stored one before, which stays.

        Raises:
            StorageError: It cannot be written; nothing is left behind then.
            MismatchError: The model is not what it was for earlier results under the same name.
        """
        fit = next(iter(run.fits.values()))
        self._check_model(parts["model"], fit.embedding.model)
        accuracy = None if run.evaluations is None else run.evaluations[name.task].accuracy("site").value
        partial = self._partial_folder(name.key)
        try:
            with system_errors(f"write to {self.folder}"):
                run.save(partial)
                written = (path for path in sorted(partial.rglob("*")) if path.is_file() and path.name != LISTED)
                files = {path.relative_to(partial).as_posix(): layout.StoredFile.of(path) for path in written}
                stored = layout.StoredJob(
                    name=name, made_from=dict(parts), files=files, seconds=seconds,
                    status=fit.status, accuracy=accuracy, notes=fit.notes,
                )  # fmt: skip
                layout.write_sealed(stored, partial / layout.JOB_FILE)
                is_new = not self.holds(name.key)
                if is_new:
                    partial.rename(self.result_folder(name.key))
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._failure_file(name.key).unlink(missing_ok=True)
        return is_new

    def fail(self, name: layout.JobName, error: str, message: str, trace: str = "") -> None:
        """Record the error of an attempt at a job."""
        n_before = 0
        with suppress(StorageError):  # a damaged record of an earlier attempt is overwritten
            n_before = getattr(self.failure(name.key), "n_attempts", 0)
        message, trace = (visible(text[-MOST_TRACE:], keep="\n") for text in (message, trace))  # quotes names of others
        failure = layout.Failure(name=name, error=error, message=message, trace=trace, n_attempts=n_before + 1)
        layout.write_sealed(failure, self._failure_file(name.key))

    def set_aside(self, key: str) -> Path:
        """Move a damaged result to `partial/`, so that its job is computed again; claim the job first."""
        aside = self._partial_folder(key)
        with system_errors(f"move {self.result_folder(key)}"):
            return self.result_folder(key).rename(aside)

    def _partial_folder(self, key: str) -> Path:
        return self.folder / "partial" / f"{key}.{secrets.token_hex(4)}"

    def _check_model(self, parts: Mapping[str, Any], identity: ModelIdentity) -> None:
        path = self.folder / "models" / f"{digest_json(parts)}.json"
        try:
            earlier = layout.read_sealed(path, ModelIdentity)
        except StorageError:  # missing; or damaged, which is no reason to lose what was computed
            layout.write_sealed(identity, path)
            return
        renamed = earlier.replace(name=identity.name)
        changed = [name for name in ModelIdentity.model_fields if getattr(renamed, name) != getattr(identity, name)]
        if changed:
            raise MismatchError(
                f"{identity.name} is not the model that it was for earlier results in {self.folder}: "
                f"{', '.join(changed)} changed; name a revision or a dtype, or use another store"
            )
