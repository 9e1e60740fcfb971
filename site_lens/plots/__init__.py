"""Figures: one function a plot, one record in, one plotly Figure out; no model, no torch, no file.

Every submodule is named after the one function it holds; the imports below put the function, not the submodule,
under that name.
"""

from site_lens.plots.accuracy import accuracy as accuracy
from site_lens.plots.alpha_histogram import alpha_histogram as alpha_histogram
from site_lens.plots.alpha_paths import alpha_paths as alpha_paths
from site_lens.plots.alpha_spread import alpha_spread as alpha_spread
from site_lens.plots.co_clusters import co_clusters as co_clusters
from site_lens.plots.head_difference import head_difference as head_difference
from site_lens.plots.head_map import head_map as head_map
from site_lens.plots.head_maps import head_maps as head_maps
from site_lens.plots.layer_profile import layer_profile as layer_profile
from site_lens.plots.overlap_counts import overlap_counts as overlap_counts
from site_lens.plots.similarity import similarity as similarity
from site_lens.plots.task_map import task_map as task_map
from site_lens.plots.training import training as training

__all__ = [
    "accuracy",
    "alpha_histogram",
    "alpha_paths",
    "alpha_spread",
    "co_clusters",
    "head_difference",
    "head_map",
    "head_maps",
    "layer_profile",
    "overlap_counts",
    "similarity",
    "task_map",
    "training",
]
