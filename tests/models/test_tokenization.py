"""Tokens are made here, under one explicit policy."""

import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch, left_mask, left_positions
from site_lens.models.tokenization import Encoder


def test_an_answer_is_the_tokens_that_follow_its_prompt(demo: LensModel) -> None:
    answers, merged = demo.encoder.answers(["Q: hot\nA:"], [" cold"])
    both = demo.encoder.encode(["Q: hot\nA: cold"])[0]
    assert demo.encoder.encode(["Q: hot\nA:"])[0] + answers[0] == both
    assert merged == 0


def test_a_token_across_the_end_of_the_prompt_is_counted(demo: LensModel) -> None:
    # "A" and "A:" are different tokens: the prompt is no prefix of prompt + answer.
    _, merged = demo.encoder.answers(["Q: hot\nA"], [": cold"])
    assert merged == 1


def test_an_answer_without_tokens_is_refused(demo: LensModel) -> None:
    with pytest.raises(sl.InputError, match="adds no token"):
        demo.encoder.answers(["Q: hot\nA:"], [""])


def test_a_prompt_longer_than_the_context_is_refused_not_cut(demo: LensModel) -> None:
    with pytest.raises(sl.InputError, match=r"exceed the model's context of \d+"):
        demo.encoder.encode(["Q: hot\nA: cold\n\n" * 600])
    n = len(demo.encoder.encode(["Q: hot\nA:"])[0])
    tight = Encoder(demo.encoder.tokenizer, bos=None, n_ctx=n)
    tight.encode(["Q: hot\nA:"])
    with pytest.raises(sl.InputError, match="and 1 to follow exceed"):
        tight.encode(["Q: hot\nA:"], room=1)


def test_masks_come_from_lengths_even_when_padding_is_also_a_real_token() -> None:
    import torch

    batch = Batch.of([[2, 2, 7], [2]], pad=2, device=torch.device("cpu"))
    assert left_mask(batch.lengths, 3).tolist() == [[1, 1, 1], [0, 0, 1]]
    assert left_positions(batch.lengths, 3).tolist() == [[0, 1, 2], [0, 0, 0]]


def test_asking_for_bos_without_one_is_refused(demo: LensModel) -> None:
    class NoBos:
        bos_token_id = None

    with pytest.raises(sl.InputError, match="has no BOS token"):
        Encoder(NoBos(), bos=True, n_ctx=8)
