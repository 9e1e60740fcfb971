"""What the demo model can do: accuracy by number of shots, induction, and mappings it has never seen."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from site_lens.records.hashing import seed_stream
from site_lens.tasks.prompt_sampling import few_shot_prompts, sampled
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Example, Task

SHOTS = (0, 1, 2, 5, 10)
BATCH = 20
"""Prompts of a forward pass."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Exact match of whole answers of one task by number of shots, in [0, 1]."""

    task: str
    family: str
    accuracy: tuple[float, ...]
    """One a number of `SHOTS`."""
    chance: float
    """What a guess without an understanding of the task scores."""
    several_tokens: bool
    """Whether an answer is several tokens long."""


class Measurer:
    """Greedy answers of a model.

    Args:
        model: A model in Hugging Face's format, whose attention patterns can be read ("eager" attention).
        tokenizer: Its tokenizer, which adds BOS.
        template: How examples become text; as in training when None, where queries of digits kept their space.
    """

    def __init__(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, template: PromptTemplate | None = None
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.template = template or PromptTemplate(digit_rule=True)

    def curve(self, task: Task, *, n_queries: int = 100, seed: int = 0) -> Curve:
        """Measure a task on a sample of its test rows, with demonstrations from its train rows."""
        queries = sampled(task.test, n_queries)
        accuracy = []
        for n_shots in SHOTS:
            stream = seed_stream(seed, task.digest, "measurement", n_shots)
            prompts = few_shot_prompts(task, queries, self.template, n_shots=n_shots, stream=stream).prompts
            accuracy.append(float(self.exact(prompts).mean()))
        several = any(len(self._ids(self.template.answer_text(row.output))) > 1 for row in task.test)
        return Curve(task.name, task.family or "", tuple(accuracy), chance_level(task), several)

    @torch.no_grad()
    def exact(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """Tell for each prompt whether greedy decoding gives its whole answer and then ends it, shape (prompt)."""
        right = np.zeros(len(prompts), dtype=bool)
        before = [[self.tokenizer.bos_token_id, *self._ids(prompt.text)] for prompt in prompts]
        whole = [
            [self.tokenizer.bos_token_id, *self._ids(prompt.text + prompt.answer + self.template.output_separator)]
            for prompt in prompts
        ]
        order = sorted(range(len(prompts)), key=lambda i: len(whole[i]))
        for start in range(0, len(order), BATCH):
            group = order[start : start + BATCH]
            best = self._best([whole[i] for i in group])
            for row, i in enumerate(group):
                n_before, n_whole = len(before[i]), len(whole[i])
                right[i] = best[row, n_before - 1 : n_whole - 1].tolist() == whole[i][n_before:]
        return right

    def _best(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return the most probable next token behind every token; padding on the right changes nothing before it."""
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[self.tokenizer.pad_token_id] * (longest - len(row))] for row in rows])
        best: Tensor = self.model(input_ids=ids).logits.argmax(-1)
        return best

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return found

    def random_mapping(self, words: Sequence[str], *, n_pairs: int, n_shots: int, n_prompts: int = 400) -> float:
        """Measure the accuracy on fresh random pairs of words, the query being one of those shown.

        Args:
            words: Words to pair.
            n_pairs: Different pairs of a prompt.
            n_shots: Demonstrations, drawn from the pairs with replacement.
            n_prompts: Prompts to ask.
        """
        rng = random.Random(f"mapping {n_pairs} {n_shots}")
        prompts = []
        for _ in range(n_prompts):
            drawn = rng.sample(words, 2 * n_pairs)
            pairs = [Example(x, (y,)) for x, y in zip(drawn[:n_pairs], drawn[n_pairs:], strict=True)]
            shots = [rng.choice(pairs) for _ in range(n_shots)]
            prompts.append(self.template.render(shots, rng.choice(shots)))
        return float(self.exact(prompts).mean())


def induction_scores(bridge: Any, words: Sequence[str], *, n_words: int = 25, n_sequences: int = 10) -> np.ndarray:
    """Measure how much each head attends to what followed the same word before, on random words said four times over.

    Args:
        bridge: The model as a `TransformerBridge`.
        words: Words to draw from.
        n_words: Different words of a sequence.
        n_sequences: Sequences to average over.

    Returns:
        Share of a head's attention, that to BOS left out, which is that of an induction head, shape (layer, head);
        TransformerLens' `detect_head`.
    """
    from transformer_lens.head_detector import detect_head

    rng = random.Random("induction")
    texts = ["".join(f" {word}" for word in rng.sample(words, n_words)) * 4 for _ in range(n_sequences)]
    with torch.no_grad():
        found: np.ndarray = detect_head(bridge, texts, "induction_head", exclude_bos=True).numpy()
    return found


def chance_level(task: Task) -> float:
    """Return the better of two guesses: the commonest answer of train, and a random word of the input."""
    outputs = [row.output for row in task.train]
    commonest = max(set(outputs), key=lambda output: (outputs.count(output), output))
    constant = float(np.mean([row.output == commonest for row in task.test]))
    listed = [row.input.split(", ") for row in task.test]
    of_list = [words.count(row.output) / len(words) for words, row in zip(listed, task.test, strict=True)]
    return max(constant, float(np.mean(of_list)))
