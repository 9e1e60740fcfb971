"""Chat templates become prompt templates that make the same texts, with exactly one BOS."""

from types import SimpleNamespace
from typing import Any

from tokenizers.processors import TemplateProcessing

import site_lens as sl
from site_lens.models.chat_template import chat_template
from site_lens.models.tokenization import Encoder
from site_lens.studies.head_profiles.prompt_parts import part_tokens, prompt_pieces
from tests.tiny_tokenizers import CHATS, tiny_tokenizer

SHOTS = [sl.Example("left", ("right",)), sl.Example("wet", ("dry",)), sl.Example("on", ("off",))]
QUERY = sl.Example("up", ("down", "below"))
WITH_BOS = {"llama3": True, "mistral": True, "gemma3": True, "llama2": True, "qwen3": False, "zephyr": False}
"""Whether a chat template writes BOS itself."""


def talking(chat: str, *, bos: bool | None = None, adds_bos: bool = True) -> Any:
    """Return a model whose tokenizer has one of the chat templates."""
    tokenizer = tiny_tokenizer("mistral")
    tokenizer.chat_template = CHATS[chat]
    if not adds_bos:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    return SimpleNamespace(encoder=Encoder(tokenizer, bos=bos, n_ctx=2048))


def turns(shots: list[sl.Example], system: str | None = None) -> list[dict[str, str]]:
    said = [] if system is None else [{"role": "system", "content": system}]
    for shot in shots:
        said += [{"role": "user", "content": shot.input}, {"role": "assistant", "content": shot.output}]
    return [*said, {"role": "user", "content": QUERY.input}]


def own_text(model: Any, shots: list[sl.Example], system: str | None = None, **options: Any) -> str:
    """What the tokenizer itself makes of the conversation."""
    said = turns(shots, system)
    text: str = model.encoder.tokenizer.apply_chat_template(
        said, tokenize=False, add_generation_prompt=True, enable_thinking=False, **options
    )
    return text


def test_prompts_are_the_texts_and_tokens_that_the_chat_template_makes_of_the_turns() -> None:
    for chat in CHATS:
        model = talking(chat)
        template = chat_template(model)
        for n_shots in (0, 3):
            assert template.render(SHOTS[:n_shots], QUERY).text == own_text(model, SHOTS[:n_shots]), (chat, n_shots)
        (ids,) = model.encoder.encode([template.render(SHOTS, QUERY).text])
        parted = part_tokens(model.encoder, prompt_pieces(template, SHOTS, QUERY))
        assert parted.ids == ids
        assert {"frame", "input", "query", "answer"} <= set(parted.parts)
        if WITH_BOS[chat]:
            own = model.encoder.tokenizer.apply_chat_template(
                turns(SHOTS), add_generation_prompt=True, enable_thinking=False, return_dict=True
            )
            assert ids == own["input_ids"], chat


def test_a_model_may_be_let_think_before_it_answers() -> None:
    assert chat_template(talking("qwen3")).query_suffix == "<think>\n\n</think>\n\n"
    assert chat_template(talking("qwen3"), thinking=True).query_suffix == ""


def test_a_system_message_comes_where_the_chat_template_puts_it() -> None:
    for chat in CHATS.keys() - {"mistral", "llama2"}:
        model = talking(chat)
        prompt = chat_template(model, system="Answer in one word.").render(SHOTS, QUERY)
        assert prompt.text == own_text(model, SHOTS, "Answer in one word."), chat
        assert prompt.text.count("Answer in one word.") == 1


def test_there_is_exactly_one_bos_whoever_writes_it() -> None:
    for chat in CHATS:
        for bos in (None, True, False):
            for adds_bos in (True, False):
                model = talking(chat, bos=bos, adds_bos=adds_bos)
                (ids,) = model.encoder.encode([chat_template(model).render([], QUERY).text])
                policy = adds_bos if bos is None else bos
                n_bos = ids.count(model.encoder.tokenizer.bos_token_id)
                assert n_bos == int(policy or WITH_BOS[chat]), (chat, bos, adds_bos)


def test_the_last_prompt_token_is_the_one_before_the_answer() -> None:
    for chat in CHATS:
        model = talking(chat)
        prompt = chat_template(model).render(SHOTS, QUERY)
        ids, answers, merged = model.encoder.encode_answers([prompt.text] * 2, list(prompt.answers))
        assert merged == 0
        for row, answer, tokens in zip(ids, prompt.answers, answers, strict=True):
            assert row + tokens == model.encoder.encode([prompt.text + answer])[0], chat
            said = [*turns(SHOTS), {"role": "assistant", "content": answer.strip()}]
            whole = model.encoder.tokenizer.apply_chat_template(said, tokenize=False, enable_thinking=False)
            assert whole.startswith(prompt.text + answer), chat


def test_demonstrations_have_no_query_suffix() -> None:
    template = sl.PromptTemplate(query_suffix=" So:")
    assert template.render(SHOTS[:1], QUERY).text == "Q: left\nA: right\n\nQ: up\nA: So:"
    assert template.demonstration_text(SHOTS[0]) == "Q: left\nA: right\n\n"


def test_templates_without_a_query_suffix_keep_the_fields_and_so_the_digest_of_older_records() -> None:
    _, fields = sl.PromptTemplate().parts()
    assert set(fields) == set(sl.PromptTemplate.model_fields) - {"query_suffix"}
    assert sl.PromptTemplate(query_suffix="x").parts()[1] == fields | {"query_suffix": "x"}
