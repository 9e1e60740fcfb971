"""Record of attention patterns, which are drawn without the model."""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from site_lens.models.identity import ModelIdentity
from site_lens.records.base import Axes, Count, Float32, Lengths, Record
from site_lens.records.collections import RecordSet
from site_lens.records.errors import InputError
from site_lens.records.lazy_pandas import pd


class AttentionSample(Record):
    """Attention patterns of some heads on some prompts of a task, without any edit."""

    kind: ClassVar[str] = "attention_sample"

    task: str
    model: ModelIdentity
    heads: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]
    """Tokens of each prompt as text, BOS included."""
    n_shots: tuple[Count, ...]
    """Demonstrations in each prompt."""
    patterns: Annotated[Float32, Axes(("prompt", "head", "query", "key"), 0, 1)]
    """(prompt head query key): attention after the softmax; 0 behind the end of a prompt."""

    lengths: ClassVar[Lengths] = {"tokens": "prompt", "n_shots": "prompt", "query": "key"}

    def pattern(self, prompt: int) -> Float32:
        """Return (head query key) of one prompt, as wide as the prompt; negative ones count from the last."""
        if not -len(self.tokens) <= prompt < len(self.tokens):
            raise InputError(f"there is no prompt {prompt} among {len(self.tokens)}")
        n = len(self.tokens[prompt])
        pattern: Float32 = self.patterns[prompt, :, :n, :n]
        return pattern

    def frame(self) -> "pd.DataFrame":
        """One row per prompt, head and key at the last token: task, prompt, n_shots, head, key, token, attention."""
        rows = [
            (self.task, i, self.n_shots[i], name, key, token, float(self.pattern(i)[h, -1, key]))
            for i, tokens in enumerate(self.tokens)
            for h, name in enumerate(self.heads)
            for key, token in enumerate(tokens)
        ]
        return pd.DataFrame(rows, columns=["task", "prompt", "n_shots", "head", "key", "token", "attention"])


class AttentionSamples(RecordSet[AttentionSample]):
    """Attention samples by task."""

    record_class: ClassVar[type[Record]] = AttentionSample

    def _keyed(self, records: list[AttentionSample]) -> Iterator[tuple[str, AttentionSample]]:
        return ((sample.task, sample) for sample in records)
