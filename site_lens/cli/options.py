"""Arguments, options and option groups that commands share, and the overwrite checks before they start."""

import functools
import inspect
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import site_lens as sl
from site_lens.cli.output import show_notes
from site_lens.records.assets import MODEL_NAMES
from site_lens.records.bounds import BOUNDS
from site_lens.records.errors import unknown_name
from site_lens.records.limited_io import is_folder, is_there
from site_lens.records.outputs import check_apart, has_list, is_run, is_same, is_within_part
from site_lens.runs.run_folder import PRODUCTS, SAVED, refuse_links, refuse_strangers


def complete_tasks(incomplete: str) -> list[str]:
    """Complete the name of a demo task; files are not read at each press of a key."""
    return [name for name in sl.load_tasks("demo") if name.startswith(incomplete)]


if TYPE_CHECKING:
    from site_lens.models.base import LensModel

SOURCES = "'demo', a folder of tasks, or a .json, .jsonl, .csv, .tsv or .parquet file."
MODELS = "'demo', 'smollm2', a Hugging Face folder, a GGUF file or a hub id."


def chosen_fits(run: "sl.Run", *, dense: bool) -> "sl.SiteFits":
    """Return the chosen sets of a run that has them, else the soft fits; a note names the tasks without a set."""
    fits = run.fits if dense else run.head_fits
    tasks = {fit.task for fit in fits.values()}
    without = list(dict.fromkeys(fit.task for fit in run.fits.values() if fit.task not in tasks))
    if without:
        show_notes([f"no head set was found for {', '.join(without)}, left out here; --dense takes the soft fits"])
    elif run.paths and fits is run.fits and not dense:
        show_notes(["no head set was found for any task: these are the soft fits"])
    return fits


def not_empty(given: Any) -> str:
    """Return a name unless it is empty, as an unset shell variable leaves it."""
    if not str(given).strip():
        raise typer.BadParameter("the name is empty; name a file or a folder")
    return str(given)


def as_path(given: Any) -> Path:
    """Return the name of a file or folder as a path; see `not_empty`."""
    return Path(not_empty(given))


def path_option(help: str, *names: str) -> Any:
    """Return an option of typer that takes the name of a file or folder."""
    return typer.Option(*names, parser=as_path, metavar="PATH", help=help)


def count(name: str) -> dict[str, Any]:
    """Return the bounds of a count as options of typer."""
    return dict(zip(("min", "max"), BOUNDS[name], strict=True))


