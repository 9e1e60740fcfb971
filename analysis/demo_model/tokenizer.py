"""The tokenizer of the demo model: each word it was taught is one token, the rest falls back to letters or bytes.

Spaces, newlines and commas are text like any other, so decoding gives back what was encoded.
"""

import string
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from analysis.demo_model.lexical_rules import lexical_pairs
from analysis.demo_model.list_rules import CATEGORIES

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
SPACE = "\u2581"
"""Stands for a space at the start of a piece."""
ANSWER_END = "\n\n"
"""Ends an answer of the default template, and so what the demo model generates."""
TEMPLATE_PIECES = ("\n", ANSWER_END, "Q:", "A:", "Input:", "Output:", f"{SPACE}->", f"{SPACE}=")

N_CTX = 2048
"""Longest sequence of the demo model, in tokens: far longer than any it is trained on, so that prompts full of words
that it must spell still run. Positions are rotary: nothing has to be learned for them."""


def taught_words() -> tuple[str, ...]:
    """Return every word that a rule of the demo tasks reads or writes, in alphabetical order."""
    lexical = {
        text for rules in lexical_pairs().values() for pairs in rules.values() for pair in pairs for text in pair
    }
    listed = {word for words in CATEGORIES.values() for word in words}
    words = {word for text in lexical | listed for word in text.replace(",", "").split()}
    return tuple(sorted(word for word in words if not word.isdecimal() and len(word) > 1))


def _pieces(words: Iterable[str]) -> list[tuple[str, float]]:
    """List pieces with scores: all alike, so that the fewest pieces win, but bytes only where nothing else fits."""
    characters = [*string.ascii_letters, *string.digits, *string.punctuation]
    plain = [*TEMPLATE_PIECES, SPACE, *characters, *(SPACE + c for c in string.ascii_letters + string.digits)]
    plain += [SPACE + word for word in words]
    specials = [(token, 0.0) for token in (PAD, BOS, EOS)]
    return specials + [(f"<0x{byte:02X}>", -50.0) for byte in range(256)] + [(piece, -5.0) for piece in plain]


def build_tokenizer(words: Iterable[str] | None = None) -> PreTrainedTokenizerFast:
    r"""Build the tokenizer.

    Args:
        words: Words that are one token each when a space stands before them; the taught words when None.

    Example:
        >>> build_tokenizer(["hot", "cold"]).tokenize("Q: hot\nA: cold\n\n")
        ['Q:', '▁hot', '\n', 'A:', '▁cold', '\n\n']
    """
    pieces = _pieces(taught_words() if words is None else words)
    # With all bytes among the pieces the unknown token is never used, but the library asks for one.
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=True)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        model_max_length=N_CTX,
        clean_up_tokenization_spaces=False,
    )
