"""Studies with planted numbers, for tests that need no model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from site_lens.heads.head_set import HeadGrid
from site_lens.records.hashing import digest_json, seed_stream
from site_lens.site.fit import SiteConfig
from site_lens.studies.ablation.result import FitAblation, Variant
from site_lens.studies.content_controls.result import METHODS, ContentControls
from site_lens.studies.loss_landscape.result import PLANE, FitLandscape, LandscapeFit
from site_lens.studies.prompt_sensitivity.result import Condition, PromptSensitivity
from site_lens.studies.task_arithmetic.result import KINDS, TaskArithmetic
from site_lens.studies.text_profiles.result import N_BINS, N_LINKS, TextProfiles
from site_lens.tasks.prompt_template import PromptTemplate
from tests.fakes import VERSIONS, fake_alphas, fake_identity, rights

SMALL = HeadGrid.full(2, 3)
BASE = Condition(n_prompts=10, n_shots=10, template=PromptTemplate(), label_noise=0)


def fake_landscape(
    *, n_fits: int = 10, n_nulls: int = 2, bump: float = 0.0, gain: float = 2.0, grid: HeadGrid = SMALL, **changes: Any
) -> FitLandscape:
    """Build a landscape in which every line rises by `bump` in its middle, and every fit gains `gain`."""
    n = n_fits + n_nulls
    stream = seed_stream("landscape", n)
    lines = tuple((i, j) for i in range(n_fits) for j in range(i + 1, n_fits))
    losses = np.linspace(0.5, 0.6, n)
    way = np.linspace(0, 1, 5)
    ends = np.array([(losses[i], losses[j]) for i, j in lines])
    profiles = ends[:, :1] * (1 - way) + ends[:, 1:] * way + bump * np.sin(np.pi * way)
    fields: dict[str, Any] = {
        "task": "antonym",
        "fits": tuple(
            LandscapeFit(start="random" if i % 2 else 0.5, lr=0.2, n_steps=50, seed=i, null=i >= n_fits,
                         status="converged") for i in range(n)
        ),
        "alphas": stream.uniform(0, 1, (n, *grid.shape)) * grid.mask,
        "start_losses": losses + gain,
        "losses": losses,
        "right": np.tile(np.arange(20) < 15, (n, 1)),
        "lines": lines,
        "profiles": profiles,
        "plane": (0, 1, 2),
        "slice": stream.uniform(0.5, 3, (len(PLANE), len(PLANE))),
        "seed": 0,
        "embedding_digest": digest_json(["embedding"]),
        "task_digest": digest_json(["antonym"]),
        "model": fake_identity(grid=grid),
        "versions": VERSIONS,
    }  # fmt: skip
    return FitLandscape(**fields | changes)


def fake_text_profiles(
    pieces: Sequence[Sequence[str]] = (("<s>", "a", " b", " a", " b"), ("<s>", "x", "", " <i>&")),
    heads: Sequence[str] = ("L0H1", "L1H2"),
    *,
    grid: HeadGrid = SMALL,
) -> TextProfiles:
    """Build profiles of heads that look at the token before; every head shows every piece, in order."""
    n, width = len(pieces), max(map(len, pieces))
    keys = np.zeros((len(heads), n, width, N_LINKS))
    weights = np.zeros_like(keys)
    for s, piece in enumerate(pieces):
        keys[:, s, 1 : len(piece), 0] = np.arange(len(piece) - 1)
        weights[:, s, : len(piece), 0] = 0.9 - 0.1 * s
    attention = np.zeros((len(heads), 2, width))
    attention[:, 0, 1], attention[:, 1, 1] = 0.25, 0.6
    words = tuple(tuple((" up", "<b>") for _ in pieces) for _ in heads)
    return TextProfiles(
        heads=tuple(heads),
        pieces=tuple(map(tuple, pieces)),
        deciles=tuple(10 - s * 10 // n for s in range(n)),
        shown=np.tile(np.arange(n), (len(heads), 1)),
        keys=keys,
        weights=weights,
        peak_written=np.tile([2.0, 1.0], (len(heads), n, 1)),
        peak_tokens=words,
        attended_logit=np.ones((len(heads), n)),
        written=np.tile([2.0, 0.0], (len(heads), 1)),
        written_tokens=tuple((" up", " down") for _ in heads),
        attention=attention,
        entropy=np.full(len(heads), 0.5),
        to_duplicate=np.full(len(heads), 0.25),
        to_induction=np.full(len(heads), 0.125),
        activations=np.tile(np.bincount([17] * n, minlength=N_BINS), (len(heads), 1)),
        copying=None,
        copying_missing="planted",
        n_pieces=n,
        n_queries=sum(map(len, pieces)) - n,
        n_duplicate=2,
        n_induction=2,
        max_tokens=width,
        text_digest=digest_json(["text"]),
        model=fake_identity(grid=grid),
        versions=VERSIONS,
    )


def fake_sensitivity(
    rates: ArrayLike = (0.8, 0.6, 0.8, 0.8),
    *,
    n_queries: int = 200,
    tasks: tuple[str, ...] = ("a", "b"),
    **changes: Any,
) -> PromptSensitivity:
    """Build runs with planted accuracies at M=10 (the base), M=1, M=50 and N=1; few-shot prompting has 0.5."""
    n, d, s = len(tasks), 3, 2
    conditions = (
        BASE, BASE.replace(n_prompts=1), BASE.replace(n_prompts=50), BASE.replace(n_shots=1),
    )  # fmt: skip
    planted = np.broadcast_to(np.asarray(rates)[None, :, None], (n, len(conditions), d))
    fields: dict[str, Any] = {
        "tasks": tasks,
        "conditions": conditions,
        "right": rights(planted, n_queries),
        "alphas": seed_stream("sensitivity").uniform(0, 1, (n, len(conditions), d, *SMALL.shape)),
        "embedding_variance": np.full((n, len(conditions)), 0.1),
        "crossed_right": rights(np.full((n, d, s), 0.8), n_queries),
        "crossed_alphas": np.full((n, d, s, *SMALL.shape), 0.5),
        "references": np.stack([rights(np.full(n, rate), n_queries) for rate in (0.1, 0.5)]),
        "asked": np.ones((n, n_queries)),
        "n_reference_shots": 10,
        "seed": 0,
        "task_digests": tuple(digest_json([task]) for task in tasks),
        "model": fake_identity(grid=SMALL),
        "versions": VERSIONS,
    }
    return PromptSensitivity(**fields | changes)


def fake_content(
    rates: ArrayLike = (0.1, 0.7, 0.9, 0.2, 0.3, 0.1, 0.1),
    *,
    n_queries: int = 60,
    tasks: tuple[str, ...] = ("a", "b"),
    **changes: Any,
) -> ContentControls:
    """Build content controls with planted accuracies of `METHODS`."""
    fields: dict[str, Any] = {
        "tasks": tasks,
        "methods": METHODS,
        "right": rights(np.broadcast_to(np.asarray(rates)[:, None], (len(METHODS), len(tasks))), n_queries),
        "asked": np.ones((len(tasks), n_queries)),
        "n_shots": 10,
        "evaluation_digests": tuple(digest_json([task]) for task in tasks),
    }
    return ContentControls(**fields | changes)


def fake_ablation(
    rates: Mapping[str, float], *, tasks: Sequence[str] = ("a", "b"), n_queries: int = 60, **changes: Any
) -> FitAblation:
    """Build an ablation in which every variant answers a planted share of each task's queries right."""
    names = list(rates)
    variants = [Variant(name=name, factor="init", against=names[0] if i else None) for i, name in enumerate(names)]
    gates = np.stack([fake_alphas(task) for task in tasks])
    fields: dict[str, Any] = {
        "tasks": tuple(tasks),
        "variants": tuple(variants),
        "right": rights(np.array([[rates[name]] * len(tasks) for name in names]), n_queries),
        "asked": np.ones((len(tasks), n_queries)),
        "alphas": np.stack([gates] * len(names)),
        "config": SiteConfig(),
        "template": PromptTemplate(),
        "model": fake_identity(),
        "versions": VERSIONS,
    }
    return FitAblation(**fields | changes)


def fake_arithmetic(
    first: Sequence[float],
    second: Sequence[float],
    *,
    weights: Sequence[float] = (0, 0.5, 1),
    tasks: tuple[str, str] = ("a", "b"),
    references: tuple[float, float, float] = (0.1, 0.9, 0.8),
    n_queries: int = 60,
    **changes: Any,
) -> TaskArithmetic:
    """Build a combination with planted accuracies of both tasks by weight, the same for every kind."""
    rates = np.broadcast_to(np.array([first, second]).T, (len(KINDS), len(weights), 2))
    fields: dict[str, Any] = {
        "tasks": tasks,
        "families": (None, None),
        "weights": tuple(weights),
        "alphas": np.stack([fake_alphas(task) for task in tasks]),
        "right": rights(rates, n_queries),
        "log_prob": np.where(rights(rates, n_queries) == 1, -0.1, -3.0),
        "references": rights(np.array(references)[:, None].repeat(2, axis=1), n_queries),
        "asked": np.ones((2, n_queries)),
        "rule": "convex",
        "fit_digests": tuple(digest_json([task, "fit"]) for task in tasks),
        "model": fake_identity(),
        "versions": VERSIONS,
    }
    return TaskArithmetic(**fields | changes)
