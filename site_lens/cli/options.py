"""Arguments and options that several commands have."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import site_lens as sl


def complete_tasks(incomplete: str) -> list[str]:
    """Complete the name of a demo task; files are not read at each press of a key."""
    return [name for name in sl.load_tasks("demo") if name.startswith(incomplete)]


if TYPE_CHECKING:
    from site_lens.models.protocol import LensModel

SOURCES = "'demo', a folder of tasks, or a .json, .jsonl, .csv, .tsv or .parquet file."

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run, made by fit or demo.")]
ResultsFolder = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; see --replace.")]
Replace = Annotated[bool, typer.Option("--replace", help="Write over the run that is in --out; refused otherwise.")]
Source = Annotated[str, typer.Argument(help=SOURCES)]
ModelName = Annotated[str, typer.Option("--model", "-m", help="'demo', a Hugging Face folder or a hub id.")]
TaskNames = Annotated[
    list[str] | None,
    typer.Option("--task", "-t", help="Keep this task; may be repeated.", autocompletion=complete_tasks),
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
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a model of the hub.")]
RemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the model.")]
Chat = Annotated[
    bool, typer.Option("--chat", help="Render examples as turns of user and assistant, by the model's chat template.")
]
Queries = Annotated[int | None, typer.Option(min=1, help="Test rows to evaluate on; all by default.")]
Generate = Annotated[bool, typer.Option("--generate", help="Measure exact and prefix match, too.")]


def keep_run(folder: Path, replace: bool) -> None:
    """Refuse to write over a run that nobody said may go."""
    if not replace and any((folder / "fits").glob("*.json")):
        raise sl.InputError(f"{folder} holds a run; choose another --out, or give --replace to write over it")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Which model a command uses, and how it is loaded."""

    model: ModelName = "demo"
    dtype: DType = None
    device: Device = None
    device_map: DeviceMap = None
    quantization: Quantization = None
    revision: Revision = None
    trust_remote_code: RemoteCode = False

    def load(self, *, check: bool = True) -> "LensModel":
        """Load the model; see `load_model`."""
        return sl.load_model(self.model, **self.loading, check=check)

    @property
    def loading(self) -> dict[str, Any]:
        """How the model is loaded: further arguments of `load_model`."""
        return {name: value for name, value in asdict(self).items() if name != "model"}

    @property
    def content(self) -> dict[str, Any]:
        """What results depend on: which weights, and how they are read; not where they lie or go."""
        from site_lens.sweeps.fingerprints import source_parts  # not for commands that need no model

        own = {"dtype": self.dtype, "quantization": self.quantization}
        return own | source_parts(self.model, self.revision)


def loads_a_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `ModelSource` in place of its parameter `source`; its own `model` comes first."""
    options, own = inspect.signature(ModelSource).parameters, inspect.signature(command).parameters
    shown: dict[str, inspect.Parameter] = {}
    for name, one in own.items():
        shown |= {n: option for n, option in options.items() if n not in shown} if name == "source" else {name: one}

    @functools.wraps(command)
    def run(**given: Any) -> None:
        source = ModelSource(**{name: given[name] for name in options})
        command(**{name: value for name, value in given.items() if name in own}, source=source)

    parameters = [one.replace(kind=one.KEYWORD_ONLY) for one in shown.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
