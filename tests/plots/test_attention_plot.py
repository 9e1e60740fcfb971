"""The rows of an attention figure are the attention of the last token, head by head."""

import numpy as np
import pytest

import site_lens as sl
from tests.fakes import fake_attention


@pytest.mark.parametrize("prompt", [0, 1, -1])
def test_rows_are_the_attention_of_the_last_token_of_the_prompt(prompt: int) -> None:
    sample = fake_attention("antonym")
    figure = sl.plots.attention(sample, prompt=prompt)
    expected = sample.pattern(prompt % len(sample.tokens))[:, -1]
    np.testing.assert_allclose(figure.data[0].z, expected)
    assert tuple(figure.data[0].y) == sample.heads
    assert len(figure.layout.xaxis.ticktext) == len(sample.tokens[prompt])
    assert f"{sample.n_shots[prompt]} demonstrations" in figure.layout.title.subtitle.text


def test_line_breaks_are_visible_and_tokens_are_escaped() -> None:
    tokens = ("Q:", " <b>", "\n\n", " ")
    sample = fake_attention("antonym", tokens=(tokens,), n_shots=(0,), patterns=np.zeros((1, 2, 4, 4)))
    assert sl.plots.attention(sample).layout.xaxis.ticktext == ("Q:", "&lt;b&gt;", "⏎⏎", "␣")


def test_a_prompt_that_is_not_there_is_refused() -> None:
    with pytest.raises(sl.InputError, match="no prompt 7"):
        sl.plots.attention(fake_attention("antonym"), prompt=7)
