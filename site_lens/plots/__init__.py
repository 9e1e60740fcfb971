"""Figures: one function a plot, one record in, one plotly Figure out; no model, no torch, no file.

Every submodule is named after the one function it holds; the imports below put the function, not the submodule,
under that name. Each checks the types of its arguments when it is called from here.
"""

from site_lens.core.checked import checked
from site_lens.plots.accuracy import accuracy as accuracy
from site_lens.plots.alpha_histogram import alpha_histogram as alpha_histogram
from site_lens.plots.alpha_paths import alpha_paths as alpha_paths
from site_lens.plots.alpha_spread import alpha_spread as alpha_spread
from site_lens.plots.attention import attention as attention
from site_lens.plots.attention_shares import attention_shares as attention_shares
from site_lens.plots.co_clusters import co_clusters as co_clusters
from site_lens.plots.content_shares import content_shares as content_shares
from site_lens.plots.faithfulness import faithfulness as faithfulness
from site_lens.plots.fit_ablation import fit_ablation as fit_ablation
from site_lens.plots.head_difference import head_difference as head_difference
from site_lens.plots.head_map import head_map as head_map
from site_lens.plots.head_maps import head_maps as head_maps
from site_lens.plots.head_paths import head_paths as head_paths
from site_lens.plots.labelled_rows import labelled_rows as labelled_rows
from site_lens.plots.landscape import landscape as landscape
from site_lens.plots.landscape_slice import landscape_slice as landscape_slice
from site_lens.plots.layer_profile import layer_profile as layer_profile
from site_lens.plots.method_means import method_means as method_means
from site_lens.plots.overlap_counts import overlap_counts as overlap_counts
from site_lens.plots.selector_agreement import selector_agreement as selector_agreement
from site_lens.plots.sensitivity import sensitivity as sensitivity
from site_lens.plots.similarity import similarity as similarity
from site_lens.plots.task_arithmetic import task_arithmetic as task_arithmetic
from site_lens.plots.task_map import task_map as task_map
from site_lens.plots.training import training as training
from site_lens.plots.transfer import transfer as transfer

__all__ = [
    "accuracy",
    "alpha_histogram",
    "alpha_paths",
    "alpha_spread",
    "attention",
    "attention_shares",
    "co_clusters",
    "faithfulness",
    "fit_ablation",
    "head_difference",
    "head_map",
    "head_maps",
    "head_paths",
    "labelled_rows",
    "layer_profile",
    "method_means",
    "overlap_counts",
    "selector_agreement",
    "similarity",
    "task_arithmetic",
    "task_map",
    "training",
    "transfer",
    "content_shares",
    "landscape",
    "landscape_slice",
    "sensitivity",
]

globals().update({name: checked(globals()[name], __name__) for name in __all__})
