from analysis.demo_model.tokenizer import SPACE, build_tokenizer, taught_words


def test_every_taught_word_behind_a_space_is_one_token() -> None:
    tokenizer = build_tokenizer()
    assert [word for word in taught_words() if tokenizer.tokenize(f" {word}") != [f"{SPACE}{word}"]] == []
