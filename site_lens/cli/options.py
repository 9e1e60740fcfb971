"""Arguments, options and option groups that commands share, and the overwrite checks before they start."""

import functools
import inspect
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

import site_lens as sl
from site_lens.cli.output import show_notes
from site_lens.records.assets import MODEL_NAMES
from site_lens.records.bounds import BOUNDS
from site_lens.records.errors import unknown_name
from site_lens.records.limited_io import is_folder, is_there
from site_lens.records.outputs import check_apart, has_list, is_run
from site_lens.runs.run_folder import PRODUCTS, SAVED, refuse_links, refuse_strangers
from site_lens.tasks.prompt_sampling import MAX_QUERIES


def complete_tasks(incomplete: str) -> list[str]:
    """Complete the name of a demo task; files are not read at each press of a key."""
    return [name for name in sl.load_tasks("demo") if name.startswith(incomplete)]


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


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def path_option(help: str, *names: str) -> Any:
    """Return an option of typer that takes the name of a file or folder."""
    return Option(*names, parser=as_path, metavar="PATH", help=help)


def counted(name: str, help: str) -> Any:
    """Return an option of typer that takes a count within its bounds."""
    least, most = BOUNDS[name]
    return Option(min=least, max=most, help=help)


RunFolder = Annotated[Path, Argument(parser=as_path, metavar="RUN", help="Folder of a run, made by fit or demo.")]
ResultsFolder = Annotated[Path, path_option("Folder for the results; see --replace.", "--out", "-o")]
ReplaceFile = Annotated[bool, Option("--replace", help="Overwrite files that site_lens did not write, too.")]
Replace = Annotated[bool, Option("--replace", help="Overwrite the run in --out; refused otherwise.")]
Sources = Annotated[list[str], Argument(parser=not_empty, metavar="TASKS", help=SOURCES)]
TaskNames = Annotated[
    list[str] | None, Option("--task", "-t", help="Keep these tasks: A,B or repeated.", autocompletion=complete_tasks)
]
AsJson = Annotated[bool, Option("--json", help="Print JSON for a program to read.")]
Device = Annotated[str | None, Option(help="cpu, cuda, ...; an accelerator if there is one by default.")]
Chat = Annotated[
    bool, Option("--chat", help="Render examples as turns of user and assistant, by the model's chat template.")
]
DigitRule = Annotated[
    bool,
    Option(help="As published: no space before answers of digits only, nor before the query if it is digits only."),
]


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
        if os.path.realpath(path) in [os.path.realpath(run / name) for name in PRODUCTS]:
            raise sl.InputError(f"{path} is read, and belongs to the run that is written; copy it out of {run} first")


def files_among(inputs: Iterable[str]) -> list[Path]:
    """Return the inputs that are files or folders; `demo` is neither, whatever the working folder holds."""
    return [Path(name) for name in inputs if name != "demo" and is_there(name)]