RunFolder = Annotated[Path, typer.Argument(parser=as_path, metavar="RUN", help="Folder of a run, made by fit or demo.")]
ResultsFolder = Annotated[Path, path_option("Folder for the results; see --replace.", "--out", "-o")]
ReplaceFile = Annotated[bool, typer.Option("--replace", help="Overwrite files that site_lens did not write, too.")]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite the run in --out; refused otherwise.")]
Sources = Annotated[list[str], typer.Argument(parser=not_empty, metavar="TASKS", help=SOURCES)]
SourcesOfRun = Annotated[
    list[str] | None,
    typer.Argument(parser=not_empty, metavar="TASKS", help=f"{SOURCES} Those of the run by default."),
]
ModelName = Annotated[
    str,
    typer.Option("--model", "-m", parser=not_empty, metavar="TEXT", help=MODELS),
]
ModelNameOfRun = Annotated[
    str | None,
    typer.Option("--model", "-m", parser=not_empty, metavar="TEXT", help=f"{MODELS} That of the run by default."),
]
ShownName = Annotated[
    str | None, typer.Option("--name", help="What to call the model in records and reports; else as it is given.")
]
TaskNames = Annotated[
    list[str] | None,
    typer.Option("--task", "-t", help="Keep these tasks: A,B or repeated.", autocompletion=complete_tasks),
]
InputColumn = Annotated[str, typer.Option(help="Column or key of the input.")]
OutputColumn = Annotated[str, typer.Option(help="Column or key of the output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
DType = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option(help="Number format; the checkpoint's own by default."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; an accelerator if there is one by default.")]
DeviceMap = Annotated[
    str | None, typer.Option(help="Spread the weights over several devices: auto, balanced, sequential.")
]
Quantization = Annotated[
    Literal["nf4", "int8"] | None, typer.Option(help="Quantise weights while loading; needs the extra quantization.")
]
GgufFile = Annotated[str | None, typer.Option(help="GGUF file of a folder or hub id, to be dequantised and loaded.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a model of the hub.")]
RemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the model.")]
Chat = Annotated[
    bool, typer.Option("--chat", help="Render examples as turns of user and assistant, by the model's chat template.")
]
Queries = Annotated[
    int,
    typer.Option(
        **count("max_queries"), help="Test rows to evaluate on at most; a random sample where there are more."
    ),
]
Sets = Annotated[
    int | None,
    typer.Option(
        **count("n_sets"),
        help="Sets of demonstrations that queries share; 0 draws them anew for each query. "
        "10 on models above 50M weights, else 0.",
    ),
]
Generate = Annotated[bool, typer.Option("--generate", help="Measure exact and prefix match, too.")]


def keep_run(folder: Path, replace: bool, *inputs: str) -> None:
    """Refuse, before any work, to overwrite inputs and files of others, or a run without --replace."""
    check_apart(folder, files_among(inputs))
    if os.path.lexists(folder) and not is_folder(folder):
        raise sl.StorageError(f"cannot write to {folder}: it is no folder; choose another output folder")
    if not is_folder(folder):
        return
    refuse_links(folder)
    if not replace:
        if is_run(folder) or has_list(folder / SAVED):
            raise sl.InputError(f"{folder} holds a run; choose another --out, or overwrite it with --replace")
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise sl.InputError(
                f"{folder} holds files that site_lens did not write; choose another --out, or write beside "
                "them with --replace"
            )
    refuse_strangers(folder, replaces=True)


def keep_inputs(run: Path, *inputs: str) -> None:
    """Refuse inputs that belong to the run that a command writes to."""
    for path in files_among(inputs):
        if is_within_part(Path(os.path.realpath(path)) / "x") or any(is_same(path, run / name) for name in PRODUCTS):
            raise sl.InputError(f"{path} is read, and belongs to the run that is written; copy it out of {run} first")


def files_among(inputs: Iterable[str]) -> list[Path]:
    """Return the inputs that are files or folders; `demo` is neither, whatever the working folder holds."""
    return [Path(name) for name in inputs if name != "demo" and is_there(name)]


def use_notes(loaded: "LensModel", tasks: "dict[str, sl.Task]", fits: sl.SiteFits) -> list[str]:
    """Return notes on a model or rows that differ from those of the fits."""
    from site_lens.methods import method as methods

    notes = [note for fit in fits.values() for note in methods.use_notes(loaded, tasks[fit.task], fit)]
    return list(dict.fromkeys(notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFiles:
    """Option group of a command: where its tasks are, and the columns of input and output."""

    tasks: Sources
    input_column: InputColumn = "input"
    output_column: OutputColumn = "output"

    def load(self, names: Iterable[str] | None = None) -> "dict[str, sl.Task]":
        """Load the tasks of these names, or of lists of names with commas, all when None; see `load_tasks`."""
        sources = list(dict.fromkeys(self.tasks))
        tasks = sl.load_tasks(sources, input_column=self.input_column, output_column=self.output_column)
        if names is None:
            return tasks
        return {name: tasks[name] for name in split_names(names, tasks)}


def split_names(given: Iterable[str], known: Collection[str], advice: str = "") -> list[str]:
    """Return names of tasks, each once; one text may hold several with commas, unless a task is called so.

    Raises:
        InputError: A name is not known.
    """
    names = dict.fromkeys(name for text in given for name in ([text] if text in known else text.split(",")))
    for name in names:
        if name not in known:
            raise unknown_name("task", name, known, advice)
    return list(names)


def named(tasks: "dict[str, sl.Task]", name: str) -> "sl.Task":
    """Return a task by its name."""
    if name not in tasks:
        raise unknown_name("task", name, tasks)
    return tasks[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilesOrDemo(TaskFiles):
    """Option group of a command that reads the demo tasks unless others are named."""

    tasks: Sources = ("demo",)  # type: ignore[assignment]  # a list is no default of a dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilesOfRun:
    """Option group of a command on a run: its own tasks unless others are named."""

    tasks: SourcesOfRun = None
    input_column: Annotated[str | None, typer.Option(help="Column or key of the input.")] = None
    output_column: Annotated[str | None, typer.Option(help="Column or key of the output.")] = None

    def of(self, run: Path, inputs: sl.RunInputs | None) -> TaskFiles:
        """Return the tasks that were named, else those that the run was made with.

        Raises:
            InputError: It does not say, or they are gone.
        """
        columns = {name: v for name in ("input_column", "output_column") if (v := getattr(self, name)) is not None}
        if self.tasks:
            return TaskFiles(tasks=self.tasks, **columns)
        if inputs is None:
            raise sl.InputError(f"{run} does not say which tasks it was made with; name them behind the run")
        inputs.check(*inputs.tasks)
        own = {"input_column": inputs.input_column, "output_column": inputs.output_column}
        return TaskFiles(tasks=list(inputs.tasks), **own | columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Option group of a command: how its model is loaded."""

    dtype: DType = None
    device: Device = None
    device_map: DeviceMap = None
    quantization: Quantization = None
    gguf_file: GgufFile = None
    revision: Revision = None
    trust_remote_code: RemoteCode = False
    label: ShownName = None

    @property
    def loading(self) -> dict[str, Any]:
        """Arguments of `load_model` beside the name of the model."""
        return {option.name: getattr(self, option.name) for option in fields(Loading)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource(Loading):
    """Option group of a command: which model it uses, and how the model is loaded."""

    model: ModelName = "demo"

    def load(self, *, check: bool = True) -> "LensModel":
        """Load the model; see `load_model`."""
        return sl.load_model(self.model, **self.loading, check=check)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What is read, unless it is a model with a name of its own, whatever the working folder holds."""
        return () if self.model in MODEL_NAMES else (self.model,)

    @property
    def content(self) -> dict[str, Any]:
        """Key of the model in caches: weights and number format, not where they are stored or computed."""
        from site_lens.sweeps.fingerprints import source_parts  # not for commands that need no model

        read_as = {"dtype": self.dtype, "quantization": self.quantization}
        return read_as | source_parts(self.model, self.revision, self.gguf_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOfRun(Loading):
    """Option group of a command on a run: its own model unless another is named."""

    model: ModelNameOfRun = None

    def of(self, run: Path, saved: sl.Run) -> ModelSource:
        """Return the model that was named, else that of the run, loaded as then but for what is given now.

        Raises:
            InputError: The run does not say which it was, or it is gone.
        """
        given = {option.name: v for option in fields(Loading) if (v := getattr(self, option.name))}
        if self.model is not None:
            return ModelSource(model=self.model, **given)
        inputs, made_on = saved.inputs, next(iter(saved.fits.values())).embedding.model.name
        if inputs is None and made_on not in MODEL_NAMES:
            raise sl.InputError(f"{run} does not say where its model is ({made_on}); give it with --model")
        if inputs is None:
            return ModelSource(model=made_on, **given)
        inputs.check(inputs.model)
        return ModelSource(model=inputs.model, **inputs.loading | given)


def inputs_of(files: TaskFiles, source: ModelSource) -> sl.RunInputs:
    """Return what a run remembers of its tasks and its model."""
    loading = {name: value for name, value in source.loading.items() if name in sl.RunInputs.model_fields}
    return sl.RunInputs(
        tasks=tuple(_lasting(name) for name in files.tasks),
        input_column=files.input_column,
        output_column=files.output_column,
        model=source.model if source.model in MODEL_NAMES else _lasting(source.model),
        **loading,
    )


def _lasting(name: str) -> str:
    """Return the absolute path of a file or folder, and any other name as it is."""
    return str(Path(name).absolute()) if files_among([name]) else name


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter that is an option group (a dataclass) by the options of that group.

    An option that the command has itself stays where it is, and the group receives its value.
    """
    parameters = inspect.signature(command).parameters
    groups: dict[str, Any] = {name: p.annotation for name, p in parameters.items() if is_dataclass(p.annotation)}
    options = {name: inspect.signature(group).parameters for name, group in groups.items()}
    shown: dict[str, inspect.Parameter] = {}
    for name, parameter in parameters.items():
        shown |= (
            {n: o for n, o in options[name].items() if n not in parameters} if name in groups else {name: parameter}
        )

    @functools.wraps(command)
    def run(**given: Any) -> None:
        grouped = {name: group(**{option: given[option] for option in options[name]}) for name, group in groups.items()}
        command(**{name: value for name, value in given.items() if name in parameters}, **grouped)

    expanded = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in shown.values()]
    run.__signature__ = inspect.Signature(expanded)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in expanded}
    return run
