"""Prompt templates as data, and prompts rendered from them, without any random draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import model_validator

from site_lens.records.base import Frozen, leaves_out
from site_lens.records.type_checks import checked_methods
from site_lens.tasks.task import Example


@checked_methods
@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt and the texts that count as its answer."""

    text: str
    answers: tuple[str, ...]
    """As they would continue `text`, leading space included; the first is the training target."""

    @property
    def answer(self) -> str:
        """The training target."""
        return self.answers[0]


class PromptTemplate(Frozen):
    r"""Prompt template: how examples become text; the defaults are the paper's template, "Q: {x}\nA: {y}\n\n".

    Reference: Soft_Injection's `preprocess.py`, after the `prefixes` and `separators` of Todd et al.
    """

    instruction: str = ""
    """Text before the first example."""
    input_prefix: str = "Q:"
    output_prefix: str = "A:"
    input_separator: str = "\n"
    """Between an input and its output prefix."""
    output_separator: str = "\n\n"
    """After an output, before the next example."""
    space_before_input: bool = True
    space_before_output: bool = True
    digit_rule: Literal["published", True, False] = "published"
    """Digits alone get no leading space: many tokenizers split " 5" into a bare space and a digit, and the first answer
    token would be the space. "published" is the rule of the published code, which acts on all outputs ("A:5") and on
    the input of the query ("Q:12"), but not on inputs of demonstrations ("Q: 12"). True, which is what records of
    site_lens 0.1.0 say, acts on outputs alone."""

    query_suffix: str = ""
    """Behind the output prefix of the query alone, such as the empty block of thoughts with which some chat templates
    open the answer that is asked for."""

    _serializer = leaves_out(query_suffix="")

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        is_bare = not self.input_prefix and not self.space_before_input
        if not (self.output_prefix or self.input_separator or is_bare):
            raise ValueError(
                "a template needs an output_prefix or an input_separator, else the query has no end; inputs that are "
                "whole prompts go with PromptTemplate.bare()"
            )
        return self

    @classmethod
    def bare(cls, **changes: Any) -> Self:
        r"""Return the template of inputs that are whole prompts, such as those of a harness task.

        An input stands as it is, and its answer behind it after a space. Nothing is done about digits.

        Args:
            changes: Further fields to set, such as `space_before_output=False` where answers bring a space.

        Example:
            >>> from site_lens.tasks.task import Example
            >>> shot, query = Example("hot is not", ("cold",)), Example("big is not", ("small",))
            >>> PromptTemplate.bare().render([shot], query).text
            'hot is not cold\n\nbig is not'
        """
        nothing: dict[str, Any] = {
            "input_prefix": "", "output_prefix": "", "input_separator": "", "space_before_input": False,
            "digit_rule": False,
        }  # fmt: skip
        return cls(**nothing | changes)

    def behind(self, instruction: str) -> Self:
        """Return the same template with a text in front of everything."""
        return self.model_copy(update={"instruction": instruction + self.instruction}) if instruction else self

    def answer_text(self, output: str) -> str:
        """Return an output as it continues a query, leading space included."""
        bare = not self.space_before_output or (self.digit_rule and output.isdigit())
        return output if bare else " " + output

    def input_text(self, text: str, *, asked: bool = False) -> str:
        """Return an input as it follows its prefix, leading space included; `asked` where it is that of the query."""
        bare = not self.space_before_input or (asked and self.digit_rule == "published" and text.isdigit())
        return text if bare else " " + text

    def query_text(self, text: str) -> str:
        """Return an unanswered query, without what comes before it."""
        return self._question(self.input_text(text, asked=True)) + self.query_suffix

    def demonstration_text(self, example: Example) -> str:
        """Return an answered example and what separates it from the next."""
        return self._question(self.input_text(example.input)) + self.answer_text(example.output) + self.output_separator

    def _question(self, spaced: str) -> str:
        return f"{self.input_prefix}{spaced}{self.input_separator}{self.output_prefix}"

    def render(self, demonstrations: Sequence[Example], query: Example) -> Prompt:
        r"""Render answered demonstrations followed by an unanswered query.

        Example:
            >>> from site_lens.tasks.task import Example
            >>> PromptTemplate().render([Example("hot", ("cold",))], Example("big", ("small",))).text
            'Q: hot\nA: cold\n\nQ: big\nA:'
        """
        shots = "".join(map(self.demonstration_text, demonstrations))
        return Prompt(
            self.instruction + shots + self.query_text(query.input), tuple(map(self.answer_text, query.outputs))
        )
