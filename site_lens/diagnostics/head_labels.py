"""Published labels of heads, and which of them the heads of a task have beyond chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from site_lens.heads.head_set import Head, HeadGrid, HeadSet, common_grid
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd
from site_lens.records.wording import listed
from site_lens.runs.run import Run
from site_lens.site.head_path import OPEN
from site_lens.stats.paired_tests import SIGNIFICANT, Verdict, control_false_discoveries
from site_lens.stats.set_overlap import fewest_findable, overlap_p_value, pair_by_chance
from site_lens.tasks.rows import read_rows

NEEDED = ("layer", "head", "label")
SOURCE = "source"
FORMATS = (".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class HeadLabels:
    """Labels of heads of one grid, such as "induction" or "name mover"; a head may have several, or none."""

    grid: HeadGrid
    rows: tuple[tuple[Head, str, str], ...]
    """Head, label and source of every row of the file, in order; the source is empty where none is given."""

    @property
    def sets(self) -> dict[str, HeadSet]:
        """The heads of every label, labels in order of their first row."""
        by_label: dict[str, set[Head]] = {}
        for head, label, _ in self.rows:
            by_label.setdefault(label, set()).add(head)
        return {label: HeadSet(self.grid, frozenset(heads)) for label, heads in by_label.items()}

    def of(self, head: Head) -> tuple[str, ...]:
        """Return the labels of a head, each once."""
        return tuple(dict.fromkeys(label for labelled, label, _ in self.rows if labelled == head))

    def frame(self) -> "pd.DataFrame":
        """One row per row of the file: layer, head, label, source."""
        rows = [(head.layer, head.head, label, source) for head, label, source in self.rows]
        return pd.DataFrame(rows, columns=[*NEEDED, SOURCE])


def read_head_labels(path: str | Path, grid: HeadGrid) -> HeadLabels:
    r"""Read published labels of heads from a table.

    The labels must be those of the model whose grid is given: a head such as L3H7 of another model, even one of the
    same size, is another head. The file cannot say so, and nothing here can check it.

    Args:
        path: A `.csv` or `.tsv` file with the columns layer and head (whole numbers from 0; with grouped keys and
            values, query heads) and label, and source if there is one. A head with several labels has several rows.
        grid: The heads of the model: `model.grid`.

    Raises:
        InputError: The file cannot be read, is empty, lacks a column or names a row twice, or a head is not in the
            grid; the message names the row.

    Example:
        >>> from pathlib import Path
        >>> import site_lens as sl
        >>> _ = Path("labels.csv").write_text("layer,head,label\n2,0,induction\n0,5,previous token\n")
        >>> sl.read_head_labels("labels.csv", sl.HeadGrid.full(6, 8)).sets
        {'induction': HeadSet(1 of 48 heads: L2H0), 'previous token': HeadSet(1 of 48 heads: L0H5)}
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path} is no table of labels; save it as one of {', '.join(FORMATS)}")
    rows: dict[tuple[Head, str, str], int] = {}
    for number, (where, row) in enumerate(read_rows(path, (*NEEDED, SOURCE)), 1):
        entry = _entry(row, where)
        if entry[0] not in grid:
            raise InputError(f"{where}: {entry[0]} is not in a grid of {grid}; layers and heads count from 0")
        if entry in rows:
            raise InputError(f"{where}: {entry[0]} is called {entry[1]!r} in row {rows[entry]} already; remove one")
        rows[entry] = number
    if not rows:
        raise InputError(f"{path} holds no labels; it needs a row for each, below the header {','.join(NEEDED)}")
    return HeadLabels(grid, tuple(rows))


def _entry(row: object, where: str) -> tuple[Head, str, str]:
    """Read head, label and source of a row."""
    cells = {str(name).strip(): str(cell).strip() for name, cell in row.items()} if isinstance(row, Mapping) else {}
    if missing := [name for name in NEEDED if name not in cells]:
        raise InputError(f"{where}: no column {missing[0]!r}; the file has {listed(cells) or 'none'}")
    for name in ("layer", "head"):
        if not (cells[name].isascii() and cells[name].isdigit()) or len(cells[name]) > 9:
            raise InputError(f"{where}: the {name} {cells[name]!r:.40} is no whole number from 0")
    if not cells["label"]:
        raise InputError(f"{where}: the label is empty")
    return Head(int(cells["layer"]), int(cells["head"])), cells["label"], cells.get(SOURCE, "")


