"""Registry of studies: each is one folder, found by the kind of its record without importing it."""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any


@dataclass(frozen=True, slots=True)
class Study:
    """Parts of a study, or where they are as `module:name`; those are imported when they are first used."""

    result: str | type
    """Class of the record."""
    sections: str | Callable[..., Any]
    """Function of the record's name, the record and all studies of the run; returns the sections of the report."""
    command: str = ""
    """Command of `site-lens` that measures it on a saved run; empty if there is none."""


def in_folder(folder: str, result: str, command: str = "") -> Study:
    """Return the entry of a study of this package: `result.py` and `section.py` in one folder of `studies/`."""
    path = f"site_lens.studies.{folder}"
    return Study(f"{path}.result:{result}", f"{path}.section:sections", command and f"site_lens.cli.studies:{command}")


STUDIES: dict[str, Study] = {
    "transfer_matrix": in_folder("transfer", "TransferMatrix", "transfer"),
    "faithfulness": in_folder("faithfulness", "Faithfulness", "faithfulness"),
    "prompt_sensitivity": in_folder("prompt_sensitivity", "PromptSensitivity", "sensitivity"),
    "fit_landscape": in_folder("loss_landscape", "FitLandscape", "landscape"),
    "head_profiles": in_folder("head_profiles", "HeadProfiles", "profile"),
    "text_profiles": in_folder("text_profiles", "TextProfiles", "profile"),
    "content_controls": in_folder("content_controls", "ContentControls"),
    "fit_ablation": in_folder("ablation", "FitAblation", "ablate"),
    "task_arithmetic": in_folder("task_arithmetic", "TaskArithmetic", "combine"),
}
"""Every study by the kind of its record; add a line to show a study of your own in reports."""


def imported(part: Any) -> Any:
    """Import what `module:name` names; return anything else as it is."""
    return resolve_name(part) if isinstance(part, str) else part
