"""Task vectors of multimodal models (MTV): the task embedding in place of a chosen set of heads, at every token."""

from site_lens.core.scores import HeadGates
from site_lens.interventions.methods import Method
from site_lens.interventions.patching import inject
from site_lens.selectors.masks import best_masks, mask_labelled
from site_lens.selectors.workbench import Workbench


def head_replacement(bench: Workbench, task: str) -> Method:
    """Put the task embedding in place of z of the heads that REINFORCE chose.

    It does so at the last prompt token and at every generated token, as the source's hooks do. The embedding is that of
    the comparison, M prompts of N shots; the source takes 100 prompts of 4.

    Reference: Huang et al., arXiv 2406.15334 (Multimodal Task Vectors), section 3.
    """
    gates, embedding = HeadGates.of(best_masks(bench)[task], task=task), bench.embeddings()[task]
    return Method(
        "head_replacement",
        edits=lambda model: inject(model, gates, embedding),
        every_step=True,
        n_labelled=mask_labelled(bench, task),
        n_trained=len(gates.grid),
        stored_bytes=gates.values.nbytes + embedding.mean.nbytes,
    )
