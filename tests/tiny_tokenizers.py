"""Small tokenizers of the classes that released models have, trained on words of the demo tasks, with chat templates.

The chat templates are those of the instruct models, without tools and images.
"""

import json
from functools import cache
from typing import Any

import site_lens as sl
from site_lens.activations.model_checks import PROMPTS
from site_lens.records.assets import DEMO_MODEL
from tests.real_configs import TokenizerKind

N_TOKENS = 600
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"-_()[]<>|/\n▁"

LLAMA_3_CHAT = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}
{{- 'Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n' }}
{{- system_message + '<|eot_id|>' }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""
"""Llama 3.1: BOS, always a system turn, contents trimmed."""

MISTRAL_CHAT = """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message['role'] == 'user' %}
        {%- if loop.last and system_message is defined %}
            {{- '[INST] ' + system_message + '\n\n' + message['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'] + '[/INST]' }}
        {%- endif %}
    {%- else %}
        {{- ' ' + message['content'] | trim + eos_token }}
    {%- endif %}
{%- endfor %}"""
"""Mistral v0.3: a space before the assistant's words, no turn to generate in; a system message joins the last turn."""

QWEN_3_CHAT = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == 'user' and ns.last_query_index == messages|length - 1 %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {%- if loop.index0 > ns.last_query_index and loop.last %}
            {{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' + message.content.lstrip('\n') }}
        {%- else %}
            {{- '<|im_start|>assistant\n' + message.content }}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}"""
"""Qwen 3: no BOS; the last answer opens with a block of thoughts, earlier ones do not."""

GEMMA_3_CHAT = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = '' -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else '') }}
    {{- message['content'] | trim }}{{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\n' }}
{%- endif -%}"""
"""Gemma 3: a system message opens the first user turn."""

LLAMA_2_CHAT = """{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {{- bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'].strip() + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}"""
"""Llama 2: BOS before every turn of the user."""

ZEPHYR_CHAT = """{% for message in messages %}
{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token }}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
"""Zephyr and TinyLlama: no BOS, no special tokens around roles."""

CHATS = {
    "llama3": LLAMA_3_CHAT, "mistral": MISTRAL_CHAT, "qwen3": QWEN_3_CHAT, "gemma3": GEMMA_3_CHAT,
    "llama2": LLAMA_2_CHAT, "zephyr": ZEPHYR_CHAT,
}  # fmt: skip


def tiny_tokenizer(kind: TokenizerKind) -> Any:
    """Build a small tokenizer.

    Args:
        kind: "gpt2": byte-level, knows BOS and does not add it. "opt": the same, adding it. "llama3": byte-level, adds
            BOS by a post-processor. "mistral" and "gemma": of sentencepiece's kind, words marked by a leading space,
            add BOS. "qwen": byte-level, without any BOS. "demo": the demo model's.
    """
    import transformers

    if kind == "demo":
        return transformers.AutoTokenizer.from_pretrained(DEMO_MODEL)
    if kind in ("gpt2", "opt"):
        vocab, merges = _trained("bytes", ("<|endoftext|>",))
        return transformers.GPT2Tokenizer(vocab=vocab, merges=merges, add_bos_token=kind == "opt")
    if kind == "qwen":
        vocab, merges = _trained("bytes", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
        marks = ["<|im_start|>", "<|im_end|>"]
        tokenizer = transformers.Qwen2Tokenizer(vocab=vocab, merges=merges, additional_special_tokens=marks)
        tokenizer.chat_template = QWEN_3_CHAT
        return tokenizer
    if kind == "mistral":
        vocab, merges = _trained("words", ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"))
        marks = ["[INST]", "[/INST]"]
        tokenizer = transformers.LlamaTokenizer(
            vocab=vocab, merges=merges, add_bos_token=True, additional_special_tokens=marks
        )
        tokenizer.chat_template = MISTRAL_CHAT
        return tokenizer
    if kind == "gemma":
        vocab, merges = _trained("words", ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"))
        marks = ["<start_of_turn>", "<end_of_turn>"]
        tokenizer = transformers.GemmaTokenizer(
            vocab=vocab, merges=merges, add_bos_token=True, additional_special_tokens=marks
        )
        tokenizer.chat_template = GEMMA_3_CHAT
        return tokenizer
    return _llama_3()


def _llama_3() -> Any:
    import transformers
    from tokenizers.processors import TemplateProcessing

    marks = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    vocab, merges = _trained("bytes", ("<|begin_of_text|>", "<|end_of_text|>", *marks))
    inner = transformers.GPT2Tokenizer(vocab=vocab, merges=merges).backend_tokenizer
    begin = "<|begin_of_text|>"
    inner.post_processor = TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, vocab[begin])]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=begin, eos_token="<|end_of_text|>", additional_special_tokens=list(marks)
    )
    tokenizer.chat_template = LLAMA_3_CHAT
    return tokenizer


@cache
def _trained(how: str, special: tuple[str, ...]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Train a vocabulary and its merges; always the same for the same arguments."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tasks = sl.load_tasks("demo", ["antonym", "english-french", "choose_last_of_3", "country-capital"]).values()
    texts = [*PROMPTS, *(sl.PromptTemplate().render(task.train[:5], task.test[0]).text for task in tasks)]
    tokenizer = Tokenizer(models.BPE())
    if how == "bytes":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Metaspace(prepend_scheme="first")]
        )
        alphabet = list(LETTERS)
    trainer = trainers.BpeTrainer(
        vocab_size=N_TOKENS, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(one, other) for one, other in model["merges"]]
