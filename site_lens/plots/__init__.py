"""Figures: one function a plot, one record in, one plotly Figure out; no model, no torch, no file.

Every submodule is named after the one function it holds; the imports below put the function, not the submodule,
under that name.
"""

from site_lens.plots.accuracy import accuracy as accuracy
from site_lens.plots.head_map import head_map as head_map
from site_lens.plots.head_maps import head_maps as head_maps
from site_lens.plots.training import training as training

__all__ = ["accuracy", "head_map", "head_maps", "training"]
