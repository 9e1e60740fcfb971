"""Text to token ids under an explicit BOS policy, and back."""

from collections.abc import Sequence
from typing import Any

from site_lens.core.digests import digest_json
from site_lens.core.errors import InputError
from site_lens.models.context import Context

PROBE_TEXT = "Q: hot\nA: cold 12, l'été\n\nQ:"
"""What a tokenizer makes of this text stands for the tokenizer in records."""


class Encoder:
    """A tokenizer whose special tokens are added here, never by the library underneath.

    Args:
        tokenizer: A Hugging Face tokenizer.
        bos: Whether prompts begin with BOS; what the tokenizer itself does when None.
        n_ctx: Longest sequence that the model takes, in tokens; a `Context` says why, too.

    Raises:
        InputError: BOS is asked for and the tokenizer has none.
    """

    def __init__(self, tokenizer: Any, *, bos: bool | None, n_ctx: int | Context) -> None:
        self.tokenizer = tokenizer
        self.context = n_ctx if isinstance(n_ctx, Context) else Context(n_ctx)
        self.n_ctx = self.context.n_ctx
        if bos is None:
            own = tokenizer("a").input_ids
            bos = bool(own) and tokenizer.bos_token_id is not None and own[0] == tokenizer.bos_token_id
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
        return [i for i in range(len(self.tokenizer)) if i not in special]

    @property
    def digest(self) -> str:
        """Digest of what the tokenizer makes of a probe text."""
        return digest_json([self._ids([PROBE_TEXT])[0], len(self.tokenizer)])

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False).input_ids
        return [[*self.missing_begin(row), *row] for row in ids]

    def encode(self, texts: Sequence[str], *, room: int = 0) -> list[list[int]]:
        """Tokenise prompts, BOS included where the policy says so.

        Args:
            texts: The prompts.
            room: Tokens that must still fit behind each prompt.

        Raises:
            InputError: A prompt is empty or longer than the context; nothing is ever cut off silently.
        """
        ids = self._ids(texts)
        for text, row in zip(texts, ids, strict=True):
            if not row:
                raise InputError(f"the prompt {text!r} has no tokens")
            self.refuse_longer(len(row), room=room, text=f": {text[:60]!r}...")
        return ids

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

    def answers(self, prompts: Sequence[str], answers: Sequence[str]) -> tuple[list[list[int]], int]:
        """Tokenise answers as they continue their prompts.

        Returns:
            The tokens of prompt + answer past the length of tokens(prompt), and how many prompts were not a prefix
            of prompt + answer, because a token spans the boundary. Those answers are approximate, as in the
            published code.

        Raises:
            InputError: An answer adds no token.
        """
        alone = self._ids(prompts)
        joined = self._ids([prompt + answer for prompt, answer in zip(prompts, answers, strict=True)])
        found = [both[len(prompt) :] for prompt, both in zip(alone, joined, strict=True)]
        for answer, tokens in zip(answers, found, strict=True):
            if not tokens:
                raise InputError(
                    f"the answer {answer!r} adds no token of its own to its prompt under this tokenizer; if it is a "
                    "number, try a template without the digit rule"
                )
        merged = sum(both[: len(prompt)] != prompt for prompt, both in zip(alone, joined, strict=True))
        return found, merged

    def decode(self, ids: Sequence[int]) -> str:
        """Turn token ids back into text, special tokens left out."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def texts(self, ids: Sequence[int]) -> list[str]:
        """Turn each token id into its own text, special tokens included."""
        return [str(self.tokenizer.decode([one])) for one in ids]
