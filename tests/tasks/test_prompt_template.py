import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import site_lens as sl
from tests.samples import laws

PAPER = sl.PromptTemplate()
HOT, BIG = sl.Example("hot", ("cold",)), sl.Example("big", ("small", "little"))

texts = st.text(st.characters(codec="utf-8"), max_size=8)
answers = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(str.strip)
examples = st.builds(sl.Example, texts, st.lists(answers, min_size=1, max_size=3).map(tuple))
templates = st.builds(
    sl.PromptTemplate,
    instruction=texts,
    input_prefix=texts,
    output_prefix=answers,
    input_separator=texts,
    output_separator=texts,
    space_before_input=st.booleans(),
    space_before_output=st.booleans(),
    digit_rule=st.sampled_from(["published", True, False]),
)


def test_a_template_is_that_of_the_paper_to_the_letter_unless_its_parts_are_changed() -> None:
    prompt = PAPER.render([HOT, sl.Example("up", ("down",))], BIG)
    assert prompt.text == "Q: hot\nA: cold\n\nQ: up\nA: down\n\nQ: big\nA:"
    assert (prompt.answer, prompt.answers) == (" small", (" small", " little"))
    arrow = sl.PromptTemplate(
        instruction="Opposites. ", input_prefix="", output_prefix="", input_separator=" ->", output_separator=", ",
        space_before_input=False,
    )  # fmt: skip
    assert arrow.render([HOT], BIG).text == "Opposites. hot -> cold, big ->"
    with pytest.raises(sl.InputError):
        sl.PromptTemplate(output_prefix="", input_separator="")  # the end of a query could not be told


def test_the_published_digit_rule_acts_on_the_input_of_the_query_but_not_on_those_of_demonstrations() -> None:
    shots, query = [sl.Example("21", ("22",)), sl.Example("monday", ("tuesday",))], sl.Example("12", ("13",))
    for rule, text in {
        "published": "Q: 21\nA:22\n\nQ: monday\nA: tuesday\n\nQ:12\nA:",
        True: "Q: 21\nA:22\n\nQ: monday\nA: tuesday\n\nQ: 12\nA:",
        False: "Q: 21\nA: 22\n\nQ: monday\nA: tuesday\n\nQ: 12\nA:",
    }.items():
        assert PAPER.replace(digit_rule=rule).render(shots, query).text == text, rule
    for text in ("12a", "1 2", "-5", "5.0", "twelve"):
        assert (PAPER.query_text(text), PAPER.answer_text(text)) == (f"Q: {text}\nA:", f" {text}")
    assert PAPER.query_text("²") == "Q:²\nA:"  # what Python's isdigit takes for digits, as the published code does
    assert PAPER.replace(space_before_input=False).query_text("twelve") == "Q:twelve\nA:"


def test_a_template_of_a_file_of_0_1_0_makes_the_prompts_that_it_made_there_and_keeps_its_digest() -> None:
    said: dict[str, Any] = {
        "instruction": "", "input_prefix": "Q:", "output_prefix": "A:", "input_separator": "\n",
        "output_separator": "\n\n", "space_before_input": True, "space_before_output": True, "digit_rule": True,
    }  # fmt: skip
    old = sl.PromptTemplate(**said)
    assert old.digest == "7649a55836ccfdab7356a54e6f2bbbfabe42de7f4ffe4d074dfc26615e42e8ab"
    assert old.parts() == ({}, said)
    assert old.render([], sl.Example("12", ("13",))) == sl.Prompt("Q: 12\nA:", ("13",))
    fields = json.loads(json.dumps(PAPER.parts()[1]))
    assert sl.PromptTemplate(**fields) == PAPER != old
    assert fields["digit_rule"] == "published"


@laws
@given(templates, st.lists(examples, min_size=1, max_size=4), examples)
def test_prompt_and_answer_continue_into_the_next_demonstration(
    template: sl.PromptTemplate, shots: list[sl.Example], query: sl.Example
) -> None:
    shots = [row for row in shots if not row.input.isdigit()] or [HOT]  # as queries they may lose their space
    shorter = template.render(shots[:-1], shots[-1])
    longer = template.render(shots, query)
    assert longer.text.startswith(shorter.text + shorter.answer + template.output_separator)
    assert longer.text.endswith(template.query_text(query.input))
    assert longer.text.startswith(template.instruction)


def test_a_bare_template_puts_nothing_around_whole_prompts() -> None:
    shots, query = [sl.Example("  Q: 12 \nA:", ("5",)), sl.Example("é", ("ü",))], sl.Example("7", ("8", "nine"))
    template = sl.PromptTemplate.bare()
    prompt = template.render(shots, query)
    assert (prompt.text, prompt.answers) == ("  Q: 12 \nA: 5\n\né ü\n\n7", (" 8", " nine"))
    assert template.query_text("Q: hot\nA:") == "Q: hot\nA:"
    assert sl.PromptTemplate.bare(space_before_output=False).answer_text(" cold") == " cold"
    assert sl.PromptTemplate.model_validate(template.model_dump()) == template
