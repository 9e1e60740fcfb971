"""Measure the demo model: `python -m analysis.demo_model.measure --page docs/demo_model.md` rewrites its tables."""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

from analysis.demo_model.measurements import SHOTS, Curve, Measurer, induction_scores
from analysis.demo_model.tokenizer import taught_words
from analysis.demo_model.training import LOG_NAME
from site_lens.records.assets import DEMO_MODEL
from site_lens.tasks.demo_tasks import demo_tasks

START, END = "<!-- measured: start -->", "<!-- measured: end -->"
"""What stands around the measured part of the page."""
HEADROOM = 0.85
"""Tasks below this accuracy with the most shots are listed one by one."""
MAPPING_PAIRS = 4


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; numbers with a fraction get two decimals."""
    cells = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(header), ["---"] * len(header), *cells])


def curve_rows(curves: Sequence[Curve]) -> list[list[object]]:
    """Return one row a family, and one of all tasks."""
    families = {family: [c for c in curves if c.family == family] for family in dict.fromkeys(c.family for c in curves)}
    return [
        [name, len(found), float(np.mean([c.chance for c in found])), *np.mean([c.accuracy for c in found], 0).tolist()]
        for name, found in (families | {"all": list(curves)}).items()
    ]


def task_rows(curves: Iterable[Curve]) -> list[list[object]]:
    """Return one row a task, the weakest first."""
    return [[c.task, c.family, c.chance, *c.accuracy] for c in sorted(curves, key=lambda c: c.accuracy[-1])]


def report(curves: Sequence[Curve], mapping: Sequence[float], induction: np.ndarray, log: Sequence[str]) -> str:
    """Return the measured part of the page.

    Args:
        curves: Accuracies of the tasks.
        mapping: Accuracy on random mappings, one a number of `SHOTS` above 0.
        induction: Induction score of every head, shape (layer, head).
        log: Lines of the training log, the recipe first.
    """
    recipe, last = json.loads(log[0])["recipe"], json.loads(log[-1])
    shots = [f"{n} shots" for n in SHOTS]
    weak = [c for c in curves if c.accuracy[-1] < HEADROOM]
    layer, head = (int(i) for i in np.unravel_index(induction.argmax(), induction.shape))
    mask = "mixed" if recipe["mixed_mask"] else "plain causal"
    return "\n\n".join(
        [
            f"Trained for {last['step']} of {recipe['n_steps']} steps in {last['seconds'] / 60:.0f} minutes on "
            f"{last['thousand_tokens'] / 1000:.1f} million tokens, seed {recipe['seed']}, {mask} mask.",
            "Exact match of whole answers, mean over the tasks of a family:",
            table(["family", "tasks", "chance", *shots], curve_rows(curves)),
            f"Tasks below {HEADROOM} with {SHOTS[-1]} shots: {len(weak)}.",
            table(["task", "family", "chance", *shots], task_rows(weak)),
            "Tasks with answers of several tokens:",
            table(["task", "family", "chance", *shots], task_rows(c for c in curves if c.several_tokens)),
            f"Mappings of {MAPPING_PAIRS} random pairs, never seen in training (chance {1 / MAPPING_PAIRS:.2f}):",
            table(shots[1:], [mapping]),
            f"Highest induction score of a head (`detect_head` of TransformerLens): {induction.max():.2f} "
            f"(layer {layer}, head {head}); "
            f"{int((induction >= 0.5).sum())} heads reach 0.5. Highest of each layer: "
            + ", ".join(f"{score:.2f}" for score in induction.max(1))
            + ".",
        ]
    )


def put_into(page: str, text: str) -> str:
    """Replace the measured part of a page."""
    before, rest = page.split(START)
    return f"{before}{START}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Measure, and write the page or print."""
    parser = argparse.ArgumentParser(prog="python -m analysis.demo_model.measure", description=__doc__)
    parser.add_argument("--folder", type=Path, default=DEMO_MODEL, help="the model (default: that of the package)")
    parser.add_argument("--page", type=Path, help="Markdown page with the measured part (default: print it)")
    parser.add_argument("--queries", type=int, default=100, help="test rows of a task (default: %(default)s)")
    chosen = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(chosen.folder, dtype="float32", attn_implementation="eager")
    measurer = Measurer(model, AutoTokenizer.from_pretrained(chosen.folder))
    curves = [measurer.curve(task, n_queries=chosen.queries) for task in tqdm(demo_tasks().values(), unit="task")]
    mapping = [measurer.random_mapping(taught_words(), n_pairs=MAPPING_PAIRS, n_shots=n) for n in SHOTS if n]
    log = (chosen.folder / LOG_NAME).read_text(encoding="utf-8").splitlines()
    bridge = TransformerBridge.boot_transformers(str(chosen.folder), device="cpu")
    text = report(curves, mapping, induction_scores(bridge, taught_words()), log)
    if chosen.page is None:
        tqdm.write(text)
    else:
        page = chosen.page.read_text(encoding="utf-8")
        chosen.page.write_text(put_into(page, text), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
