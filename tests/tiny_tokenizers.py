"""Small tokenizers of the classes that released models have, trained on words of the demo tasks."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import site_lens as sl
from site_lens.activations.model_checks import PROMPTS
from site_lens.records.assets import DEMO_MODEL
from tests.real_configs import TokenizerKind

N_TOKENS = 600
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"-_()[]<>|/\n▁"

CHATS = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "chat_templates").glob("*.jinja"))}
"""Chat templates of instruct models, without tools and images.

llama3: BOS, always a system turn, contents trimmed. mistral: a space before the assistant's words, no turn to generate
in; a system message joins the last turn. qwen3: no BOS; the last answer opens with a block of thoughts, earlier ones do
not. gemma3: a system message opens the first user turn. llama2: BOS before every turn of the user. zephyr, and
TinyLlama: no BOS, no special tokens around roles.
"""

KINDS: dict[str, tuple[str, str, tuple[str, ...], str | None]] = {
    "gpt2": ("GPT2Tokenizer", "bytes", ("<|endoftext|>",), None),
    "opt": ("GPT2Tokenizer", "bytes", ("<|endoftext|>",), None),
    "qwen": ("Qwen2Tokenizer", "bytes", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "qwen3"),
    "mistral": ("LlamaTokenizer", "words", ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"), "mistral"),
    "gemma": (
        "GemmaTokenizer", "words", ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"), "gemma3",
    ),
}  # fmt: skip
"""Class, training, special tokens and chat template by kind; the marks of turns are the last two special tokens."""


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
    if kind == "llama3":
        return _llama_3()
    name, how, special, chat = KINDS[kind]
    vocab, merges = _trained(how, special)
    options: dict[str, Any] = {} if kind == "qwen" else {"add_bos_token": kind != "gpt2"}
    if chat is not None:
        options |= {"additional_special_tokens": list(special[-2:])}
    tokenizer = getattr(transformers, name)(vocab=vocab, merges=merges, **options)
    if chat is not None:
        tokenizer.chat_template = CHATS[chat]
    return tokenizer


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
    tokenizer.chat_template = CHATS["llama3"]
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
