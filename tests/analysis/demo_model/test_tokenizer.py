import pytest
from transformers import PreTrainedTokenizerFast

from analysis.demo_model.tokenizer import SPACE, build_tokenizer, taught_words


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def pieces(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    return [piece.replace(SPACE, "_") for piece in tokenizer.tokenize(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Q: hot\nA: cold\n\n", ["Q:", "_hot", "\n", "A:", "_cold", "\n\n"]),
        ("Q: dog, cat\nA:", ["Q:", "_dog", ",", "_cat", "\n", "A:"]),
        ("A:5\n\n", ["A:", "5", "\n\n"]),
        ("Q: 42\nA: forty two", ["Q:", "_4", "2", "\n", "A:", "_forty", "_two"]),
        (" dog zzz", ["_dog", "_z", "z", "z"]),
        (" hot -> cold\n", ["_hot", "_->", "_cold", "\n"]),
        ("é", ["<0xC3>", "<0xA9>"]),
    ],
)
def test_texts_become_the_pieces_a_reader_expects(
    tokenizer: PreTrainedTokenizerFast, text: str, expected: list[str]
) -> None:
    assert pieces(tokenizer, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Q: hot\nA: cold\n\n",
        "Q: dog, cat, red\nA:5\n\nQ: x\nA:42\n\n",
        " two  spaces, and\n\n\nthree newlines ",
        "l'été à Zürich, 日本: 100 % <b>?",
    ],
)
def test_decoding_gives_back_the_text(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.pad_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_every_taught_word_behind_a_space_is_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    assert [word for word in taught_words() if pieces(tokenizer, f" {word}") != [f"_{word}"]] == []
