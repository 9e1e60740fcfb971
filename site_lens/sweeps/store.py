"""The run store: results by the digest of what they were computed from, safe for several writers.

STORE/run_store.json                    what makes the folder a run store
STORE/results/<key>/job.json            what it is, and a digest of every file
STORE/results/<key>/fits, controls, evaluations, results.csv    a run like any other
STORE/failures/<key>.json               why the last attempt at a job gave nothing
STORE/plans/<sweep>.json                the jobs of a sweep
STORE/models/<digest>.json              what a model was when it was first loaded
STORE/claims/<key>.lock                 held by the process that computes the job
STORE/partial/<key>.<random>/           a result that is being written
STORE/damaged/<key>.<random>/           a result that was found damaged and set aside
STORE/events/<random>.jsonl             what happened, one file a writer

A result is written elsewhere on the same file system and renamed into its place: it is there whole, or not at all.
Claims are locks of the operating system, which it releases when their holder dies. Nothing depends on the clock.
"""

import errno
import logging
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from site_lens.models.identity import ModelIdentity
from site_lens.records.errors import InputError, MismatchError, StorageError, unknown_name
from site_lens.records.hashing import digest_json
from site_lens.records.type_checks import checked_methods
from site_lens.runs.run import Run
from site_lens.sweeps.atomic_commit import described, files_of, harm, move_into_place, read_result
from site_lens.sweeps.events import EventLog
from site_lens.sweeps.seed_merge import merge_seeds
from site_lens.sweeps.store_mark import JOB_FILE, RESULT, check_store, make_store, own_entries, plan_files
from site_lens.sweeps.store_schema import Failure, JobName, StoredJob, SweepPlan, read_sealed, write_sealed

logger = logging.getLogger(__name__)

MOST_TRACE = 100_000
"""Letters of a traceback that are kept, the last ones."""


