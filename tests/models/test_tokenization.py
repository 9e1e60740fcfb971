"""Tokenization under one explicit policy about BOS."""

from types import SimpleNamespace

import pytest
import torch

import site_lens as sl
from site_lens.activations.model_checks import PROMPTS
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch, left_mask, left_positions
from site_lens.models.tokenization import Encoder
from tests.conftest import Models


def test_an_answer_is_the_tokens_that_follow_its_prompt(demo: LensModel) -> None:
    prompts, answers = ["Q: hot\nA:", "Q: big\nA:", "Q: hot\nA:"], [" cold", " small", " red"]
    ids, tokens, merged = demo.encoder.encode_answers(prompts, answers)
    assert ids == demo.encoder.encode(prompts)
    for row, new, prompt, answer in zip(ids, tokens, prompts, answers, strict=True):
        assert [row + new] == demo.encoder.encode([prompt + answer])
    assert merged == 0
    # "A" and "A:" are different tokens: the prompt is no prefix of prompt + answer.
    assert demo.encoder.encode_answers(["Q: hot\nA"], [": cold"])[2] == 1
    with pytest.raises(sl.InputError, match="adds no token"):
        demo.encoder.encode_answers(["Q: hot\nA:"], [""])


def test_a_prompt_longer_than_the_context_is_refused_not_cut(demo: LensModel) -> None:
    with pytest.raises(sl.InputError, match=r"exceed the model's context of \d+"):
        demo.encoder.encode(["Q: hot\nA: cold\n\n" * 600])
    prompt, answer = "Q: hot\nA:", " cold"
    tight = Encoder(demo.encoder.tokenizer, bos=None, n_ctx=len(demo.encoder.encode([prompt])[0]))
    tight.encode_answers([prompt], [answer])
    with pytest.raises(sl.InputError):
        tight.encode([prompt], room=1)
    with pytest.raises(sl.InputError):
        tight.encode_answers([prompt], [answer], whole=True)


def test_masks_come_from_lengths_even_when_padding_is_also_a_real_token() -> None:
    batch = Batch.of([[2, 2, 7], [2]], pad=2, device=torch.device("cpu"))
    assert left_mask(batch.lengths, 3).tolist() == [[1, 1, 1], [0, 0, 1]]
    assert left_positions(batch.lengths, 3).tolist() == [[0, 1, 2], [0, 0, 0]]


def test_prompts_begin_with_bos_if_and_only_if_asked(hosted: Models) -> None:
    for case in ("bridge demo", "bridge gpt2"):
        for bos in (True, False):
            model = sl.wrap_model(hosted(case).host, bos=bos)
            assert model.identity.bos is bos
            ids = model.encoder.encode(PROMPTS)
            assert [row.count(model.encoder.tokenizer.bos_token_id) for row in ids] == [int(bos)] * 3
    with pytest.raises(sl.InputError, match="has no BOS token"):
        Encoder(SimpleNamespace(bos_token_id=None), bos=True, n_ctx=8)
