"""Pages that say what came out of the studies: every table, verdict and figure in them is made from saved results."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.claims import VERDICTS, Claim
from analysis.pages import put_into, table
from analysis.results import Result
from site_lens.records.assets import SMOLLM2
from site_lens.stats.paired_tests import FEWEST, SIGNIFICANT

MOST_BYTES = 300_000
"""Bytes that the figures of a page may take in all; the largest are left out first."""

NOT_RUN = "not run yet"

DEMO_BEGIN = """# What came out on the demo model

Written by `make studies` from the results of the studies in [analysis/](../../analysis); nothing here is
typed.

**This says nothing about large models.** The demo model has 3.2 million weights and was trained on the very tasks that
it is asked here ([its page](../demo_model.md)). "Seen here, too" means that what the paper reports is found on it, "not
seen here" that it is not; neither is evidence for or against the paper. The same studies on a real model:
[SmolLM2](smollm2.md), or `python -m analysis.studies --model MODEL --tasks FOLDER`.
"""

DEMO_SETTINGS = """Fits have the published settings (400 steps of batch 1, the last alphas kept;
[studies.toml](../../analysis/studies.toml)) unless a study says otherwise. The defaults of `SiteConfig`, which the
[comparison](../comparison.md) uses, keep the best of 100 steps of 8: their alphas are less binary, and rounding them
costs more.
"""

SMOLLM2_BEGIN = """# What came out on SmolLM2, a model that somebody else trained

Written by `make studies-real` from the results of the studies in [analysis/](../../analysis); nothing here is
typed. The same studies on the demo model: [results](README.md).

SmolLM2-135M-Instruct has 135 million weights, 30 layers of 9 query heads (3 key-value heads), and was trained on web
text. Its weights come from a GGUF file, Q4_1, dequantised ([how](../models.md)). Tasks are the demo tasks whose words
are ordinary English, drawn from four families by the seed. It is a small model: "seen here, too" means that what the
paper reports of models from 3 to 70 billion weights is found on it, "not seen here" that it is not.
"""

SMOLLM2_SETTINGS = """Settings are those of [studies_real.toml](../../analysis/studies_real.toml): fewer steps, prompts
and draws than on the demo model. Few-shot prompts share ten sets of demonstrations: their intervals are over sets. The
minutes were measured beside other work.
"""

VERDICT_RULE = f"""A verdict is computed from an exact paired test and a whole 95 % interval. A claim is *seen here,
too* or *holds* where both put the number on its side of the threshold (p < {SIGNIFICANT}), *not seen here* or *does not
hold* where they put it on the other, and *not testable at this size* where they do neither, or where fewer than
{FEWEST["queries"]} queries or, for a claim on tasks in general, fewer than {FEWEST["tasks"]} tasks stand behind it. The
first two words are kept for what the paper reports, the next two for open questions. Intervals are drawn over queries
(they speak of other queries of these tasks), over tasks (of other tasks of the kind), or over fits. They are not
corrected for the number of claims: of twenty, one may lie beside the truth.
Accuracies count first answer tokens.
"""


def write_pages(results: Sequence[Result], figures: Path, folder: Path, readme: Path) -> None:
    """Write README.md and figures into a folder, and the table of the studies' own page.

    Args:
        results: What every study found on the demo model.
        figures: Where the figures are.
        folder: Where the page goes.
        readme: A page with marks for the table.
    """
    _write_page(results, figures, folder / "README.md", "", [DEMO_BEGIN, VERDICT_RULE, DEMO_SETTINGS])
    put_into(readme, overview(results))


def write_smollm2_page(results: Sequence[Result], figures: Path, folder: Path) -> None:
    """Write smollm2.md and its figures into a folder.

    Args:
        results: What every study found on SmolLM2.
        figures: Where the figures are.
        folder: Where the page goes.
    """
    begin = [SMOLLM2_BEGIN, VERDICT_RULE, SMOLLM2_SETTINGS]
    _write_page(results, figures, folder / f"{SMOLLM2}.md", f"{SMOLLM2}-", begin)


def _write_page(results: Sequence[Result], figures: Path, page: Path, prefix: str, begin: Sequence[str]) -> None:
    """Write a page; its figures stand beside it, `prefix` before their names.

    A figure that has not been drawn now is the one that stood there before.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    names = [name for result in results for name in result.figures]
    before = {name: page.parent / f"{prefix}{name}.svg" for name in names}
    now = {name: figures / f"{name}.svg" for name in names}
    images = {name: path.read_bytes() for paths in (before, now) for name, path in paths.items() if path.exists()}
    for stale in page.parent.glob(f"{prefix}[0-9][0-9]_*.svg"):
        stale.unlink()
    shown = {name: f"{prefix}{name}.svg" for name in smallest(images, MOST_BYTES)}
    for name, file in shown.items():
        (page.parent / file).write_bytes(images[name])
    parts = [*begin, summary(results), *(part for result in results for part in section(result, shown))]
    page.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