@checked_methods
class RunStore:
    """Results of sweeps in a folder.

    Args:
        folder: The folder; made by `run_sweep` and `site-lens sweep`.

    Raises:
        StorageError: The folder is not a run store.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        check_store(self.folder)

    @classmethod
    def create(cls, folder: str | Path) -> "RunStore":
        """Open a store for writing, made if it is not there.

        Raises:
            StorageError: It cannot be written; or the folder is no store, and what a store would write to is there.
        """
        make_store(Path(folder))
        return cls(folder)

    def result_folder(self, key: str) -> Path:
        """Return the folder of a result, whether it is there or not. It is a run: `Run.load` reads it."""
        return self.folder / "results" / key

    def stored_keys(self) -> list[str]:
        """List the keys of all results, damaged ones included."""
        return [path.name for path in own_entries(self.folder / "results", RESULT)]

    def holds(self, key: str) -> bool:
        """Tell whether there is anything in the place of a result, even a file or a link that leads nowhere."""
        return os.path.lexists(self.result_folder(key))

    def has(self, key: str) -> bool:
        """Tell whether a job has a result that is whole as far as a glance at it tells."""
        return self.holds(key) and self.damage(key) is None

    def stored(self, key: str) -> StoredJob:
        """Read what a result is; raises StorageError if it is not there or damaged."""
        return read_sealed(self.result_folder(key) / JOB_FILE, StoredJob)

    def damage(self, key: str, *, deep: bool = False) -> str | None:
        """Say what a result has lost, or return None.

        Args:
            key: Key of a result that is there.
            deep: Read every file and compare its digest; else only what is small, and the size of the rest.
        """
        return harm(self.result_folder(key), deep=deep)

    def load(self, key: str) -> Run:
        """Read a result as a run; raises StorageError if it is not there or damaged."""
        return Run.load(self.result_folder(key))

    def failure(self, key: str) -> Failure | None:
        """Return why the last attempt at a job gave no result, if it was the last thing that happened to it."""
        path = self.folder / "failures" / f"{key}.json"
        return read_sealed(path, Failure) if os.path.lexists(path) else None

    def plan(self, sweep: str | None = None) -> SweepPlan:
        """Read the jobs of a sweep; its name may be left out where the store holds one.

        Raises:
            InputError: There is no such sweep, or several and none was named.
        """
        names = [path.stem for path in plan_files(self.folder)]
        if sweep is None and len(names) == 1:
            sweep = names[0]
        if sweep is None:
            raise InputError(f"{self.folder} holds {len(names)} sweeps ({', '.join(names)}); name one")
        if sweep not in names:
            raise unknown_name("sweep", sweep, names)
        return read_sealed(self.folder / "plans" / f"{sweep}.json", SweepPlan)

    def runs(self, sweep: str | None = None) -> dict[str, Run]:
        """Put the results of a sweep together, one run for each model, template and config: "model/template/config".

        Jobs without a result are left out. Seeds of a task stand beside each other, as in a run of `fit_and_evaluate`.

        Raises:
            StorageError: A result is damaged; the message says which, and how to have it computed anew.
        """
        plan = self.plan(sweep)
        members: dict[str, dict[str, list[tuple[int, Run]]]] = {}
        for name in plan.jobs:
            if self.holds(name.key):
                where = f"{name.model}/{name.template}/{name.config}"
                members.setdefault(where, {}).setdefault(name.task, []).append((name.seed, self._whole(plan, name)))
        return {
            where: Run.join([merge_seeds(dict(found)) for found in by_task.values()])
            for where, by_task in members.items()
        }

    def _whole(self, plan: SweepPlan, name: JobName) -> Run:
        """Read a result that is there; raises StorageError, with what to do, if it is not what it should be."""
        what = f"the result {name} ({name.key[:12]})"
        damage = self.damage(name.key)
        if damage is None:
            stored = self.stored(name.key)
            if (mismatch := plan.mismatch(name, stored)) is not None:
                raise StorageError(
                    f"{what} is of another job: {mismatch}; run the sweep again, which writes its plan anew"
                )
            try:
                return read_result(self.result_folder(name.key), stored)
            except StorageError as error:
                damage = self.damage(name.key, deep=True)
                if damage is None:
                    raise StorageError(f"{what} cannot be used: {error}") from error
        raise StorageError(
            f"{what} is damaged: {damage}; remove it with `site-lens sweep gc {self.folder} --damaged`, "
            "then run the sweep again"
        )

    # What writes.

    def event_log(self) -> EventLog:
        """Open a log of one's own."""
        return EventLog(self.folder / "events")

    def write_plan(self, plan: SweepPlan) -> None:
        """Keep the jobs of a sweep, in place of an earlier plan of the same name."""
        write_sealed(plan, self.folder / "plans" / f"{plan.sweep}.json")

    @contextmanager
    def claim(self, keys: Iterable[str]) -> Iterator[frozenset[str]]:
        """Hold the claims of jobs that no other process holds, for as long as the block lasts.

        Yields:
            The keys that were free.
        """
        from filelock import FileLock, Timeout

        with ExitStack() as held:
            mine = set()
            for key in sorted(keys):
                path = self.folder / "claims" / f"{key}.lock"
                lock = FileLock(path, timeout=0)
                try:
                    lock.acquire()
                except Timeout:
                    continue
                except OSError as error:
                    raise StorageError(
                        f"cannot claim a job by {path}: {error.strerror}; if something else stands there, clear it "
                        f"with: site-lens sweep gc {self.folder}"
                    ) from error
                held.callback(lock.release)
                # Unlinked while it is held: whoever opened it before finds the file gone and tries again.
                held.callback(path.unlink, missing_ok=True)
                mine.add(key)
            yield frozenset(mine)

    def is_claimed(self, key: str) -> bool:
        """Tell whether a process is computing a job."""
        from filelock import FileLock, Timeout

        path = self.folder / "claims" / f"{key}.lock"
        if not os.path.lexists(path):
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True
        except OSError as error:
            if self._is_only_read(path.parent, error):  # a claim that is there is believed
                return True
            raise StorageError(f"cannot look at the claim {path}: {error.strerror}") from error

    @staticmethod
    def _is_only_read(claims: Path, error: OSError) -> bool:
        """Tell whether a claim could not be opened because this process may only read the store.

        Whoever may write there is to learn that a claim is closed to them: a sweep would wait for it for ever.
        """
        return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) and not os.access(claims, os.W_OK)

    def commit(self, name: JobName, parts: Mapping[str, Any], run: Run, *, seconds: float) -> bool:
        """Store the result of a job.

        Args:
            name: The job.
            parts: What its key is a digest of.
            run: The result.
            seconds: What it took.

        Returns:
            Whether it was stored; False if another process had stored one before, which stays.

        Raises:
            StorageError: It cannot be written; nothing is left behind then.
            MismatchError: The model is not what it was for earlier results under the same name.
        """
        self._check_model(parts["model"], next(iter(run.fits.values())).embedding.model)
        partial = self.folder / "partial" / f"{name.key}.{secrets.token_hex(4)}"
        try:
            run.save(partial)
            write_sealed(described(name, parts, run, files_of(partial), seconds), partial / JOB_FILE)
            stored = move_into_place(partial, self.result_folder(name.key))
        except OSError as error:
            raise StorageError(f"cannot write to {self.folder}: {error.strerror}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        (self.folder / "failures" / f"{name.key}.json").unlink(missing_ok=True)
        return stored

    def fail(self, name: JobName, error: str, message: str, trace: str = "") -> None:
        """Keep why an attempt at a job gave no result."""
        path = self.folder / "failures" / f"{name.key}.json"
        try:
            earlier = self.failure(name.key)
        except StorageError:
            earlier = None  # a damaged note on an earlier attempt gives way to this one
        n_attempts = 1 if earlier is None else earlier.n_attempts + 1
        said = [
            text[-MOST_TRACE:].encode("utf-8", "backslashreplace").decode()  # a path may hold half a character
            for text in (error, message, trace)
        ]
        failure = Failure(name=name, error=said[0], message=said[1], trace=said[2], n_attempts=n_attempts)
        write_sealed(failure, path)

    def set_aside(self, key: str) -> Path:
        """Move a damaged result out of the way, so that its job is computed again; claim the job first."""
        aside = self.folder / "damaged" / f"{key}.{secrets.token_hex(4)}"
        try:
            aside.parent.mkdir(exist_ok=True)
            self.result_folder(key).rename(aside)
        except OSError as error:
            raise StorageError(f"cannot move {self.result_folder(key)}: {error.strerror}") from error
        return aside

    def _check_model(self, parts: Mapping[str, Any], identity: ModelIdentity) -> None:
        path = self.folder / "models" / f"{digest_json(parts)}.json"
        if not os.path.lexists(path):
            write_sealed(identity, path)
            return
        try:
            before = read_sealed(path, ModelIdentity)
        except StorageError as error:  # it says nothing any more, and is no reason to lose what was computed
            logger.warning("what a model was is written anew: %s", error)
            write_sealed(identity, path)
            return
        differing = [
            name for name in ModelIdentity.model_fields
            if name != "name" and getattr(before, name) != getattr(identity, name)
        ]  # fmt: skip
        if differing:
            raise MismatchError(
                f"{identity.name} is not the model that it was for earlier results in {self.folder}: "
                f"{', '.join(differing)} changed; name a revision or a dtype, or use another store"
            )
