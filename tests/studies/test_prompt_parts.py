"""Every token of a few-shot prompt belongs to one part, and to the right one."""

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.records.hashing import seed_stream
from site_lens.studies.head_profiles.prompt_parts import part_tokens, parted_prompts, prompt_pieces
from tests.planted import TEMPLATE, planted_tasks

SHOTS = (sl.Example("hot", ("cold",)), sl.Example("big", ("12",)))
QUERY = sl.Example("old", ("new",))
TEMPLATES = (
    sl.PromptTemplate(),
    sl.PromptTemplate(instruction="Say it.\n", space_before_output=False),
    sl.PromptTemplate(input_prefix="", output_prefix="", input_separator=" -> ", output_separator="\n"),
    TEMPLATE,
)


def test_pieces_are_the_rendered_prompt() -> None:
    for template in TEMPLATES:
        for shots in ((), SHOTS):
            pieces = prompt_pieces(template, shots, QUERY)
            assert "".join(text for _, text in pieces) == template.render(shots, QUERY).text
            assert "".join(text for part, text in pieces if part == "query").strip() == "old"


def test_tokens_are_those_of_the_prompt_and_parts_hold_their_words(demo: LensModel) -> None:
    prompt = part_tokens(demo.encoder, prompt_pieces(sl.PromptTemplate(), SHOTS, QUERY))
    assert [prompt.ids] == demo.encoder.encode([sl.PromptTemplate().render(SHOTS, QUERY).text])
    assert prompt.parts.count("begin") == len(demo.encoder.begin)
    assert prompt.parts[-1] == "frame"
    for name, words in (("input", ["hot", "big"]), ("query", ["old"]), ("answer", ["cold12"])):
        tokens = [token for token, part in zip(prompt.ids, prompt.parts, strict=True) if part == name]
        text = demo.encoder.decode(tokens).split()
        assert (["".join(text)] if name == "answer" else text) == words, name


def test_a_token_across_a_boundary_belongs_to_the_word_in_it(planted: LensModel) -> None:
    # Words and the colon behind them are one token here.
    shots = (sl.Example("u3", ("a",)), sl.Example("u8", ("b",)))
    found = part_tokens(planted.encoder, prompt_pieces(TEMPLATE, shots, sl.Example("u5", ("a",))))
    assert planted.encoder.texts(found.ids) == ["Q", "u3:", "a", "Q", "u8:", "b", "Q", "u5:"]
    assert found.parts == ("frame", "input", "answer", "frame", "input", "answer", "frame", "query")


def test_the_query_is_never_shown_and_draws_follow_the_stream(planted: LensModel) -> None:
    task = planted_tasks()["direct_u"]
    queries = [*task.train[:3], *task.test]
    made = [
        parted_prompts(planted.encoder, task, queries, TEMPLATE, n_shots=8, stream=seed_stream(0, "parts"))
        for _ in range(2)
    ]
    assert made[0] == made[1]
    for query, prompt in zip(queries, made[0], strict=True):
        words = planted.encoder.texts(prompt.ids)
        assert words.count(f"{query.input}:") == 1
        assert prompt.parts.count("answer") == prompt.parts.count("input") == 8
