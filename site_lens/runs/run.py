"""A run on disk: fits, controls, scores, evaluations and studies in one folder, each record a pair of files of its own.

runs/demo/fits/<task>.json + .safetensors
runs/demo/controls/<method>/<task>.json + .safetensors
runs/demo/paths/<task>.json + .safetensors
runs/demo/scores/<selector>/<task>.json + .safetensors
runs/demo/evaluations/<task>.json + .safetensors
runs/demo/attention/<task>.json + .safetensors
runs/demo/studies/<name>.json + .safetensors
runs/demo/results.csv
runs/demo/heads.csv
runs/demo/inputs.json: the model and the tasks that it was made with
runs/demo/written.sha256: what was written there, by which it is known what may be replaced
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from site_lens.activations.attention_sample import AttentionSamples
from site_lens.heads.scores import ScoresByTask
from site_lens.methods.evaluation import Evaluations
from site_lens.records.base import Record
from site_lens.records.collections import RecordSet, file_name, manifests
from site_lens.records.display import CellMap, Displayed, few
from site_lens.records.errors import InputError, StorageError
from site_lens.records.lazy_pandas import pd
from site_lens.records.library_errors import system_errors
from site_lens.records.limited_io import is_folder
from site_lens.records.outputs import LISTED, is_run, named, write_output
from site_lens.records.serialization import load, save
from site_lens.records.study_registry import STUDIES
from site_lens.records.suggestions import did_you_mean_path
from site_lens.records.type_checks import checked_methods
from site_lens.runs import run_folder
from site_lens.runs.inputs import RunInputs
from site_lens.site.fit import SiteFits
from site_lens.site.head_path import HeadPaths

C = TypeVar("C", bound=RecordSet[Any])


@checked_methods
@dataclass(frozen=True, repr=False)
class Run(Displayed):
    """Fits, controls, evaluations, scores and studies that were made together."""

    fits: SiteFits
    controls: dict[str, SiteFits] = field(default_factory=dict)
    """Control fits by the name of their method."""
    evaluations: Evaluations | None = None
    attention: AttentionSamples = field(default_factory=lambda: AttentionSamples([]))
    """Attention of the heads of highest alpha, where it was sampled."""
    scores: dict[str, ScoresByTask] = field(default_factory=dict)
    """What each selector that was compared with SITE gave the heads, by its name."""
    studies: dict[str, Record] = field(default_factory=dict)
    """What experiments on these fits found, such as a transfer matrix, by name."""
    paths: HeadPaths = field(default_factory=lambda: HeadPaths([]))
    """Head paths, each with the chosen set of its task, where they were fitted."""
    inputs: RunInputs | None = None
    """Where its model and tasks are, for later commands on it; None where that was not said."""

    def __post_init__(self) -> None:
        for what, names in (("control", self.controls), ("selector", self.scores), ("study", self.studies)):
            for name in names:
                if file_name(name) != name:
                    raise InputError(f"{what} {name!r} cannot name a folder; use letters, digits, - and _")

    def _facts(self) -> Mapping[str, object]:
        facts = dict(self.fits._facts())
        if self.controls:
            facts["controls"] = few(list(self.controls))
        if self.evaluations:
            named = {name: value for name, value in self.evaluations._facts().items() if name != "tasks"}
            facts["mean accuracy"] = ", ".join(f"{name} {value}" for name, value in named.items())
        if self.paths:
            facts["chosen heads"] = self.paths._line()
        if self.studies:
            facts["studies"] = few(list(self.studies))
        return facts

    def _line(self) -> str:
        return "; ".join(f"{name}: {value}" for name, value in self._facts().items())  # no part of it is cut

    def _maps(self) -> Mapping[str, CellMap]:
        """Return the chosen sets, or the gates of tasks without a path."""
        return self.paths._maps() or self.fits._maps()

    def _tables(self) -> "Mapping[str, Callable[[], pd.DataFrame]]":
        tables: dict[str, Callable[[], pd.DataFrame]] = {"fits": self.fits._facts_frame}
        if self.paths:
            tables = {"chosen heads": self.paths._facts_frame} | tables
        return tables if self.evaluations is None else {"accuracies": self.evaluations.accuracies} | tables

    @classmethod
    def join(cls, parts: Sequence["Run"]) -> "Run":
        """Put runs of different tasks together."""
        return cls(
            fits=_joined(SiteFits, [part.fits for part in parts]),
            controls=_joined_by_name(SiteFits, [part.controls for part in parts]),
            paths=_joined(HeadPaths, [part.paths for part in parts]),
            evaluations=_joined(Evaluations, [part.evaluations or {} for part in parts]) or None,
            attention=_joined(AttentionSamples, [part.attention for part in parts]),
            scores=_joined_by_name(ScoresByTask, [part.scores for part in parts]),
            studies={name: study for part in parts for name, study in part.studies.items()},
            inputs=next((part.inputs for part in parts if part.inputs is not None), None),
        )

    @property
    def head_fits(self) -> SiteFits:
        """The fits that analyses of head sets take: the chosen sets, rounded, where there are paths; else all fits.

        A task of which no set was found is then left out.
        """
        return self.paths.sparse_fits() or self.fits

    @classmethod
    def load(cls, folder: str | Path) -> "Run":
        """Read a run; everything but the fits may be missing. Controls and selectors come in order of their names.

        Raises:
            StorageError: The folder holds no fits, or a record is damaged.
        """
        folder = run_folder.whole(Path(folder))
        if not is_folder(folder / "fits"):
            advice = did_you_mean_path(folder, lambda near: (near / "fits").is_dir()) + "make one with: site-lens fit"
            raise StorageError(f"{folder} holds no run (no folder {folder / 'fits'}); {advice}")
        return cls(
            fits=SiteFits.load(folder / "fits"),
            controls={part.name: SiteFits.load(part) for part in _folders(folder / "controls")},
            paths=_loaded(HeadPaths, folder / "paths"),
            evaluations=_loaded(Evaluations, folder / "evaluations") or None,
            attention=_loaded(AttentionSamples, folder / "attention"),
            scores={part.name: ScoresByTask.load(part) for part in _folders(folder / "scores")},
            studies={path.stem: load(path) for path in sorted(manifests(folder / "studies"))},
            inputs=RunInputs.read(folder / run_folder.INPUTS),
        )

    def save(self, folder: str | Path) -> Path:
        """Write every record and the tables of results and heads, in place of a run that is there.

        The run is written beside the other one, and then put in its place: whenever this is interrupted, the folder
        holds one of the two as a whole. Of the other run, what is in its list goes, and nothing else.

        Raises:
            InputError: The name of the folder is empty.
            StorageError: The folder cannot be written, or holds files that would be taken for those of the run and
                were not written with it.
        """
        folder = named(folder)
        run_folder.check_run_folder(folder, replaces=True)
        with system_errors(f"write to {folder}", "; choose another output folder"):
            shutil.rmtree(folder / run_folder.SAVED, ignore_errors=True)  # the rest of a run that is in its place
            with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as beside:
                self.add_to(Path(beside, "run")).replace(folder / run_folder.SAVED)
        run_folder.settle(folder)
        return folder

    def add_to(self, folder: str | Path) -> Path:
        """Write every record beside those that are there, such as those of other tasks of the same run."""
        folder = named(folder)
        run_folder.check_run_folder(folder)
        if not is_run(folder):
            (folder / LISTED).touch()
        self.fits.save(folder / "fits")
        if self.inputs is not None:
            write_output({folder / run_folder.INPUTS: self.inputs.write()}, replace=True)
        for part, by_name in (("controls", self.controls), ("scores", self.scores)):
            for name, records in by_name.items():
                records.save(folder / part / name)
        self.paths.save(folder / "paths")
        if self.paths:
            heads = HeadPaths.load(folder / "paths").heads_frame()  # those of earlier groups, too
            write_output({folder / run_folder.HEADS: heads.to_csv(index=False).encode()}, replace=True)
        self.attention.save(folder / "attention")
        for name, study in self.studies.items():
            save(study, folder / "studies" / name)
        if self.evaluations is not None:
            self.evaluations.save(folder / "evaluations")
            run_folder.write_results(self.evaluations, folder)
        return folder

    def with_study(self, name: str, study: Record, folder: str | Path | None = None) -> "Run":
        """Return the run with one more study, saved beside the rest where a folder is given.

        Raises:
            InputError: The record is no study that the report of a run shows, or its name cannot name a file.
            StorageError: The folder cannot be written.
        """
        if not isinstance(study, Record) or study.kind not in STUDIES:
            kind = study.kind if isinstance(study, Record) else type(study).__name__
            raise InputError(f"study {name!r} is a {kind}, which a report does not show; it shows {', '.join(STUDIES)}")
        run = replace(self, studies=self.studies | {name: study})
        if folder is not None:
            run_folder.check_run_folder(folder)
            save(study, Path(folder) / "studies" / name)
        return run


def _folders(folder: Path) -> list[Path]:
    """Return the folders of records in a folder, in order of their names."""
    return [part for part in sorted(folder.glob("*")) if manifests(part)]


def _loaded(kind: type[C], folder: Path) -> C:
    """Read the records of a folder, which may be missing."""
    return kind.load(folder) if manifests(folder) else kind([])


def _joined(kind: type[C], parts: Iterable[Mapping[str, Record]]) -> C:
    """Put the records of several collections into one."""
    return kind([record for part in parts for record in part.values()])


def _joined_by_name(kind: type[C], parts: Sequence[Mapping[str, C]]) -> dict[str, C]:
    """Put the collections of the same name into one."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _joined(kind, [part[name] for part in parts if name in part]) for name in names}
