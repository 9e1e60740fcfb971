"""Text to token ids under an explicit BOS policy, and back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from site_lens.models.context_length import Context
from site_lens.records.errors import InputError
from site_lens.records.hashing import digest_json
from site_lens.records.library_errors import translated_errors
from site_lens.records.wording import listed

PROBE_TEXT = "Q: hot\nA: cold 12, l'été\n\nQ:"
"""What a tokenizer makes of this text stands for the tokenizer in records."""


class Encoder:
    """A tokenizer whose special tokens are added here, never by the library underneath.

    Args:
        tokenizer: A Hugging Face tokenizer.
        bos: Whether prompts begin with BOS; what the tokenizer itself does when None.
        n_ctx: Longest sequence that the model takes, in tokens; a `Context` says why, too.
        n_tokens: Tokens that the model has an embedding for; any, when None.

    Raises:
        InputError: BOS is asked for and the tokenizer has none.
    """

    def __init__(self, tokenizer: Any, *, bos: bool | None, n_ctx: int | Context, n_tokens: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.context = n_ctx if isinstance(n_ctx, Context) else Context(n_ctx)
        self.n_ctx = self.context.n_ctx
        self.n_tokens = n_tokens
        if bos is None:
            bos = tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
        if bos and tokenizer.bos_token_id is None:
            raise InputError("bos=True, but this tokenizer has no BOS token; leave bos=None")
        self.bos = bos
        self.pad = 0
        """What stands in padded columns. Any token will do, since masks are made from lengths; the tokenizer's own may
        have no row in the model's embedding."""
        self.eos: int | None = tokenizer.eos_token_id

    @property
    def begin(self) -> list[int]:
        """Tokens that every prompt begins with: BOS, or nothing. Texts that begin with BOS get no second one."""
        return [self.tokenizer.bos_token_id] if self.bos else []

    def missing_begin(self, ids: Sequence[int]) -> list[int]:
        """Return what still has to stand before a text: nothing where it brings BOS, as chat templates do."""
        return [] if list(ids[:1]) == self.begin else self.begin

    @property
    def ordinary_tokens(self) -> list[int]:
        """Every token that is not a special one."""
        special = set(self.tokenizer.all_special_ids)
        return [i for i in range(self.vocabulary) if i not in special]

    @property
    def vocabulary(self) -> int:
        """Tokens that can be used: those of the tokenizer that the model has an embedding for."""
        return min(len(self.tokenizer), self.n_tokens or len(self.tokenizer))

    @property
    def digest(self) -> str:
        """Digest of what the tokenizer makes of a probe text."""
        return digest_json([self.ids([PROBE_TEXT])[0], len(self.tokenizer)])

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise texts of any length, BOS included where the policy says so.

        Raises:
            InputError: A token has no embedding.
        """
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False).input_ids
        return self._embedded([[*self.missing_begin(row), *row] for row in ids])

    def _embedded(self, rows: list[list[int]]) -> list[list[int]]:
        """Return tokens if the model has an embedding for each; raises InputError otherwise."""
        if self.n_tokens is not None:
            beyond = sorted({token for row in rows for token in row if token >= self.n_tokens})
            if beyond:
                raise _without_embedding(self.tokenizer.convert_ids_to_tokens(beyond), self.n_tokens)
        return rows

    def spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Tokenise a text of any length, without BOS, and say which characters every token stands for.

        Characters between two tokens belong to the second, since some tokenizers leave leading spaces out of a token.
        Tokens that are bytes of one character share it.

        Returns:
            Token ids, and the place of the first character of each and that behind its last one.

        Raises:
            InputError: The tokenizer does not say which characters its tokens stand for, or a token has no embedding.
        """
        if not getattr(self.tokenizer, "is_fast", False):
            raise InputError(
                f"a {type(self.tokenizer).__name__} does not say which characters its tokens stand for; use the fast "
                "tokenizer of this model"
            )
        tokens = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans, before = [], 0
        for start, end in tokens["offset_mapping"]:
            first = min(before, start)
            spans.append((first, max(end, first + 1)))
            before = max(before, end)
        return self._embedded([tokens["input_ids"]])[0], spans

    def encode(self, texts: Sequence[str], *, room: int = 0) -> list[list[int]]:
        """Tokenise prompts, BOS included where the policy says so.

        Args:
            texts: The prompts.
            room: Tokens that must still fit behind each prompt.

        Raises:
            InputError: A prompt is empty or longer than the context; nothing is ever cut off silently.
        """
        ids = self.ids(texts)
        self._refuse_unfit(dict(zip(texts, ids, strict=True)), room=room)
        return ids

    def _refuse_unfit(self, ids_of: Mapping[str, Sequence[int]], *, room: int) -> None:
        for text, row in ids_of.items():
            if not row:
                raise InputError(f"the prompt {text!r} has no tokens")
            self.refuse_longer(len(row), room=room, text=f": {text[:60]!r}...")

    def refuse_longer(self, n_tokens: int, *, room: int = 0, text: str = "") -> None:
        """Check that a prompt fits into the context.

        Args:
            n_tokens: Its tokens.
            room: Tokens that must still fit behind it.
            text: What to quote of it.

        Raises:
            InputError: It does not.
        """
        if n_tokens + room > self.n_ctx:
            why = f" ({self.context.why})" if self.context.why else ""
            raise InputError(
                f"a prompt of {n_tokens} tokens and {room} to follow exceed the model's context of {self.n_ctx}{why}"
                f"{text}; use fewer or shorter demonstrations"
            )

    def encode_answers(
        self, prompts: Sequence[str], answers: Sequence[str], *, whole: bool = False
    ) -> tuple[list[list[int]], list[list[int]], int]:
        """Tokenise prompts, and answers as they continue them.

        Args:
            prompts: The prompts.
            answers: One answer for each.
            whole: Whether the context must hold the longest answer behind each prompt.

        Returns:
            The tokens of the prompts, the tokens of prompt + answer past the length of tokens(prompt), and how many
            prompts were not a prefix of prompt + answer, because a token spans the boundary. Those answers are
            approximate, as in the published code.

        Raises:
            InputError: An answer adds no token, or a prompt is empty or longer than the context.
        """
        distinct = list(dict.fromkeys(prompts))
        by_text = dict(zip(distinct, self.ids(distinct), strict=True))
        ids = [by_text[prompt] for prompt in prompts]
        joined = self.ids([prompt + answer for prompt, answer in zip(prompts, answers, strict=True)])
        tokens = [both[len(prompt) :] for prompt, both in zip(ids, joined, strict=True)]
        for answer, row in zip(answers, tokens, strict=True):
            if not row:
                raise InputError(
                    f"the answer {answer!r} adds no token of its own to its prompt under this tokenizer; if it is a "
                    "number, try a template without the digit rule"
                )
        self._refuse_unfit(by_text, room=max(map(len, tokens), default=0) if whole else 0)
        merged = sum(both[: len(prompt)] != prompt for prompt, both in zip(ids, joined, strict=True))
        return ids, tokens, merged

    def decode(self, ids: Sequence[int]) -> str:
        """Turn token ids back into text, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def texts(self, ids: Sequence[int]) -> list[str]:
        """Turn each token id into its own text, special tokens included."""
        return [str(self.tokenizer.decode([token])) for token in ids]


def as_tokenizer(tokenizer: Any) -> Any:
    """Return a tokenizer; a name or folder is loaded.

    Raises:
        InputError: It is no tokenizer of transformers, and none can be loaded from it.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    if isinstance(tokenizer, PreTrainedTokenizerBase):
        return tokenizer
    if not isinstance(tokenizer, str | Path):
        raise InputError(
            f"tokenizer={type(tokenizer).__name__} is no tokenizer of transformers; of a processor pass .tokenizer, of "
            "a tokenizers.Tokenizer PreTrainedTokenizerFast(tokenizer_object=...)"
        )
    with translated_errors(lambda reason: InputError(f"cannot load a tokenizer from {str(tokenizer)!r}: {reason}")):
        return AutoTokenizer.from_pretrained(str(tokenizer), trust_remote_code=False)


