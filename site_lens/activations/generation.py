"""Greedy generation under edits; those of the last prompt token are carried on by the KV cache."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.prefill import length_batches, ordered_prefixes
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit
from site_lens.models.locking import on_model_no_grad
from site_lens.models.tokenization import Encoder
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.tasks.answer_matching import n_lines
from site_lens.tasks.prompt_template import Prompt

OnLogits = Callable[[Float[Tensor, "row vocab"]], Float[Tensor, "row vocab"]]
"""A step on the logits that predict the first answer token, such as calibration."""


MAX_NEW_TOKENS = 20
"""Tokens that the published code generates at most."""


@on_model_no_grad
def generate(
    model: LensModel,
    prompts: Sequence[str],
    edits: Sequence[Edit] = (),
    *,
    every_step: bool = False,
    on_logits: OnLogits | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
    stop_at: str | Sequence[str] = "\n",
    n_stops: int = 1,
) -> list[str]:
    r"""Continue prompts greedily.

    Edits of column -1 act on the last prompt token; edits of all columns act on every prompt token. Generated tokens
    are edited only where `every_step` says so; SITE's published inference leaves them alone.

    Args:
        model: The model.
        prompts: Texts to continue.
        edits: Edits of column -1, the last prompt token, or of all columns; the same for every row.
        every_step: Edit every generated token, too.
        on_logits: A step on the logits (row vocab) that the first token is chosen from.
        max_new_tokens: Tokens to generate at most.
        stop_at: End a row once its new text holds this, or one of these, after its first word; the text may run past it
            by a token. No text in the list: a row ends at EOS alone.
        n_stops: How often the text must hold it.

    Returns:
        The new text of each prompt.

    Raises:
        InputError: A prompt and its continuation exceed the context, or a bare string came instead of a list.

    Example:
        >>> import site_lens as sl
        >>> prompt = "Q: hot\nA: cold\n\nQ: early\nA: late\n\nQ: big\nA:"
        >>> sl.generate(sl.load_model("demo"), [prompt], max_new_tokens=1)
        [' small']
    """
    check_sizes(max_new_tokens=max_new_tokens)
    if isinstance(prompts, str) or n_stops < 1:
        raise InputError("generate takes a list of prompts and at least 1 stop; put a single prompt in a list")
    if not prompts:
        return []
    ids = model.encoder.encode(prompts, room=max_new_tokens)
    stops = [stop_at] if isinstance(stop_at, str) else stop_at

    def has_ended(row: list[int]) -> bool:
        text = str(model.encoder.tokenizer.decode(row)).lstrip()  # with special tokens, which can be stops, too
        return row[-1] == model.encoder.eos or any(text.count(stop) >= n_stops for stop in stops)

    texts = [""] * len(prompts)
    for group in length_batches([len(row) for row in ids]):
        prefix = ordered_prefixes(model, [ids[i] for i in group], of_all_tokens(edits))
        token = torch.tensor([[ids[i][-1]] for i in group], device=model.device)
        rows: dict[int, list[int]] = {i: [] for i in group}
        running = group
        for step in range(max_new_tokens):
            # The prompt's last token passes first; its keys and values stay edited in the cache.
            logits, prefix = model.decode(prefix, token, edits if step == 0 or every_step else ())
            logits = logits[:, -1]
            if step == 0 and on_logits is not None:
                logits = on_logits(logits)
            token = logits.argmax(-1, keepdim=True)
            for i, new in zip(running, token[:, 0].tolist(), strict=True):
                rows[i].append(new)
            still = [place for place, i in enumerate(running) if not has_ended(rows[i])]
            if not still:
                break
            if len(still) < len(running):
                prefix, token, running = prefix.rows(still), token[still], [running[place] for place in still]
        for i, row in rows.items():
            texts[i] = model.encoder.decode(row[:-1] if row[-1] == model.encoder.eos else row)
    return texts


def generate_answers(
    model: LensModel, prompts: Sequence[Prompt], edits: Sequence[Edit] = (), **options: Any
) -> list[str]:
    """Continue prompts until their longest accepted answer has room, in lines and in tokens, so that it can be right.

    See `answer_room` for the tokens. Further options are those of `generate`.
    """
    texts = [prompt.text for prompt in prompts]
    n_stops = max((n_lines(answer) for prompt in prompts for answer in prompt.answers), default=1)
    room = answer_room(model.encoder, prompts)
    return generate(model, texts, edits, max_new_tokens=room, n_stops=n_stops, **options)


def answer_room(encoder: Encoder, prompts: Sequence[Prompt]) -> int:
    """Return the tokens to generate: 20, as in the published code, or one more than the longest accepted answer."""
    pairs = [(prompt.text, answer) for prompt in prompts for answer in prompt.answers]
    _, tokens, _ = encoder.encode_answers([text for text, _ in pairs], [answer for _, answer in pairs])
    return max([MAX_NEW_TOKENS, *(len(row) + 1 for row in tokens)])


def of_all_tokens(edits: Sequence[Edit]) -> list[Edit]:
    """Return the edits that act on every token, so that a prefix is made under them."""
    return [edit for edit in edits if edit.column is None]
