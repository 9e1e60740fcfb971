"""In-context vectors: the way from inputs to outputs in the hidden states, added at every token and layer."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.prefill import prompt_batches
from site_lens.methods.method import Method
from site_lens.methods.validation import choose
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit
from site_lens.selectors.context import ComparisonContext
from site_lens.tasks.prompt_sampling import need_rows
from site_lens.tasks.task import Example

NO_SPREAD = 1e-6
"""Differences that spread less than this share of their size have no principal component, but rounding."""


def in_context_vector(context: ComparisonContext, task: str) -> Method:
    """Turn the MLP's output of every layer, at every token, into the direction from inputs to outputs.

    Each of `config.n_shots` demonstrations gives the difference h(y) - h(x) of the residual streams behind all layers
    at the last token of its bare output and its bare input, each run alone. The in-context vector is their mean plus
    their first principal component; `steer` adds it to prompts and generated tokens. The strength is chosen on valid
    among `config.context_strengths`.

    Where the paper's text leaves a choice, this follows the code behind its results:
    - the vector, made of residual streams, is added to the output of the MLP before that enters the stream; the
      strengths to choose from are made for that place, and in the stream itself they would add up over layers;
    - the rule of addition is that of `steer`, with its cosine;
    - the component has length 1 over all layers together beside a mean of any length, and the demonstration that lies
      farthest along it lies on its positive side. The code lets the token embeddings take part in it; here they do not.
    Unlike there, bare texts keep the space that the template puts before them: a word without it is made of other
    tokens than in a prompt.

    Reference: Liu et al., arXiv 2311.06668, section 3, and their code (shengliu66/ICV).
    """
    rows = demonstrations(context, task)
    vector = principal_shift(differences(context, rows))
    candidates = [
        Method(
            "in_context_vector",
            edits=partial(_edits, vector, strength),
            every_step=True,
            n_labelled=len(rows) + context.labelled("valid", task=task),
            stored_bytes=vector.nbytes,
            notes=(f"in_context_vector of {task!r} has strength {strength:g}, which was chosen on valid",),
        )
        for strength in context.config.context_strengths
    ]
    return choose(context, task, candidates)


def demonstrations(context: ComparisonContext, task: str) -> tuple[Example, ...]:
    """Draw `config.n_shots` rows of train, the same for all methods that take single demonstrations.

    Raises:
        InputError: The task has fewer.
    """
    train, n = context.tasks[task].train, context.config.n_shots
    need_rows(context.tasks[task], len(train), n)
    return tuple(train[i] for i in context.stream(task, "demonstrations").choice(len(train), n, replace=False))


def differences(context: ComparisonContext, rows: Sequence[Example]) -> Float[Tensor, "pair layer d_model"]:
    """Return h(y) - h(x) of every demonstration: residual streams at the last tokens of its two texts."""
    template, n = context.config.template, len(rows)
    texts = [template.input_text(row.input) for row in rows] + [template.answer_text(row.output) for row in rows]
    batches = prompt_batches(context.model, context.model.encoder.encode(texts))
    hidden: dict[int, Tensor] = {}
    for group, batch in batches:
        hidden |= dict(zip(group, context.model.last_outputs(batch, "residual"), strict=True))
    return torch.stack([hidden[n + i] - hidden[i] for i in range(n)])


def principal_shift(differences: Float[Tensor, "pair layer d_model"]) -> Float[Tensor, "layer d_model"]:
    """Return the mean of differences plus their first principal component, of length 1 over all layers together.

    The component's sign makes the largest score of a pair positive; where pairs do not differ, there is none.
    """
    flat = differences.flatten(1)
    mean = flat.mean(0)
    scores, sizes, components = torch.linalg.svd(flat - mean, full_matrices=False)
    if sizes[0] <= NO_SPREAD * flat.norm():
        return mean.view_as(differences[0])
    farthest = scores[scores[:, 0].abs().argmax(), 0]
    shift: Tensor = mean + farthest.sign() * components[0]
    return shift.view_as(differences[0])


def steer(
    states: Float[Tensor, "*place d_model"], vector: Float[Tensor, " d_model"], strength: float
) -> Float[Tensor, "*place d_model"]:
    """Turn every state towards a vector and keep its norm.

    x becomes |x| unit(unit(x) + strength (1 + max(0, -cos(x, v))) unit(v)): a state that points away from the vector is
    turned up to twice as hard.
    """
    vector = vector.to(states.device)
    away = 1 + (-F.cosine_similarity(states, vector, dim=-1)).clamp(min=0)
    turned = F.normalize(states, dim=-1) + strength * away[..., None] * F.normalize(vector, dim=-1)
    norm: Tensor = states.norm(dim=-1, keepdim=True)
    return F.normalize(turned, dim=-1) * norm


def _edits(vector: Float[Tensor, "layer d_model"], strength: float, model: LensModel) -> list[Edit]:
    changes = [partial(steer, vector=direction, strength=strength) for direction in vector]
    return [Edit(layer, change, None, "mlp_out") for layer, change in enumerate(changes)]