def refuse_unfitting(tokenizer: Any, n_tokens: int) -> None:
    """Check that tokens which prompts can hold have an embedding, of which models may have more than tokens.

    Special tokens that have a part (padding, an image) stand in no prompt of text, and may be without: Gemma 3 1B has
    one such. If a prompt holds one all the same, the encoder refuses the prompt.

    Raises:
        InputError: Some have none: they were added to the tokenizer, and the model was not resized; or there are no
            tokens at all.
    """
    if not tokenizer(PROBE_TEXT).input_ids:
        raise InputError(f"this {type(tokenizer).__name__} makes no token of a text; it has no vocabulary")
    begins_and_ends = ("bos_token", "eos_token")
    parts = {v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str) and k not in begins_and_ends}
    beyond = [token for token, i in tokenizer.get_vocab().items() if i >= n_tokens and token not in parts]
    if beyond:
        raise _without_embedding(sorted(beyond), n_tokens)


def _without_embedding(tokens: Sequence[str], n_tokens: int) -> InputError:
    return InputError(
        f"the model has an embedding for {n_tokens} tokens, and none for {listed(map(repr, tokens), 3)} of "
        "the tokenizer; if they were added, call model.resize_token_embeddings(len(tokenizer)) and train them, or else "
        "give the model its own tokenizer"
    )
