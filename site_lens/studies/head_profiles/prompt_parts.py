"""Few-shot prompts of which it is known for every token what it belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.random import Generator

from site_lens.models.tokenization import Encoder
from site_lens.studies.head_profiles.result import Part
from site_lens.tasks.prompt_sampling import need_rows
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import Example, Task

PRECEDENCE: tuple[Part, ...] = ("answer", "input", "query", "frame")
"""A token that holds text of several parts belongs to the first of them here: what it says is what it is looked at
for, whatever separator is stuck to it."""

Piece = tuple[Part, str]


@dataclass(frozen=True, slots=True)
class PartedPrompt:
    """The tokens of a prompt, and what part of it each belongs to."""

    ids: list[int]
    parts: tuple[Part, ...]


def prompt_pieces(template: PromptTemplate, demonstrations: Sequence[Example], query: Example) -> list[Piece]:
    """Cut a rendered prompt into pieces; together they are its text. The space before a word belongs to the word."""
    pieces: list[Piece] = [("frame", template.instruction)]
    asked: list[tuple[Example, Part]] = [*((shot, "input") for shot in demonstrations), (query, "query")]
    for row, part in asked:
        pieces += [
            ("frame", template.input_prefix),
            (part, template.input_text(row.input, asked=part == "query")),
            ("frame", template.input_separator + template.output_prefix),
        ]
        if part == "input":
            pieces += [("answer", template.answer_text(row.output)), ("frame", template.output_separator)]
    return [*pieces, ("frame", template.query_suffix)]


def part_tokens(encoder: Encoder, pieces: Sequence[Piece]) -> PartedPrompt:
    """Tokenise pieces as one text and say what part every token belongs to; see `PRECEDENCE` for tokens of several.

    Raises:
        InputError: The tokenizer does not say which characters its tokens stand for.
    """
    ids, spans = encoder.spans("".join(text for _, text in pieces))
    part_of: list[Part] = [part for part, text in pieces for _ in text]
    begin = encoder.missing_begin(ids)
    parts: list[Part] = ["begin"] * len(begin)
    for first, end in spans:
        covered = set(part_of[first:end])
        parts.append(next(part for part in PRECEDENCE if part in covered))
    return PartedPrompt([*begin, *ids], tuple(parts))


def parted_prompts(
    encoder: Encoder, task: Task, queries: Sequence[Example], template: PromptTemplate, n_shots: int, stream: Generator
) -> list[PartedPrompt]:
    """Put rows of train, drawn anew for each query, before every query; a row with its input is never shown."""
    prompts = []
    for query in queries:
        allowed = [row for row in task.train if row.input != query.input]
        need_rows(task, len(allowed), n_shots)
        shots = [allowed[i] for i in stream.choice(len(allowed), n_shots, replace=False)]
        prompts.append(part_tokens(encoder, prompt_pieces(template, shots, query)))
    return prompts
