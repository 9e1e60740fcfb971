"""Task vectors of multimodal models (MTV): an embedding in place of a chosen set of heads, at every token."""

from site_lens.activations.injection import injection_edits
from site_lens.heads.scores import HeadGates
from site_lens.methods.method import Method
from site_lens.selectors.bernoulli_masks import bernoulli_masks, best_masks, mask_embeddings, mask_labelled
from site_lens.selectors.context import ComparisonContext


def head_replacement(context: ComparisonContext, task: str) -> Method:
    """Put an embedding of the task in place of z of the heads that REINFORCE chose.

    It does so at the last prompt token and at every generated token, as the source's hooks do. The embedding is the
    mean of `config.mask_prompts` prompts of `config.mask_shots`, by default the source's 100 and 4; None takes SITE's M
    and N. Checkpoint and learning rate of the masks are chosen on valid, see `bernoulli_masks`; of the masks drawn at
    the end the best on 50 rows of train is taken, as in the source.

    Reference: Huang et al., arXiv 2406.15334 (Multimodal Task Vectors), section 3. Theirs
    chooses nothing on valid.
    """
    gates, embedding = HeadGates.of(best_masks(context)[task], task=task), mask_embeddings(context)[task]
    return Method(
        "head_replacement",
        edits=lambda model: injection_edits(model, gates, embedding),
        every_step=True,
        n_labelled=mask_labelled(context, task),
        n_trained=len(gates.grid),
        stored_bytes=gates.values.nbytes + embedding.mean.nbytes,
        n_heads=int(gates.mass()),
        notes=bernoulli_masks(context)[task].notes,
    )
