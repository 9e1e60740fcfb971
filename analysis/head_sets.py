"""Chosen head sets, measured: their size, accuracy, agreement, families, transfer, and other ways to find few heads.

    python -m analysis.head_sets --page docs/questions/which-heads.md

writes the tables into the measured parts of that page: figures over several draws of tasks ("measured"), ways to make
gates few ("ways"), and accuracy against the number of heads ("curves").
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from torch import Tensor

import site_lens as sl
from analysis.pages import machine, put_into, table
from site_lens.heads.scores import ScoresByTask
from site_lens.models.base import LensModel
from site_lens.records.base import Float32
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.registry import registered_scores
from site_lens.site.fitting import embedded_jobs
from site_lens.site.gate_parametrization import GateParametrization, HardConcrete, Sigmoid
from site_lens.site.head_path import CONTENTS
from site_lens.site.optimizer import JointOptimizer
from site_lens.site.plan import make_plan
from site_lens.stats.intervals import mean_interval

N_TASKS = 16
KS = (1, 2, 4, 8, 16, 32)
"""Numbers of heads at which accuracy is measured."""

SELECTORS = (
    "site_path", "site", "indirect_effect", "attribution_patching", "gim", "relp", "compressed_sensing",
    "hard_concrete", "bernoulli_masks", "causal_head_gating_last",
)  # fmt: skip

FAMILIES = ("translation", "choose_by_position", "pick_by_category", "morphology")
"""Families of which four tasks each make a draw of its own: drawn evenly over all, most families have one or two."""

PRICES = (0.003, 0.01, 0.03)
DENSITIES = (0.3, 0.15, 0.08)
COLD_STEPS = 160
"""Steps of fits under a price from their start: as many as a walk to its first price takes."""


@dataclass(frozen=True, slots=True)
class Decided(Sigmoid):
    """Sigmoid gates that also pay for being undecided: `weight` nats times alpha (1 - alpha) a head, rising."""

    weight: float = 0.05

    def penalty(
        self, raw: Float[Tensor, "map layer head"], progress: Float[Tensor, " map"], mask: Bool[Tensor, "layer head"]
    ) -> Float[Tensor, " map"]:
        """Return the price of undecided gates."""
        alpha = self.deterministic(raw)[:, mask]
        return self.weight * progress * (alpha * (1 - alpha)).sum(-1)


@dataclass(frozen=True, slots=True)
class Cut(GateParametrization):
    """Gates that are their parameter, cut to [0, 1]: under a price, a gate that is not needed ends at exactly 0.

    The slope beyond the ends is passed on, as that of a proximal step is, so that a closed gate can open again.
    """

    def raw(self, gates: Float[Tensor, "*map layer head"]) -> Float[Tensor, "*map layer head"]:
        """Return the gates."""
        return gates

    def deterministic(self, raw: Float[Tensor, "*map layer head"]) -> Float[Tensor, "*map layer head"]:
        """Return the gates in [0, 1]."""
        return raw + (raw.clamp(0, 1) - raw).detach()


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2], help="seeds of the draws of tasks")
    parser.add_argument("--n-tasks", type=int, default=N_TASKS)
    parser.add_argument(
        "--part", choices=("measured", "ways", "curves"), nargs="+", default=["measured", "ways", "curves"]
    )
    parser.add_argument("--selector", choices=SELECTORS, nargs="+", default=list(SELECTORS), help="of the curves")
    parser.add_argument("--page", type=Path, help="the page whose measured parts are to be replaced")
    chosen = parser.parse_args()
    model = sl.load_model("demo")
    every = sl.load_tasks("demo").values()
    drawn = {f"draw {seed}": sl.sample_tasks(every, chosen.n_tasks, seed=seed) for seed in chosen.draws}
    of_families = [[task for task in every if task.family == family] for family in FAMILIES]
    related = {name: task for own in of_families for name, task in sl.sample_tasks(own, 4, seed=0).items()}
    parts: dict[str, Callable[[], str]] = {
        "measured": partial(figures, model, drawn | {"4 of 4 families": related}),
        "ways": partial(ways, model, next(iter(drawn.values()))),
        "curves": partial(curves, model, next(iter(drawn.values())), chosen.selector),
    }
    for name in chosen.part:
        text = parts[name]()
        print(text)
        if chosen.page is not None:
            put_into(chosen.page, text, part=name)


def figures(model: LensModel, drawn: dict[str, dict[str, sl.Task]]) -> str:
    """Measure paths on every draw of tasks, and say what was reached."""
    columns = {name: _figures(model, tasks) for name, tasks in drawn.items()}
    rows = [[name, *(column[name] for column in columns.values())] for name in next(iter(columns.values()))]
    return f"{machine()}\n\n{table(['', *columns], rows)}"


def _figures(model: LensModel, tasks: dict[str, sl.Task]) -> dict[str, str]:
    start = time.perf_counter()
    dense = sl.fit_site(model, tasks)
    dense_seconds = time.perf_counter() - start
    start = time.perf_counter()
    paths = sl.fit_path(model, tasks, fits={"task": dense}, contents=CONTENTS)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    sl.fit_path(model, tasks, prices=(0.003, 0.01, 0.03, 0.06), n_starts=1, full_grid=True)
    grid_seconds = time.perf_counter() - start
    measured = sl.evaluate(model, tasks, dense, paths=paths)
    chosen = paths.chosen()
    found = measured.having("site_sparse")
    families = [tasks[name].family for name in chosen]
    pairs = list(combinations(range(len(chosen)), 2))
    sets = list(chosen.values())
    sizes = [len(heads) for heads in sets]
    shared = {pair: len(sets[pair[0]] & sets[pair[1]]) / len(sets[pair[0]] | sets[pair[1]]) for pair in pairs}
    within = [value for (i, j), value in shared.items() if families[i] == families[j]]
    between = [value for (i, j), value in shared.items() if families[i] != families[j]]
    agreements = [path.agreement for path in paths.values() if path.agreement is not None]
    fits = paths.sparse_fits()
    clusters = sl.cluster_tasks(fits)
    transfer = sl.summarize_transfer(sl.transfer_matrix(model, [tasks[name] for name in chosen], fits)).of("alphas")
    agreement = clusters.family_agreement
    at_choice = [path.frame().query(f"price == {path.chosen.price}") for path in paths.values() if path.chosen]
    ended = pd.concat(at_choice).groupby("content")[["n_open", "undecided"]].mean()
    families_of = (
        ""
        if agreement is None
        else f"{agreement.value:.2f} [{agreement.low:.2f}, {agreement.high:.2f}], p = {agreement.p_value:.3f}"
    )
    return {
        "tasks with a set": f"{len(chosen)} of {len(tasks)}",
        "heads of a set, mean (most)": f"{np.mean(sizes):.1f} ({max(sizes)}) of {len(model.grid)}",
        "accuracy: zero-shot": str(found.mean("zero_shot")),
        "accuracy: ten-shot": str(found.mean("ten_shot")),
        "accuracy: dense fit (`site`)": str(found.mean("site")),
        "accuracy: chosen set (`site_sparse`)": str(found.mean("site_sparse")),
        "accuracy: no more heads without the embedding (`gates_sparse`)": str(found.mean("gates_sparse")),
        "`site_sparse` less `site`": str(found.compare("site_sparse", over="site")),
        "Jaccard over seeds, embeddings and random starts": f"{np.mean([a.value for a in agreements]):.3f}",
        "the same by chance, layers matched": f"{np.mean([a.by_chance for a in agreements]):.3f}",
        "Jaccard of tasks of a family": f"{np.mean(within):.3f} ({len(within)} pairs)" if within else "no pair",
        "Jaccard of tasks of different families": f"{np.mean(between):.3f} ({len(between)} pairs)",
        "clusters against families (adjusted Rand)": families_of,
        "rounded alphas of another task, of the own gain": "" if transfer.mean is None else str(transfer.mean),
        "the same less own alphas shuffled in layers": "" if transfer.above_null is None else str(transfer.above_null),
        "transfer within families less between": ""
        if transfer.family_gap is None
        else f"{transfer.family_gap:+.2f}, p = {transfer.family_p:.3f}",
        "at the chosen price, open heads: task, null": f"{ended.n_open['task']:.1f}, {ended.n_open['shuffled']:.1f}",
        "the same, undecided share: task, null": f"{ended.undecided['task']:.2f}, {ended.undecided['shuffled']:.2f}",
        "seconds: dense fits": f"{dense_seconds:.0f}",
        "seconds: path, 7 prices, 3 starts, 2 controls": f"{seconds:.0f}",
        "seconds: path, 5 prices x 2 embeddings, 1 start": f"{grid_seconds:.0f}",
    }  # fmt: skip


def ways(model: LensModel, tasks: dict[str, sl.Task]) -> str:
    """Compare ways to make gates few: accuracy on test of rounded gates, and how many of them are open."""
    listed = list(tasks.values())
    config = sl.SiteConfig()
    paths = sl.fit_path(model, tasks, config, contents=("task",), prices=PRICES, n_starts=1)
    made: dict[str, Float32] = {}
    for price in PRICES:
        gates = np.stack([path.gates[path.of("task", price)[0]] for path in paths.values()])
        made[f"walk from price to price: {price:g}"] = gates
    jobs = embedded_jobs(model, listed, config)

    def fitted(label: str, parametrization: GateParametrization, changes: Sequence[dict[str, float]]) -> None:
        for change in changes:
            settings = config.replace(n_steps=COLD_STEPS, keep="last", **change)
            plan = make_plan(model, [replace(job, config=settings) for job in jobs])
            runs = JointOptimizer(model, plan, budget_bytes=2**31, gates=parametrization).run(progress=None)
            made[f"{label}: {next(iter(change.values())):g}"] = np.stack([run.alphas[-1] for run in runs])

    prices = [{"head_price": price} for price in PRICES]
    fitted("price from the start", Sigmoid(), prices)
    fitted("price, and one of alpha (1 - alpha)", Decided(), prices)
    fitted("price, gates cut to [0, 1]", Cut(), [{"head_price": price, "lr": 0.05} for price in PRICES])
    for density in DENSITIES:
        fitted(f"hard-concrete, density {density:g}, learning rate", HardConcrete(density), [{"lr": 0.2}])
    rows = []
    for label, gates in made.items():
        pairs = {
            task.name: (sl.HeadGates(grid=model.grid, values=np.clip(own, 0, 1)).hard(), job.embedding)
            for task, own, job in zip(listed, gates, jobs, strict=True)
        }
        accuracy = sl.evaluate(model, listed, pairs).mean("site")
        rows.append([label, f"{np.mean((gates > 0.5).sum((1, 2))):.1f}", str(accuracy)])
    return table(["way: setting", "open heads", "accuracy, rounded"], rows)


def curves(model: LensModel, tasks: dict[str, sl.Task], selectors: Sequence[str]) -> str:
    """Measure accuracy with the first k heads of every selector, the area under it, and what the selector cost."""
    context = ComparisonContext(model, tasks)
    scores: dict[str, ScoresByTask] = {name: registered_scores(context, name) for name in selectors}
    rivals = {name: by_task for name, by_task in scores.items() if name != "site"}
    measured = sl.faithfulness_curves(model, tasks, context.fits(), scores=rivals, ks=KS, n_random=4)
    rows = []
    for name in (*selectors, "random_layer_matched"):
        cells: list[str] = []
        for k in KS:
            at_k = [measured.accuracy("sufficiency", name, k, task).value for task in measured.tasks]
            cells.append(f"{mean_interval(at_k, bounds=(0, 1)).value:.3f}")
        area = measured.area("sufficiency", name)
        forwards = [one.n_forwards for one in scores[name].values()] if name in scores else [0]
        known = [count for count in forwards if count is not None]
        rows.append([f"`{name}`", *cells, str(area), f"{np.mean(known):,.0f}" if known else ""])
    header = ["selector", *(f"{k} head{'s' if k > 1 else ''}" for k in KS), "area", "prompts passed a task"]
    return table(header, rows)


if __name__ == "__main__":
    main()