def smallest(images: Mapping[str, bytes], most_bytes: int) -> list[str]:
    """Return the names of as many images as fit, the smallest first."""
    by_size = sorted(images, key=lambda name: len(images[name]))
    ends = np.cumsum([len(images[name]) for name in by_size])
    return by_size[: int(np.searchsorted(ends, most_bytes, side="right"))]


def summary(results: Sequence[Result]) -> str:
    """Count the verdicts of every study, with the time of all that was made for them."""
    parts = {part.path: part for result in results for part in result.made_of}
    minutes = sum(part.seconds for part in parts.values()) / 60
    rows: list[list[object]] = [
        [f"[{one.study[:2]}](#{anchor(one)})", one.question, *(one.count(verdict) or "" for verdict in VERDICTS)]
        for one in results
    ]
    rows.append(["", "all", *(sum(one.count(verdict) for one in results) for verdict in VERDICTS)])
    made = f"{minutes:.1f} minutes in all. {' '.join(dict.fromkeys(part.measured for part in parts.values()))}"
    return f"## Verdicts\n\n{table(['study', 'question', *VERDICTS], rows)}\n\n{made}"


def section(result: Result, shown: Mapping[str, str]) -> Iterator[str]:
    """Say what a study asked and found."""
    yield f"## {title(result)}"
    if not result.claims:
        yield f"`analysis/{result.study}.py`, {NOT_RUN}. {result.reported}"
        return
    yield f"`analysis/{result.study}.py`, {len(result.tasks)} task{'s' * (len(result.tasks) > 1)}. {result.reported}"
    yield table(
        ["claim", "the paper", "threshold", "found", "95 % interval", "drawn over", "queries", "tasks", "verdict"],
        [_row(claim) for claim in result.claims],
    )
    for numbers in result.tables:
        yield numbers.markdown()
    for name, caption in result.figures.items():
        if name in shown:
            yield f"![{caption}]({shown[name]})"


def title(result: Result) -> str:
    """Head of the section of a study."""
    return f"{result.study[:2]} {result.question}"


def anchor(result: Result) -> str:
    """Where the head of a section is found on its page."""
    kept = "".join(letter for letter in title(result).lower() if letter.isalnum() or letter in " -")
    return kept.replace(" ", "-")


def overview(results: Sequence[Result]) -> str:
    """One row a study: what is asked, what the paper reports, the verdicts, the time."""
    rows = [[f"`{one.study}.py`", one.question, one.reported, *_outcome(one)] for one in results]
    header = ["study", "question", "the paper", "first claim on the demo model", "all verdicts", "minutes alone"]
    return table(header, rows)


def _outcome(result: Result) -> list[str]:
    if not result.claims:
        return [NOT_RUN, "", ""]
    return [_first(result.claims[0]), _counts(result), f"{result.seconds / 60:.1f}"]


def _first(claim: Claim) -> str:
    found = "" if claim.value is None else f" {claim.value:.3f} [{claim.low:.3f}, {claim.high:.3f}],"
    return f"{claim.statement}:{found} {claim.verdict}"


def _counts(result: Result) -> str:
    return ", ".join(f"{n} {verdict}" for verdict in VERDICTS if (n := result.count(verdict)))


def _row(claim: Claim) -> list[object]:
    interval = None if claim.low is None else f"{claim.low:.3f} to {claim.high:.3f}"
    verdict = f"**{claim.verdict}**" if not claim.open_because else f"{claim.verdict}: {claim.open_because}"
    threshold = f"{'>' if claim.side == 'above' else '≤'} {claim.threshold:g}"
    return [claim.statement, claim.reported, threshold, claim.value, interval, claim.drawn, claim.n_queries,
            claim.n_tasks, verdict]  # fmt: skip
