"""Chat templates of tokenizers as prompt templates: examples become turns of user and assistant."""

import os
from collections.abc import Sequence
from typing import Any

from site_lens.models.base import LensModel
from site_lens.models.tokenization import Encoder
from site_lens.records.errors import InputError
from site_lens.records.library_errors import translated_errors
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Example

MARKS = ("firstinput", "firstoutput", "secondinput")
"""Contents of three turns, by which they are found again in what a chat template makes of them."""

SAMPLES = [
    Example(word, (opposite,))
    for word, opposite in (("hot", "cold"), ("big", "small"), ("old", "young"), ("rich", "poor"))
]
"""Examples on which the prompt template must make the same texts as the chat template."""


def chat_template(
    model: LensModel, *, system: str | None = None, thinking: bool = False, digit_rule: bool = True
) -> PromptTemplate:
    """Say the chat template of a model's tokenizer as a prompt template.

    Demonstrations become earlier turns, an input the user's and an output the assistant's; the query is the user's last
    turn, and the last prompt token the one before the answer. The result is plain text, so that records hold it and
    nothing needs the tokenizer again. BOS stands in it where the chat template writes it; the encoder adds no second.

    Args:
        model: The model whose tokenizer has a chat template.
        system: The system message; what the chat template puts there by itself when None.
        thinking: Whether a model that can think before it answers may; otherwise its block of thoughts comes closed.
        digit_rule: As in `PromptTemplate`; it matters only where a space stands before the assistant's words.

    Raises:
        InputError: The tokenizer has no chat template, or one that does not treat all turns alike.

    Example:
        fits = sl.fit_site(model, tasks, template=sl.chat_template(model))
    """
    first, output, second = MARKS
    turns = [("user", first), ("assistant", output), ("user", second)]
    begin, answers, between, end = _cut(chat_text(model.encoder, turns, system=system, thinking=thinking))
    prefix = os.path.commonprefix([begin[::-1], between[::-1]])[::-1]
    space = answers == f"{end} "
    template = PromptTemplate(
        instruction=begin.removesuffix(prefix),
        input_prefix=prefix,
        input_separator=end if space else answers,
        output_prefix="",
        output_separator=between.removesuffix(prefix),
        space_before_input=False,
        space_before_output=space,
        digit_rule=digit_rule,
        query_suffix=end.removeprefix(answers) if end.startswith(answers) else "",
    )
    # Some open the turns of the assistant with a line break that they do not ask for: the answer stands behind it.
    unasked = "" if space else answers.removeprefix(end) if answers.startswith(end) else ""
    for n_shots in (0, 1, 3):
        *shots, query = SAMPLES[: n_shots + 1]
        turns = [turn for shot in shots for turn in (("user", shot.input), ("assistant", shot.output))]
        expected = chat_text(model.encoder, [*turns, ("user", query.input)], system=system, thinking=thinking)
        made = template.render(shots, query).text
        if made != expected + unasked:
            raise _irregular(f"{n_shots} demonstrations give {expected!r}, and not {made!r}")
    return template


def chat_text(encoder: Encoder, turns: Sequence[tuple[str, str]], *, system: str | None, thinking: bool) -> str:
    """Render turns, (role, content), up to where the assistant is to speak.

    Raises:
        InputError: The tokenizer has no chat template, or it takes no such turns.
    """
    tokenizer: Any = encoder.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(f"this {type(tokenizer).__name__} has no chat template; use a PromptTemplate")
    told = [] if system is None else [("system", system)]
    messages = [{"role": role, "content": content} for role, content in (*told, *turns)]
    options = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": thinking}
    refused = f"the chat template of this tokenizer refuses {messages}"
    # A template is a program: it may add text to nothing. Several without a default are an error, too.
    with translated_errors(lambda reason: InputError(f"{refused}: {reason}")):
        return str(tokenizer.apply_chat_template(messages, **options))


def _cut(text: str) -> list[str]:
    """Return what stands before, between and behind the marks."""
    pieces = []
    for mark in MARKS:
        before, found, text = text.partition(mark)
        if not found:
            raise _irregular(f"{mark!r} of a turn is not in it, or not in order")
        pieces.append(before)
    return [*pieces, text]


def _irregular(what: str) -> InputError:
    return InputError(
        f"the chat template of this tokenizer cannot be said as prefixes and separators: {what}; write a "
        "PromptTemplate of your own"
    )
