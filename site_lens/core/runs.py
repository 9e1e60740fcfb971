"""A run on disk: fits, controls, scores, evaluations and studies in one folder, each record a pair of files of its own.

runs/demo/fits/<task>.json + .safetensors
runs/demo/controls/<method>/<task>.json + .safetensors
runs/demo/scores/<selector>/<task>.json + .safetensors
runs/demo/evaluations/<task>.json + .safetensors
runs/demo/attention/<task>.json + .safetensors
runs/demo/studies/<name>.json + .safetensors
runs/demo/results.csv
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from site_lens.core.attention import AttentionSamples
from site_lens.core.checked import checked_methods
from site_lens.core.errors import InputError, StorageError
from site_lens.core.evaluation import Evaluations
from site_lens.core.fits import SiteFits
from site_lens.core.pieces import clear_pieces
from site_lens.core.reading import is_folder, read_file
from site_lens.core.record_sets import file_name, manifests
from site_lens.core.records import Record
from site_lens.core.scores import ScoresByTask
from site_lens.core.storage import check_writable, load, save, write_whole
from site_lens.core.suggesting import did_you_mean_path

ZERO_EMBEDDING = "site_zero_embedding"
"""The control that belongs beside every fit: the same loop with an embedding of zeros, so that gates act alone."""
SHUFFLED_ANSWERS = "site_shuffled_answers"
"""Null: the same loop on queries whose answers were permuted."""
OTHER_EMBEDDING = "site_other_embedding"
"""Null: the same loop with the embedding of another task."""
MEAN_EMBEDDING = "site_mean_embedding"
"""Control: the same loop with the mean embedding of all tasks."""
RANDOM_EMBEDDING = "site_random_embedding"
"""Control: the same loop with random directions of the lengths that the task's embedding has, head by head."""
NULLS = (SHUFFLED_ANSWERS, OTHER_EMBEDDING)
TASK_AGNOSTIC = "site_task_agnostic"
"""Control: one alpha map for all tasks, each with its own embedding."""
CONTENTS = (ZERO_EMBEDDING, OTHER_EMBEDDING, MEAN_EMBEDDING, RANDOM_EMBEDDING)
"""The controls that change what alphas mix in, and nothing else."""
CONTROLS = (ZERO_EMBEDDING, *NULLS, TASK_AGNOSTIC, MEAN_EMBEDDING, RANDOM_EMBEDDING)
"""Every control that a study can fit beside its fits."""

SEVERAL = ("controls", "scores")
"""Parts of a run's folder that hold a folder for each control or selector."""
PARTS = ("fits", *SEVERAL, "evaluations", "attention", "studies")
"""Every part of a run's folder."""


@checked_methods
@dataclass(frozen=True)
class Run:
    """What was fitted and measured together."""

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

    def __post_init__(self) -> None:
        for name, fits in self.controls.items():
            if not isinstance(fits, SiteFits):
                raise InputError(
                    f"controls are fits by method, {{{ZERO_EMBEDDING!r}: fits}}; got a {type(fits).__name__}"
                )
            _check_folder("control", name)
        for name, scores in self.scores.items():
            if not isinstance(scores, ScoresByTask):
                raise InputError(f"scores come by selector and task, {{'site': scores}}; got a {type(scores).__name__}")
            _check_folder("selector", name)
        for name in self.studies:
            _check_folder("study", name)

    @classmethod
    def join(cls, parts: Sequence["Run"]) -> "Run":
        """Put runs of different tasks together."""
        names = dict.fromkeys(name for part in parts for name in part.controls)
        measured = [e for part in parts if part.evaluations is not None for e in part.evaluations.values()]
        return cls(
            fits=SiteFits([fit for part in parts for fit in part.fits.values()]),
            controls={
                n: SiteFits([fit for part in parts if n in part.controls for fit in part.controls[n].values()])
                for n in names
            },
            evaluations=Evaluations(measured) if measured else None,
            attention=AttentionSamples([sample for part in parts for sample in part.attention.values()]),
            scores={
                n: ScoresByTask([one for part in parts if n in part.scores for one in part.scores[n].values()])
                for n in dict.fromkeys(name for part in parts for name in part.scores)
            },
            studies={name: study for part in parts for name, study in part.studies.items()},
        )

    @classmethod
    def load(cls, folder: str | Path) -> "Run":
        """Read a run; everything but the fits may be missing. Controls and selectors come in order of their names.

        Raises:
            StorageError: The folder holds no fits, or a record is damaged.
        """
        folder = Path(folder)
        if not is_folder(folder / "fits"):
            advice = did_you_mean_path(folder, lambda one: (one / "fits").is_dir()) + "make one with: site-lens fit"
            raise StorageError(f"{folder} holds no run (no folder {folder / 'fits'}); {advice}")
        controls, measured = sorted((folder / "controls").glob("*")), folder / "evaluations"
        sampled, scored = folder / "attention", sorted((folder / "scores").glob("*"))
        return cls(
            fits=SiteFits.load(folder / "fits"),
            controls={part.name: SiteFits.load(part) for part in controls if manifests(part)},
            evaluations=Evaluations.load(measured) if manifests(measured) else None,
            attention=AttentionSamples.load(sampled) if manifests(sampled) else AttentionSamples([]),
            scores={part.name: ScoresByTask.load(part) for part in scored if manifests(part)},
            studies={path.stem: load(path) for path in sorted(manifests(folder / "studies"))},
        )

    def save(self, folder: str | Path) -> Path:
        """Write every record, and `results.csv` if there are evaluations, in place of a run that is there.

        Raises:
            StorageError: The folder cannot be written; records written before stay.
        """
        check_run_folder(folder)
        clear_run(folder)
        return self.add_to(folder)

    def add_to(self, folder: str | Path) -> Path:
        """Write every record beside those that are there, such as those of other tasks of the same run."""
        folder = Path(folder)
        refuse_links(folder)
        self.fits.save(folder / "fits")
        for name, control in self.controls.items():
            control.save(folder / "controls" / name)
        for name, scores in self.scores.items():
            scores.save(folder / "scores" / name)
        self.attention.save(folder / "attention")
        for name, study in self.studies.items():
            save(study, folder / "studies" / name)
        if self.evaluations is not None:
            self.evaluations.save(folder / "evaluations")
            write_results(self.evaluations, folder)
        return folder

    def with_study(self, name: str, study: Record, folder: str | Path | None = None) -> "Run":
        """Return the run with one more study, saved beside the rest where a folder is given."""
        if folder is not None:
            refuse_links(folder)
            save(study, Path(folder) / "studies" / name)
        return replace(self, studies=self.studies | {name: study})


