"""Injection of a task embedding into head outputs."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from site_lens.activations.embedding import TaskEmbedding
from site_lens.heads.scores import HeadGates, MixRule
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit, z_edits
from site_lens.records.errors import MismatchError


def mix(
    z: Float[Tensor, "row head d_head"],
    embedding: Float[Tensor, "#row head d_head"],
    alpha: Float[Tensor, "#row head"],
    rule: MixRule = "convex",
) -> Float[Tensor, "row head d_head"]:
    """Mix an embedding into z, head by head.

    Args:
        z: Head outputs.
        embedding: What to mix in.
        alpha: One gate a head.
        rule: `convex`, `additive` or `norm_preserving`; see `MixRule`.

    Reference: arXiv 2507.20906, eq. 4 (convex): (1 - alpha) z + alpha t.
    """
    alpha = alpha[..., None]
    if rule == "additive":
        return z + alpha * embedding
    mixed = torch.lerp(z, embedding.expand_as(z), alpha.expand_as(z))
    if rule == "norm_preserving":
        norm = mixed.norm(dim=-1, keepdim=True)
        # Where the mix vanishes it has no direction to scale; it stays as it is.
        return mixed * torch.where(norm > 0, z.norm(dim=-1, keepdim=True) / norm.clamp(min=1e-12), 1.0)
    return mixed


def injection(
    alphas: Float[Tensor, "#row layer head"],
    embeddings: Float[Tensor, "embedding layer head d_head"],
    embedding_of_row: Int[Tensor, " #row"],
    *,
    heads_per_layer: tuple[int, ...],
    rule: MixRule = "convex",
    column: int = -1,
) -> list[Edit]:
    """Build the edits that mix embeddings into every layer, row by row; one edit a layer.

    Args:
        alphas: One map a row, or one map for all rows.
        embeddings: The embeddings that rows may use.
        embedding_of_row: Which of them each row uses; layer by layer, so that no copy for all layers is made.
        heads_per_layer: Heads of each layer; a layer without heads gets no edit.
        rule: How to mix.
        column: Column of the last prompt token among the tokens of the call.
    """

    def mixing(layer: int, z: Tensor) -> Tensor:
        n = z.shape[-2]
        embedding = embeddings[embedding_of_row, layer, :n]
        return mix(z, embedding.to(z.device), alphas[:, layer, :n].to(z.device), rule)

    return z_edits(heads_per_layer, mixing, column)


def injection_edits(
    model: LensModel, gates: HeadGates, embedding: TaskEmbedding, *, rule: MixRule | None = None, column: int = -1
) -> list[Edit]:
    r"""Build the edits that inject a task: one gate map and one embedding for all rows.

    Gates may be soft or hard (`gates.hard()`), of all heads or of some (`gates.only(heads)`).

    Args:
        model: The model to inject into.
        gates: Alpha of every head.
        embedding: What to mix in.
        rule: How to mix; as the gates say when None.
        column: Column of the last prompt token among the tokens of the call; the last one, as in whole prompts and in
            the one-token tail of a prefix, unless an answer follows it.

    Raises:
        MismatchError: Gates or embedding belong to another grid, or z meant something else where they were made.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["english-french"])
        >>> embedding = sl.capture_embeddings(model, tasks, n_prompts=4, n_shots=3)["english-french"]
        >>> edits = sl.injection_edits(model, sl.HeadGates.constant(model.grid, 0.5), embedding)  # one a layer
        >>> sl.generate(model, ["Q: apple\nA:"], edits, max_new_tokens=1)
        [' pomme']
    """
    if gates.grid != model.grid:
        raise MismatchError(f"gates over {gates.grid} do not fit {model.identity.name}, which has {model.grid}")
    model.identity.check_use(embedding.model, f"the embedding of {embedding.task!r}")
    return injection(
        torch.tensor(gates.values, device=model.device)[None],
        torch.tensor(embedding.mean, device=model.device)[None],
        torch.zeros(1, dtype=torch.long, device=model.device),
        heads_per_layer=model.grid.heads_per_layer,
        rule=rule or gates.mix,
        column=column,
    )
