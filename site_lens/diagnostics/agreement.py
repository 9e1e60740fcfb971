"""Agreement of alpha maps: over seeds and starts of one task, against that between tasks."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from site_lens.core.agreement import Agreement, TaskAgreement
from site_lens.core.fits import SiteFit, SiteFits
from site_lens.diagnostics.similarity import correlation, jaccard, rank_correlation

SAME_START = 1e-6
"""Largest difference of any alpha before the first step at which two fits count as having started alike."""


def measure_agreement(fits: SiteFits) -> Agreement:
    """Compare every two fits, within tasks and between them.

    A map whose fits agree no more with each other than with those of other tasks says nothing about its task.

    Args:
        fits: Fits of one grid, several a task (`fit_site(..., seeds=range(4))`, and `init="random"` for other starts).

    Raises:
        InputError: There are no fits.
        MismatchError: The fits are over different grids.
    """
    grid, every = fits.one_grid(), list(fits.values())
    maps = np.stack([fit.gates.values for fit in every])
    flat = maps[:, grid.mask]
    alike = {"correlation": correlation(flat), "ranks": rank_correlation(flat), "jaccard": jaccard(flat > 0.5)}
    names = list(dict.fromkeys(fit.task for fit in every))
    places = [[i for i, fit in enumerate(every) if fit.task == name] for name in names]
    return Agreement(
        grid=grid,
        tasks=tuple(_of_task(name, every, own, alike) for name, own in zip(names, places, strict=True)),
        mean=np.stack([maps[own].mean(axis=0) for own in places]),
        spread=np.stack([maps[own].std(axis=0) for own in places]),
    )


def _of_task(
    name: str, fits: Sequence[SiteFit], own: list[int], alike: Mapping[str, NDArray[np.float64]]
) -> TaskAgreement:
    pairs = list(combinations(own, 2))
    together = [pair for pair in pairs if _start_alike(*(fits[i] for i in pair))]
    apart = [pair for pair in pairs if pair not in together]
    others = [(i, j) for i in own for j in range(len(fits)) if j not in own]
    correlations = alike["correlation"]
    return TaskAgreement(
        task=name,
        n_fits=len(own),
        sampling=_mean(correlations, together),
        starts=_mean(correlations, apart),
        lowest=min((float(correlations[pair]) for pair in pairs), default=None),
        jaccard=_mean(alike["jaccard"], pairs),
        ranks=_mean(alike["ranks"], pairs),
        elsewhere=_mean(correlations, others),
    )


def _start_alike(one: SiteFit, other: SiteFit) -> bool:
    if not (len(one.trace.alphas) and len(other.trace.alphas)):
        return one.config.init == other.config.init != "random"
    return bool(np.abs(one.trace.alphas[0] - other.trace.alphas[0]).max() <= SAME_START)


def _mean(values: NDArray[np.float64], pairs: Sequence[tuple[int, int]]) -> float | None:
    return float(np.mean([values[pair] for pair in pairs])) if pairs else None
