"""Inputs of a run: the model and the tasks that it was made with, kept in its folder for later commands on it."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from site_lens.records.base import Frozen, readable
from site_lens.records.errors import InputError, StorageError
from site_lens.records.library_errors import system_errors
from site_lens.records.limited_io import is_there, read_file
from site_lens.tasks.harness_tasks import HARNESS

MOST_BYTES = 2**20
"""A larger file holds no inputs."""


class RunInputs(Frozen):
    """Names under which `load_model` and `load_tasks` find the model and the tasks of a run again.

    Whether to run code that comes with a model is not among them: a run may come from somebody else.
    """

    tasks: tuple[str, ...]
    """Sources of tasks, see `load_tasks`; files and folders as absolute paths."""
    input_column: str = "input"
    output_column: str = "output"
    model: str
    """A folder or file as an absolute path, or a name."""
    dtype: str | None = None
    device_map: str | None = None
    quantization: str | None = None
    gguf_file: str | None = None
    revision: str | None = None
    label: str | None = None
    """What the model is called in records."""

    @property
    def loading(self) -> dict[str, str | None]:
        """Arguments of `load_model` beside the name of the model."""
        return self.model_dump(exclude={"tasks", "input_column", "output_column", "model"})

    def write(self) -> bytes:
        """Return the content of the file; see `read`."""
        return _InputsFile(fields=self).model_dump_json(indent=1).encode()

    @classmethod
    def read(cls, path: Path) -> "RunInputs | None":
        """Read the file of a run; None where there is none, as in runs of site_lens 0.1 and those made in Python.

        Raises:
            StorageError: It is damaged, or of a later version.
        """
        if not is_there(path):
            return None
        advice = "; remove it, and name tasks and --model when you use the run"
        with system_errors(f"read {path}", advice):
            content = read_file(path, MOST_BYTES)
        try:
            return _InputsFile.model_validate_json(content).fields
        except ValidationError as error:
            raise StorageError(f"cannot read {path}: {readable(error)}{advice}") from error

    def check(self, *names: str) -> None:
        """Check that files and folders of the run are still where they were, and that reading them runs no code.

        Raises:
            InputError: One of these names is a path that leads nowhere, or a harness task, which may run code.
        """
        for name in names:
            if name.startswith(HARNESS):
                raise InputError(
                    f"the run was made with {name}; harness tasks may run code, and a run may come from somebody "
                    "else: if you trust it, name it yourself, behind the run or with --tasks"
                )
            if Path(name).is_absolute() and not is_there(name):
                raise InputError(f"{name}, with which the run was made, is gone; say where it is now")


class _InputsFile(Frozen):
    """Content of the file of a run."""

    kind: Literal["run_inputs"] = "run_inputs"
    record_schema: Literal[1] = 1
    fields: RunInputs
