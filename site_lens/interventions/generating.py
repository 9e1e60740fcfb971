"""Greedy generation with edits at the last prompt token during prefill; the KV cache carries them on."""

from collections.abc import Callable, Sequence

import torch

from site_lens.core.errors import InputError
from site_lens.interventions.prefixes import length_batches, prefill_prompts
from site_lens.models.protocol import Edit, LensModel


@torch.no_grad()
def generate(
    model: LensModel,
    prompts: Sequence[str],
    edits: Sequence[Edit] = (),
    *,
    max_new_tokens: int = 20,
    stop_at: str = "\n",
) -> list[str]:
    """Continue prompts greedily.

    The edits act once, on the last prompt token; decoded tokens are not edited (the published inference).

    Args:
        model: The model.
        prompts: Texts to continue.
        edits: Edits at column 0 of the last prompt token, the same for every row.
        max_new_tokens: Tokens to generate at most.
        stop_at: End a row once its new text holds this after its first word; the text may run past it by a token.

    Returns:
        The new text of each prompt.

    Raises:
        InputError: A prompt and its continuation exceed the context, or a bare string came instead of a list.
    """
    if isinstance(prompts, str) or max_new_tokens < 1:
        raise InputError("generate takes a list of prompts and at least 1 new token; put a single prompt in a list")
    if not prompts:
        return []
    ids = model.encoder.encode(prompts, room=max_new_tokens)
    texts = [""] * len(prompts)
    for group in length_batches([len(row) for row in ids]):
        made = _continue(model, [ids[i] for i in group], edits, max_new_tokens, _ended(model, stop_at))
        for i, row in zip(group, made, strict=True):
            texts[i] = model.encoder.decode(row)
    return texts


def _ended(model: LensModel, stop_at: str) -> Callable[[list[int]], bool]:
    def ended(row: list[int]) -> bool:
        return row[-1] == model.encoder.eos or stop_at in model.encoder.decode(row).lstrip()

    return ended


def _continue(
    model: LensModel,
    ids: Sequence[Sequence[int]],
    edits: Sequence[Edit],
    max_new_tokens: int,
    ended: Callable[[list[int]], bool],
) -> list[list[int]]:
    prefix, row_of = prefill_prompts(model, ids)
    prefix = prefix.rows(torch.tensor(row_of, device=model.device))
    token = torch.tensor([[row[-1]] for row in ids], device=model.device)
    made: list[list[int]] = [[] for _ in ids]
    running = list(range(len(ids)))
    for _ in range(max_new_tokens):
        logits, prefix = model.decode(prefix, token, edits)
        edits = ()  # the prompt's last token has passed; its keys and values stay edited in the cache
        token = logits[:, -1].argmax(-1, keepdim=True)
        for place, i in enumerate(running):
            made[i].append(int(token[place]))
        still = [place for place, i in enumerate(running) if not ended(made[i])]
        if not still:
            break
        if len(still) < len(running):
            index = torch.tensor(still, device=model.device)
            prefix, token = prefix.rows(index), token[index]
            running = [running[place] for place in still]
    return [row[:-1] if row and row[-1] == model.encoder.eos else row for row in made]