def study_mark(folder: str | Path, name: str) -> Path:
    """Return the file beside a study that says what it was made of, so that it need not be made again."""
    return Path(folder) / "studies" / f"{name}.key"


def study_pieces(folder: str | Path, name: str) -> Path:
    """Return the folder in which a study keeps what it has measured until it is done."""
    return Path(folder) / "studies" / f"{name}.pieces"


def has_mark(folder: str | Path, name: str, key: str) -> bool:
    """Tell whether the mark of a study says that it was made of exactly this; what cannot be read says nothing."""
    try:
        return read_file(study_mark(folder, name), len(key.encode())) == key.encode()
    except OSError:
        return False


def check_run_folder(folder: str | Path) -> None:
    """Find out before long work whether a run can be written to `folder`, and nowhere else; raises StorageError."""
    refuse_links(folder)
    check_writable(folder)


def refuse_links(folder: str | Path) -> None:
    """Raise StorageError if a part of a run's folder is a link: what is saved or cleared there lies somewhere else."""
    inner = [part for name in SEVERAL for part in (Path(folder) / name).glob("*")]
    inner += (Path(folder) / "studies").glob("*.pieces")
    for part in (*(Path(folder) / name for name in PARTS), *inner):
        if part.is_symlink():
            raise StorageError(f"{part} is a link to {part.readlink()}, out of the run's folder; remove the link first")


def _check_folder(kind: str, name: str) -> None:
    if file_name(name) != name:
        raise InputError(f"{kind} {name!r} cannot name a folder; use letters, digits, - and _")


def clear_run(folder: str | Path) -> None:
    """Remove the records, results and report of a run, and nothing else: a stale record would join a new run.

    Raises:
        StorageError: A file cannot be removed, or a part of the folder is a link to somewhere else.
    """
    folder = Path(folder)
    refuse_links(folder)
    several = [part for parent in SEVERAL for part in (folder / parent).glob("*")]
    try:
        for mark in (folder / "studies").glob("*.key"):
            mark.unlink()
        for pieces in (folder / "studies").glob("*.pieces"):
            clear_pieces(pieces)
        for part in (folder / "fits", *several, folder / "evaluations", folder / "attention", folder / "studies"):
            for manifest in manifests(part):
                if manifest.with_suffix(".safetensors").exists():
                    manifest.with_suffix(".safetensors").unlink()
                    manifest.unlink()
            if part.is_dir() and not any(part.iterdir()):
                part.rmdir()
        for product in ("results.csv", "report.html"):
            (folder / product).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot clear {folder} of an older run: {error}; choose another output folder") from error


def write_results(evaluations: Evaluations, folder: str | Path) -> Path:
    """Write `results.csv`: one row per task, method and metric."""
    path = Path(folder) / "results.csv"
    write_whole({path: evaluations.results().to_csv(index=False).encode()})
    return path
