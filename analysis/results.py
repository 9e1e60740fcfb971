"""What a study ends in: claims with verdicts, the numbers behind them, and what they were read from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from analysis.claims import Claim, Verdict
from analysis.pages import table
from site_lens.records.base import Frozen
from site_lens.records.errors import StorageError
from site_lens.records.outputs import write_whole

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Cell = str | bool | int | float | None


class Table(Frozen):
    """Numbers behind the claims."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, title: str, frame: "pd.DataFrame", columns: Sequence[str] | None = None) -> "Table":
        """Take some columns of a table, all when None."""
        chosen = frame if columns is None else frame[list(columns)]
        rows = tuple(tuple(_plain(value) for value in row) for row in chosen.itertuples(index=False))
        return cls(title=title, columns=tuple(chosen.columns), rows=rows)

    def markdown(self) -> str:
        """Write it as a markdown table under its title."""
        return f"{self.title}\n\n{table([name.replace('_', ' ') for name in self.columns], self.rows)}"


@dataclass(frozen=True)
class Findings:
    """What a study returns."""

    tasks: Sequence[str]
    """Names of the tasks it speaks of."""
    claims: Sequence[Claim]
    tables: Sequence[Table] = ()
    """Numbers behind the claims."""
    figures: Mapping[str, tuple[str, "go.Figure"]] = field(default_factory=dict)
    """Caption and figure by a short name."""


class Part(Frozen):
    """A run or a record that a study read."""

    path: str
    """Below the folder of the studies."""
    seconds: float
    """It took to make."""
    measured: str
    """When, where and with what."""


class Result(Frozen):
    """All that a study found."""

    study: str
    question: str
    reported: str
    """What the paper reports on it, or why it is asked."""
    model: str
    tasks: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    """None where the study has not been run."""
    tables: tuple[Table, ...] = ()
    figures: dict[str, str] = {}
    """What each figure shows, by the name of its file."""
    made_of: tuple[Part, ...] = ()

    @property
    def seconds(self) -> float:
        """Time that everything it reads took to make, whichever study made it."""
        return sum(part.seconds for part in self.made_of)

    def count(self, *verdicts: Verdict) -> int:
        """Count the claims that have one of these verdicts."""
        return sum(claim.verdict in verdicts for claim in self.claims)

    def save(self, path: Path) -> Path:
        """Write it as JSON, with the verdicts."""
        said = self.model_dump(mode="json")
        for row, claim in zip(said["claims"], self.claims, strict=True):
            row |= {"verdict": claim.verdict, "open_because": claim.open_because}
        write_whole({path: (json.dumps(said, indent=1, ensure_ascii=False) + "\n").encode()})
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it back; verdicts are computed anew.

        Raises:
            StorageError: A verdict that stands there does not follow from its numbers.
        """
        said = json.loads(path.read_text(encoding="utf-8"))
        written = [(row.pop("verdict"), row.pop("open_because")) for row in said["claims"]]
        found = cls.model_validate(said)
        for (verdict, _), claim in zip(written, found.claims, strict=True):
            if verdict != claim.verdict:
                raise StorageError(
                    f"{path}: {claim.statement!r} is {claim.verdict}, not {verdict}; run the study again"
                )
        return found


def _plain(value: object) -> Cell:
    """Turn a cell of a data frame into what JSON knows; what is not a number is None."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value != value:
        return None
    return value if isinstance(value, str | bool | int | float) else str(value)
