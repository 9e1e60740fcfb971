"""Lab of the studies: a model and its tasks, and a folder of runs and records that are measured once and shared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import site_lens as sl
from analysis.pages import machine
from analysis.results import Part
from analysis.settings import ByData, Settings
from site_lens.models.gguf_source import local_gguf
from site_lens.records.assets import DEMO, DEMO_MODEL
from site_lens.records.base import Frozen, Record
from site_lens.runs.run_folder import read_mark, study_mark
from site_lens.studies.cache import StudyCache

if TYPE_CHECKING:
    from site_lens.models.base import LensModel

T = TypeVar("T")
R = TypeVar("R", bound=Record)

DType = Literal["float32", "bfloat16", "float16"]

LEAST_BUSY, STARVED = 0.5, " Other work ran beside it: its minutes are too high."
"""Share of the time that a core works for a study, below which it had to wait for others."""


class Lab:
    """A model, tasks, and what was measured with them.

    A run or a record is made when a study first asks for it, kept under `out`, and read from there ever after, until
    anything that it depends on changes: model, tasks, numbers, or the code that measures.

    Args:
        settings: The numbers of the studies.
        model: What `load_model` takes.
        tasks: What `load_tasks` takes.
        out: Where runs and records are kept.
        dtype: Passed on to `load_model`.
        device: Passed on to `load_model`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        model: str = DEMO,
        tasks: str = DEMO,
        out: Path = Path("runs/studies"),
        dtype: DType | None = None,
        device: str | None = None,
    ) -> None:
        self.settings, self.out = settings, out
        self.model_name = model
        self._tasks, self._dtype, self._device = tasks, dtype, device
        self._kept: dict[str, Any] = {}
        self._parts: dict[str, Part] = {}

    @cached_property
    def model(self) -> "LensModel":
        """The model, loaded when something is measured."""
        return sl.load_model(self.model_name, dtype=self._dtype, device=self._device)

    @cached_property
    def every_task(self) -> dict[str, sl.Task]:
        """All tasks there are; those without a family get the one that the settings know."""
        families = {name: family for family, names in self.settings.families.items() for name in names}
        found = sl.load_tasks(self._tasks)
        return {name: replace(task, family=task.family or families.get(name)) for name, task in found.items()}

    @cached_property
    def tasks(self) -> dict[str, sl.Task]:
        """The sample that most studies share, drawn by the seed alone."""
        shared = self.settings.shared
        drawn_from = [t for t in self.every_task.values() if not shared.of_families or t.family in shared.of_families]
        return sl.sample_tasks(drawn_from, min(shared.n_tasks, len(drawn_from)), seed=shared.seed)

    def task(self, name: ByData) -> sl.Task:
        """Return one task by the name that it has in this data."""
        wanted = name.demo if self._tasks == DEMO else name.paper
        if wanted not in self.every_task:
            raise sl.InputError(f"{self._tasks} holds no task {wanted!r}; name another one in studies.toml")
        return self.every_task[wanted]

    def run(self, name: str, make: Callable[[Path], sl.Run], *depends_on: object) -> sl.Run:
        """Return a run, made by `make` in the folder it is given unless it is there and nothing has changed."""
        folder = self.out / name

        def made() -> sl.Run:
            make(folder)
            return sl.Run.load(folder)  # in the order of files, so that it does not matter who made it

        return self._cached(name, folder / "made.json", lambda: sl.Run.load(folder), made, depends_on)

    def record(self, run: str, name: str, make: Callable[[], R], *depends_on: object) -> R:
        """Return a record on a run, kept under its `studies`, unless it is there and nothing has changed."""
        path = self.out / run / "studies" / name

        def made() -> R:
            record = make()
            sl.save(record, path)
            return record

        mark = study_mark(self.out / run, name)
        return self._cached(
            f"{run}/studies/{name}", mark, lambda: sl.load(path), made, (self._key_of(run), *depends_on)
        )

    def _cached(
        self, name: str, mark: Path, read: Callable[[], T], make: Callable[[], T], depends_on: Sequence[object]
    ) -> T:
        cache = StudyCache(None, name, self._origin, [_as_json(value) for value in depends_on])

        def describe(seconds: float, busy: float) -> dict[str, object]:
            starved = STARVED if busy < LEAST_BUSY * seconds else ""
            return {"seconds": seconds, "measured": machine(self.model.device.type) + starved}

        result = cache.result(mark, lambda: self._kept[name] if name in self._kept else read(), make, describe)
        self._kept[name], entries = result, read_mark(mark)
        self._parts[name] = Part(path=name, seconds=entries["seconds"], measured=entries["measured"])
        return result

    def _key_of(self, run: str) -> str:
        """What a run was made of; a run that is made anew takes its records with it."""
        mark = self.out / run / "made.json"
        return str(read_mark(mark).get("key", ""))

    @cached_property
    def _origin(self) -> list[object]:
        """The model. Of a model in files: their names, sizes and times; of another one, its name."""
        folder = DEMO_MODEL if self.model_name == DEMO else Path(self.model_name)
        gguf = local_gguf(self.model_name)
        paths = sorted(folder.glob("*")) if gguf is None else [gguf]
        files = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
        return [self.model_name, self._dtype, self._device, files]

    def start(self) -> None:
        """Forget which parts were read, before the next study."""
        self._parts.clear()

    def parts(self) -> tuple[Part, ...]:
        """What was read since the start of the study."""
        return tuple(self._parts.values())


def _as_json(value: object) -> Any:
    """Return something that a result depends on as a JSON value."""
    if isinstance(value, Frozen | sl.Task):
        return value.digest
    if isinstance(value, Mapping):
        return {str(key): _as_json(part) for key, part in value.items()}
    return [_as_json(part) for part in value] if isinstance(value, list | tuple) else value
