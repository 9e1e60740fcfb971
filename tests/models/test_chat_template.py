"""Chat templates become prompt templates that make the same texts, with exactly one BOS."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.models.chat_template import chat_template
from site_lens.models.tokenization import Encoder
from site_lens.studies.head_profiles.prompt_parts import part_tokens, prompt_pieces
from tests.real_configs import RELEASED
from tests.tiny_models import save_tiny
from tests.tiny_tokenizers import CHATS, tiny_tokenizer

SHOTS = [sl.Example("left", ("right",)), sl.Example("wet", ("dry",)), sl.Example("on", ("off",))]
QUERY = sl.Example("up", ("down", "below"))
WITH_BOS = {"llama3": True, "mistral": True, "gemma3": True, "llama2": True, "qwen3": False, "zephyr": False}
"""Whether a chat template writes BOS itself."""


class Talking:
    """A model that is asked for its tokenizer only."""

    def __init__(self, tokenizer: Any, *, bos: bool | None = None) -> None:
        self.encoder = Encoder(tokenizer, bos=bos, n_ctx=2048)


def talking(chat: str, *, bos: bool | None = None, adds_bos: bool = True) -> Any:
    """Return a model whose tokenizer has one of the chat templates."""
    tokenizer = tiny_tokenizer("mistral")
    tokenizer.chat_template = CHATS[chat]
    if not adds_bos:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    return Talking(tokenizer, bos=bos)


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


@pytest.mark.parametrize("n_shots", [0, 1, 3])
@pytest.mark.parametrize("chat", CHATS)
def test_prompts_are_what_the_chat_template_makes_of_the_turns(chat: str, n_shots: int) -> None:
    model = talking(chat)
    prompt = chat_template(model).render(SHOTS[:n_shots], QUERY)
    assert prompt.text == own_text(model, SHOTS[:n_shots])


def test_a_line_break_that_opens_answers_but_is_not_asked_for_stands_before_the_answer() -> None:
    model = talking("zephyr")
    tokenizer = model.encoder.tokenizer
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] ~ ':\n' ~ m['content'] ~ '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    )
    prompt = chat_template(model).render(SHOTS, QUERY)
    assert own_text(model, SHOTS).endswith("up\nassistant:")
    assert prompt.text == own_text(model, SHOTS) + "\n"


@pytest.mark.parametrize("chat", [chat for chat in CHATS if chat not in ("mistral", "llama2")])
def test_a_system_message_comes_where_the_chat_template_puts_it(chat: str) -> None:
    model = talking(chat)
    prompt = chat_template(model, system="Answer in one word.").render(SHOTS, QUERY)
    assert prompt.text == own_text(model, SHOTS, "Answer in one word.")
    assert prompt.text.count("Answer in one word.") == 1


def test_a_system_message_that_moves_with_the_query_is_refused() -> None:
    with pytest.raises(sl.InputError, match="cannot be said as prefixes and separators"):
        chat_template(talking("mistral"), system="Answer in one word.")


@pytest.mark.parametrize("adds_bos", [True, False])
@pytest.mark.parametrize("bos", [None, True, False])
@pytest.mark.parametrize("chat", CHATS)
def test_there_is_exactly_one_bos_whoever_writes_it(chat: str, bos: bool | None, adds_bos: bool) -> None:
    model = talking(chat, bos=bos, adds_bos=adds_bos)
    template = chat_template(model)
    (ids,) = model.encoder.encode([template.render([], QUERY).text])
    policy = adds_bos if bos is None else bos
    assert ids.count(model.encoder.tokenizer.bos_token_id) == int(policy or WITH_BOS[chat])


@pytest.mark.parametrize("chat", [chat for chat, has in WITH_BOS.items() if has])
def test_tokens_are_those_that_the_tokenizer_itself_makes_of_a_chat(chat: str) -> None:
    model = talking(chat)
    (ids,) = model.encoder.encode([chat_template(model).render(SHOTS, QUERY).text])
    own = model.encoder.tokenizer.apply_chat_template(
        turns(SHOTS), add_generation_prompt=True, enable_thinking=False, return_dict=True
    )
    assert ids == own["input_ids"]


@pytest.mark.parametrize("chat", CHATS)
def test_the_last_prompt_token_is_the_one_before_the_answer(chat: str) -> None:
    model = talking(chat)
    prompt = chat_template(model).render(SHOTS, QUERY)
    answers, merged = model.encoder.answers([prompt.text] * 2, list(prompt.answers))
    assert merged == 0
    for answer, tokens in zip(prompt.answers, answers, strict=True):
        joined = model.encoder.encode([prompt.text + answer])[0]
        assert model.encoder.encode([prompt.text])[0] + tokens == joined
        said = [*turns(SHOTS), {"role": "assistant", "content": answer.strip()}]
        whole = model.encoder.tokenizer.apply_chat_template(said, tokenize=False, enable_thinking=False)
        assert whole.startswith(prompt.text + answer)


def test_a_model_that_may_think_is_not_handed_a_closed_block_of_thoughts() -> None:
    model = talking("qwen3")
    assert chat_template(model).query_suffix == "<think>\n\n</think>\n\n"
    assert chat_template(model, thinking=True).query_suffix == ""


def test_demonstrations_have_no_query_suffix() -> None:
    template = sl.PromptTemplate(query_suffix=" So:")
    assert template.render(SHOTS[:1], QUERY).text == "Q: left\nA: right\n\nQ: up\nA: So:"
    assert template.demonstration_text(SHOTS[0]) == "Q: left\nA: right\n\n"


def test_templates_without_a_query_suffix_keep_the_fields_and_so_the_digest_of_older_records() -> None:
    _, fields = sl.PromptTemplate().parts()
    assert set(fields) == set(sl.PromptTemplate.model_fields) - {"query_suffix"}
    assert sl.PromptTemplate(query_suffix="x").parts()[1] == fields | {"query_suffix": "x"}


def test_a_tokenizer_without_a_chat_template_is_refused(demo: LensModel) -> None:
    with pytest.raises(sl.InputError, match="has no chat template; use a PromptTemplate"):
        chat_template(demo)


def test_a_chat_template_that_counts_turns_is_refused() -> None:
    model = talking("zephyr")
    model.encoder.tokenizer.chat_template = (
        "{% for m in messages %}{{ loop.index ~ m['role'] ~ ': ' ~ m['content'] ~ '\\n' }}{% endfor %}assistant: "
    )
    with pytest.raises(sl.InputError, match="cannot be said as prefixes and separators"):
        chat_template(model)


def test_a_chat_template_that_refuses_the_turns_is_refused_with_its_reason() -> None:
    model = talking("zephyr")
    model.encoder.tokenizer.chat_template = "{{ raise_exception('system role not supported') }}"
    with pytest.raises(sl.InputError, match="system role not supported"):
        chat_template(model)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ 'a' + 1 }}", "can only concatenate str"),
        ("{{ 1 // 0 }}", "division|modulo"),
        ({"short": "{{ messages }}", "long": "{{ messages }}"}, "no default"),
    ],
)
def test_a_chat_template_that_goes_wrong_by_itself_is_refused_with_its_reason(template: Any, says: str) -> None:
    model = talking("zephyr")
    model.encoder.tokenizer.chat_template = template
    with pytest.raises(sl.InputError, match=f"the chat template of this tokenizer refuses .*({says})"):
        chat_template(model)


@pytest.mark.parametrize("chat", CHATS)
def test_every_token_of_a_chat_belongs_to_a_part_of_the_prompt(chat: str) -> None:
    model = talking(chat)
    template = chat_template(model)
    parted = part_tokens(model.encoder, prompt_pieces(template, SHOTS, QUERY))
    assert parted.ids == model.encoder.encode([template.render(SHOTS, QUERY).text])[0]
    assert len(parted.parts) == len(parted.ids)
    assert {"frame", "input", "query", "answer"} <= set(parted.parts)


@pytest.mark.parametrize("name", ["Llama-3.1-8B", "Qwen3-8B", "gemma-3-4b"])
def test_chats_work_in_embeddings_fits_evaluation_and_records(
    name: str, tmp_path: Path, demo_tasks: dict[str, sl.Task], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = sl.load_model(save_tiny(name, tmp_path / "model", n_ctx=512), device="cpu")
    task = demo_tasks["antonym"]
    template = chat_template(model)
    fits = sl.fit_site(model, task, sl.SiteConfig(n_prompts=2, n_shots=2, n_steps=2), template=template)
    measured = sl.evaluate(model, {task.name: task}, fits, n_shots=2, max_queries=4)
    assert measured[task.name].template == template
    path = sl.save(fits["antonym"], tmp_path / "fit")
    assert sl.load(path, sl.SiteFit).template == template
    assert fits["antonym"].embedding.template == template


@pytest.mark.parametrize("name", [name for name, one in RELEASED.items() if one.tokenizer in ("llama3", "gemma")])
def test_the_support_card_counts_the_bos_of_chats(name: str, tiny: Callable[[str], LensModel]) -> None:
    class TwoBos(Encoder):
        def missing_begin(self, ids: Any) -> list[int]:
            return self.begin  # whether or not the text brings its own

    model = tiny(name)
    cards = []
    for encoder in (model.encoder, TwoBos(model.encoder.tokenizer, bos=True, n_ctx=model.encoder.n_ctx)):
        found = type(model)(model.host, encoder, model.identity)
        cards.append({check.code: (check.state, check.value) for check in sl.check_model(found, longest=100)})
    assert [card["bos"] for card in cards] == [("ok", 1), ("fail", 2)]
