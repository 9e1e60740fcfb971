from hypothesis import given
from hypothesis import strategies as st

from site_lens.tasks.answer_matching import exact_match, first_lines, prefix_match
from tests.samples import laws

words = st.text(st.characters(whitelist_categories=("Ll", "Lu")), min_size=1, max_size=12)


@laws
@given(words, st.text(max_size=20))
def test_the_answer_alone_or_before_a_line_break_matches_exactly_and_by_prefix(word: str, rest: str) -> None:
    for generated in (word, f" {word}", f" {word}\n{rest}", f" {word} \n"):
        assert first_lines(generated) == word
        assert exact_match(generated, [word])
        assert prefix_match(generated, word, task="antonym")


def test_an_exact_match_is_letter_by_letter_with_any_accepted_answer() -> None:
    for generated in (" cold.", " colder", " Cold", "\n cold", ""):
        assert not exact_match(generated, ["cold"])
    assert [exact_match(text, ("sofa", " couch")) for text in (" sofa\n", " couch", " chair")] == [True, True, False]


def test_a_prefix_match_is_as_loose_as_the_published_one() -> None:
    for generated, target, task, right in (
        (" colder", "cold", "antonym", True),
        (" COLD", "cold", "antonym", True),
        (" COLD", "cold", "Lowercase_first_letter", False),  # the name of the task in any case
        (" Cold", "cold", "capitalize", False),
        (" col", "cold", "antonym", False),
        (" St. Lucia", "Saint Lucia", "landmark-country", True),
        (" Saint John's", "St. John's", "country-capital", True),
        (" Georgia", "Georgia (country)", "landmark-country", True),
        (" c (third letter)", "c", "next_item", True),
        (" cat", "c", "next_item", True),  # the looseness that the metric is kept for
        ("\n\n Praia\nQ:", "Praia ", "country-capital", True),
        (" a\nb", "a (b)\nb", "antonym", True),
    ):
        assert prefix_match(generated, target, task=task) is right, (generated, target)


ANSWERS = ("(a) yes", "(", "( b", "(Georgia)", " ", "", "\n", "()")
"""Of the first and of these the published code leaves nothing, and takes any text as right."""


@laws
@given(st.text(max_size=12), st.sampled_from(ANSWERS))
def test_an_answer_of_which_nothing_is_left_matches_itself_alone(generated: str, target: str) -> None:
    made = generated.strip()
    right = made.lower().startswith(target.strip()) if target.strip() else not made
    assert prefix_match(generated, target, task="antonym") is right
    assert prefix_match(target, target, task="antonym")
    assert exact_match(generated, [target]) is (first_lines(generated) == target.strip())


@laws
@given(st.lists(words, min_size=1, max_size=4), st.lists(words, max_size=2))
def test_an_answer_of_several_lines_is_compared_with_as_many_lines(lines: list[str], rest: list[str]) -> None:
    answer = "\n".join(lines)
    generated = " " + "\n".join([*lines, *rest])
    assert exact_match(generated, [answer])
    assert prefix_match(generated, answer, task="capitalize")
    assert not exact_match(generated, [f"{answer}\n\nmore"])
    assert not prefix_match(" " + "\n".join(lines), f"{answer}\nmore", task="capitalize")