def use_notes(loaded: "sl.LensModel", tasks: "dict[str, sl.Task]", fits: sl.SiteFits) -> list[str]:
    """Return notes on a model or rows that differ from those of the fits."""
    from site_lens.methods import method as methods

    notes = [note for fit in fits.values() for note in methods.use_notes(loaded, tasks[fit.task], fit)]
    return list(dict.fromkeys(notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFiles:
    """Option group of a command: where its tasks are, and the columns of input and output."""

    tasks: Sources
    input_column: Annotated[str, Option(help="Column or key of the input.")] = "input"
    output_column: Annotated[str, Option(help="Column or key of the output.")] = "output"

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

    tasks: Annotated[
        list[str] | None, Argument(parser=not_empty, metavar="TASKS", help=f"{SOURCES} Those of the run by default.")
    ] = None
    input_column: Annotated[str | None, Option(help="Column or key of the input.")] = None
    output_column: Annotated[str | None, Option(help="Column or key of the output.")] = None

    def of(self, run: Path, inputs: sl.RunInputs | None) -> TaskFiles:
        """Return the tasks that were named, else those that the run was made with.

        Raises:
            InputError: It does not say, or they are gone.
        """
        given = {name: value for name, value in asdict(self).items() if value not in (None, [])}
        if "tasks" not in given:
            if inputs is None:
                raise sl.InputError(f"{run} does not say which tasks it was made with; name them behind the run")
            inputs.check(*inputs.tasks)
            given = inputs.model_dump(mode="json", include={field.name for field in fields(TaskFiles)}) | given
        return TaskFiles(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Option group of a command: how its model is loaded."""

    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None, Option(help="Number format; the checkpoint's own by default.")
    ] = None
    device: Device = None
    device_map: Annotated[
        str | None, Option(help="Spread the weights over several devices: auto, balanced, sequential.")
    ] = None
    quantization: Annotated[
        Literal["nf4", "int8"] | None, Option(help="Quantise weights while loading; needs the extra quantization.")
    ] = None
    gguf_file: Annotated[str | None, Option(help="GGUF file of a folder or hub id, to be dequantised and loaded.")] = (
        None
    )
    revision: Annotated[str | None, Option(help="Branch, tag or commit of a model of the hub.")] = None
    trust_remote_code: Annotated[
        bool, Option("--trust-remote-code", help="Run Python code that comes with the model.")
    ] = False
    label: Annotated[
        str | None, Option("--name", help="What to call the model in records and reports; else as it is given.")
    ] = None

    @property
    def loading(self) -> dict[str, Any]:
        """Arguments of `load_model` beside the name of the model."""
        return {option.name: getattr(self, option.name) for option in fields(Loading)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource(Loading):
    """Option group of a command: which model it uses, and how the model is loaded."""

    model: Annotated[str, Option("--model", "-m", parser=not_empty, metavar="TEXT", help=MODELS)] = "demo"

    def load(self, *, check: bool = True) -> "sl.LensModel":
        """Load the model; see `load_model`."""
        return sl.load_model(self.model, **self.loading, check=check)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What is read, unless it is a model with a name of its own, whatever the working folder holds."""
        return () if self.model in MODEL_NAMES else (self.model,)

    @property
    def content(self) -> dict[str, Any]:
        """Key of the model in caches: weights and number format, not where they are stored or computed."""
        from site_lens.sweeps.jobs import source_parts  # not for commands that need no model

        read_as = {"dtype": self.dtype, "quantization": self.quantization}
        return read_as | source_parts(self.model, self.revision, self.gguf_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOfRun(Loading):
    """Option group of a command on a run: its own model unless another is named."""

    model: Annotated[
        str | None,
        Option("--model", "-m", parser=not_empty, metavar="TEXT", help=f"{MODELS} That of the run by default."),
    ] = None

    def of(self, run: Path, saved: sl.Run) -> ModelSource:
        """Return the model that was named, else that of the run, loaded as then but for what is given now.

        Raises:
            InputError: The run does not say which it was, or it is gone.
        """
        given = {name: value for name, value in self.loading.items() if value}
        if self.model is not None:
            return ModelSource(model=self.model, **given)
        inputs, made_on = saved.inputs, next(iter(saved.fits.values())).embedding.model.name
        if inputs is None and made_on not in MODEL_NAMES:
            raise sl.InputError(f"{run} does not say where its model is ({made_on}); give it with --model")
        if inputs is None:
            return ModelSource(model=made_on, **given)
        inputs.check(inputs.model)
        return ModelSource(model=inputs.model, **inputs.loading | given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """Option group of a command: what methods are evaluated on."""

    n_sets: Annotated[
        int | None,
        counted(
            "n_sets",
            "Sets of demonstrations that queries share; 0 draws them anew for each query. "
            "10 on models above 50M weights, else 0.",
        ),
    ] = None
    max_queries: Annotated[
        int, counted("max_queries", "Test rows to evaluate on at most; a random sample where there are more.")
    ] = MAX_QUERIES
    generate: Annotated[bool, Option("--generate", help="Measure exact and prefix match, too.")] = False

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of the functions that evaluate."""
        return {"n_sets": self.n_sets, "max_queries": self.max_queries, "generated": self.generate}


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
    """Replace each parameter that is an option group (a dataclass) by the options of that group and of groups in it.

    An option that the command has itself stays where it is, and the group receives its value.
    """
    parameters = inspect.signature(command).parameters
    shown: dict[str, inspect.Parameter] = {}
    for parameter in parameters.values():
        options = _options_of(parameter)
        shown |= {name: options[name] for name in options if options[name] is parameter or name not in parameters}

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(**{name: _value_of(parameter, given) for name, parameter in parameters.items()})

    expanded = [option.replace(kind=option.KEYWORD_ONLY) for option in shown.values()]
    run.__signature__ = inspect.Signature(expanded)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {option.name: option.annotation for option in expanded}
    return run


def _options_of(parameter: inspect.Parameter) -> dict[str, inspect.Parameter]:
    """Return the options of a group and of the groups in it by name; any other parameter is one itself."""
    group: Any = parameter.annotation
    if not is_dataclass(parameter.annotation):
        return {parameter.name: parameter}
    members = inspect.signature(group).parameters.values()
    return {name: option for member in members for name, option in _options_of(member).items()}


def _value_of(parameter: inspect.Parameter, given: dict[str, Any]) -> Any:
    """Build a group from the options that were given; of any other parameter return what was given."""
    group: Any = parameter.annotation
    if not is_dataclass(parameter.annotation):
        return given[parameter.name]
    members = inspect.signature(group).parameters
    return group(**{name: _value_of(member, given) for name, member in members.items()})