@dataclass(frozen=True, slots=True)
class LabelTest:
    """Heads that a set and a label have in common, and what chance would give."""

    name: str
    """Of the set, such as a task."""
    label: str
    shared: HeadSet
    n_heads: int
    n_labelled: int
    """Heads with the label."""
    by_chance: float
    """Shared heads to expect of random sets with as many heads in each layer."""
    p_value: float
    """Chance that such sets share as many heads or more: exact."""
    q_value: float
    """The same with the false discovery rate controlled over all sets and labels (Benjamini and Hochberg)."""
    findable: int
    """Fewest shared heads that would be told from chance, alone among all tests."""

    @property
    def n_shared(self) -> int:
        """Number of shared heads."""
        return len(self.shared)

    @property
    def verdict(self) -> Verdict:
        """`above` chance; `not found`; or `too few` where no overlap of sets of these sizes could be told from it."""
        if self.q_value < SIGNIFICANT:
            return "above"
        return "too few" if self.findable > min(self.n_heads, self.n_labelled) else "not found"

    @property
    def sentence(self) -> str:
        """Say it in one line."""
        verb = "is" if self.n_shared == 1 else "are"
        said = f"{self.name}: {self.n_shared} of {self.n_heads} heads {verb} labelled {self.label!r}"
        which = f" ({listed(self.shared)})" if self.shared else ""
        chance = f"{self.by_chance:.1f} expected by chance, q = {self.q_value:.2g}"
        meaning = {
            "above": "more than chance gives",
            "not found": f"not told from chance, which takes {self.findable}",
            "too few": "no verdict: too few heads to be told from chance",
        }
        return f"{said}{which}; {chance}: {meaning[self.verdict]}"


@dataclass(frozen=True)
class LabelOverlap:
    """Heads of sets joined with published labels: every set against every label."""

    sets: Mapping[str, HeadSet]
    labels: HeadLabels

    @cached_property
    def tests(self) -> tuple[LabelTest, ...]:
        """Test of every set against every label; sets without heads are left out."""
        grid, labelled = self.labels.grid, self.labels.sets
        pairs = [(name, label) for name, heads in self.sets.items() if len(heads) for label in labelled]
        chances = [
            pair_by_chance(grid.heads_per_layer, _per_layer(self.sets[name]), _per_layer(labelled[label]))
            for name, label in pairs
        ]
        shared = [self.sets[name] & labelled[label] for name, label in pairs]
        p_values = [overlap_p_value(chance, len(heads)) for chance, heads in zip(chances, shared, strict=True)]
        q_values = control_false_discoveries(p_values)
        return tuple(
            LabelTest(
                name=name,
                label=label,
                shared=shared[i],
                n_heads=len(self.sets[name]),
                n_labelled=len(labelled[label]),
                by_chance=float(chances[i] @ np.arange(len(chances[i]))),
                p_value=p_values[i],
                q_value=float(q_values[i]),
                findable=fewest_findable(chances[i], len(pairs), len(self.sets[name]), len(labelled[label])),
            )
            for i, (name, label) in enumerate(pairs)
        )

    def frame(self) -> "pd.DataFrame":
        """One row per set and label: name, label, n_shared, n_heads, n_labelled, by_chance, p, q, findable, verdict."""
        columns = [
            "name", "label", "n_shared", "n_heads", "n_labelled", "by_chance", "p_value", "q_value", "findable",
            "verdict",
        ]  # fmt: skip
        return pd.DataFrame([[getattr(test, name) for name in columns] for test in self.tests], columns=columns)

    def heads_frame(self) -> "pd.DataFrame":
        """One row per head of a set: name, head, labels with commas between them; empty where it has none."""
        rows = [
            (name, str(head), ", ".join(self.labels.of(head))) for name, heads in self.sets.items() for head in heads
        ]
        return pd.DataFrame(rows, columns=["name", "head", "labels"])


def label_overlap(sets: Mapping[str, HeadSet] | Run, labels: HeadLabels) -> LabelOverlap:
    """Join head sets with published labels: which heads have which label, and whether that is more than chance gives.

    Labelled heads and the heads of a task gather in some layers, so chance means random sets with as many heads in each
    layer; what two of them share is hypergeometric in each layer, and convolved over layers, as in `head_overlap`.

    Args:
        sets: Head sets by name, such as `run.paths.chosen()`; or a run, which stands for its chosen sets, or for the
            heads with alpha above 0.5 where it has none.
        labels: What `read_head_labels` read.

    Raises:
        InputError: There is no set.
        MismatchError: A set is over another grid than the labels.

    Example:
        >>> import site_lens as sl
        >>> grid = sl.HeadGrid.full(6, 8)
        >>> rows = tuple((sl.Head.parse(name), "induction", "") for name in ("L1H0", "L2H3", "L2H5", "L4H4"))
        >>> sets = {"antonym": sl.HeadSet.of(grid, ["L1H0", "L2H3", "L2H5", "L5H1"])}
        >>> print(sl.label_overlap(sets, sl.HeadLabels(grid, rows)).tests[0].sentence)
        antonym: 3 of 4 heads are labelled 'induction' (L1H0, L2H3, L2H5); 0.6 expected by chance, q = 0.0045: more than
        chance gives
    """
    if isinstance(sets, Run):
        sets = {name: fit.gates.above(OPEN) for name, fit in sets.head_fits.items()}
    if not sets:
        raise InputError("labels are joined with at least one head set, got none")
    common_grid({"the labels": labels.grid} | {f"the set {name!r}": heads.grid for name, heads in sets.items()})
    return LabelOverlap(dict(sets), labels)


def _per_layer(heads: HeadSet) -> tuple[int, ...]:
    return tuple(heads.mask().sum(axis=1).tolist())
