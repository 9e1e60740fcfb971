"""Training the demo model: a small Llama, Muon and AdamW, batches of like length, everything counted in steps."""

import copy
import json
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from site_lens.demo.mixture import Kind, Mixture
from site_lens.demo.sequences import TrainingSequence
from site_lens.demo.tokenizer import ANSWER_END, N_CTX
from site_lens.demo.working_copy import BLOCKED, causal_mask, gradients_to, weights_to, working_copy

LOG_EVERY = 100
"""Steps that a row of the log stands for."""
COUNT_EVERY = 10
"""Steps of which one is counted for the right answers of the log."""
LOG_NAME = "training_log.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what a training run gives, apart from the machine's arithmetic."""

    n_steps: int = 4800
    seed: int = 0
    n_layers: int = 6
    d_model: int = 192
    d_mlp: int = 512
    n_heads: int = 8
    n_key_value_heads: int = 4
    batch: Mapping[Kind, int] = field(
        default_factory=lambda: {"short": 18, "medium": 14, "long": 8, "mapping": 9, "repeat": 6}
    )
    """Sequences of each kind a step."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    n_warmup: int = 150
    """Steps over which the learning rate rises."""
    final_rate: float = 0.03
    """Learning rate at the end, as a share of the highest."""
    early_share: float = 0.1
    """Share of the steps in which long lists give their place to mappings and repeats."""
    mixed_mask: bool = False
    """In half of the batches of rules, let queries attend to their own example alone."""


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Make an untrained model; its weights depend on the seed alone."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        num_key_value_heads=recipe.n_key_value_heads,
        head_dim=recipe.d_model // recipe.n_heads,
        max_position_embeddings=N_CTX,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_((2 * recipe.n_layers) ** -0.5)
    return model


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences padded on the right; a causal model never looks at the padding."""

    ids: Tensor
    weights: Tensor
    mask: Tensor
    """What is added to attention scores."""

    @classmethod
    def of(cls, sequences: Sequence[TrainingSequence], *, pad: int, mixed_mask: bool = False) -> "Batch":
        """Pad sequences to the longest."""
        n_tokens = max(len(sequence.ids) for sequence in sequences)

        def padded(rows: Iterator[Sequence[float]], fill: float) -> Tensor:
            return torch.tensor([[*row, *[fill] * (n_tokens - len(row))] for row in rows])

        mask = causal_mask(n_tokens, torch.device("cpu"))
        if mixed_mask:
            examples = padded((sequence.examples for sequence in sequences), -2)
            in_query = padded((sequence.in_query for sequence in sequences), False)
            mask = _query_mask(examples, in_query)
        ids = padded((sequence.ids for sequence in sequences), pad)
        return cls(ids, padded((sequence.weights for sequence in sequences), 0.0), mask)

    def to(self, device: torch.device) -> "Batch":
        """Move to a device."""
        return Batch(self.ids.to(device), self.weights.to(device), self.mask.to(device))


def _query_mask(examples: Tensor, in_query: Tensor) -> Tensor:
    """Let tokens of queries attend to their own example and BOS alone, so that the task enters behind the query."""
    same = (examples[:, :, None] == examples[:, None, :]) | (examples[:, None, :] == -1)
    n_tokens = examples.shape[1]
    causal = torch.ones(n_tokens, n_tokens).tril().bool()
    allowed = causal & (same | ~in_query.bool()[:, :, None])
    return torch.zeros(allowed.shape, dtype=torch.bfloat16).masked_fill(~allowed, BLOCKED)[:, None]


def answer_loss(copied: LlamaForCausalLM, batch: Batch, *, count: bool = False) -> tuple[Tensor, float]:
    """Sum the weighted loss over the tokens of a batch that have a weight.

    Args:
        copied: Working copy of the model.
        batch: The batch.
        count: Whether to count right tokens, which takes time.

    Returns:
        The sum, and the share of right tokens among those of the highest weight; 0 unless counted.
    """
    rows, columns = torch.nonzero(batch.weights[:, 1:], as_tuple=True)
    targets, weights = batch.ids[rows, columns + 1], batch.weights[rows, columns + 1]
    hidden = copied.model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).last_hidden_state
    logits = F.linear(hidden[rows, columns], copied.lm_head.weight).float()
    right = 0.0
    if count:
        right = (logits.argmax(-1) == targets)[weights == weights.max()].float().mean().item()
    return (F.cross_entropy(logits, targets, reduction="none") * weights).sum(), right


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings and norms."""
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.ndim == 2 and "embed" not in name and "lm_head" not in name]
    others = [weight for name, weight in named if weight.ndim != 2 or "embed" in name]
    rate = rate_at(0, recipe)
    return [
        torch.optim.Muon(
            matrices, lr=rate, weight_decay=recipe.weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate_at(step: int, recipe: Recipe) -> float:
    """Learning rate of a step: a linear rise, then a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.n_steps))
    rise = min(1.0, (step + 1) / recipe.n_warmup)
    return recipe.learning_rate * rise * (recipe.final_rate + (1 - recipe.final_rate) * cosine)


def batches_of_step(step: int, recipe: Recipe, mixture: Mixture, rng: random.Random) -> dict[Kind, Batch]:
    """Draw the batches of a step, one of each kind."""
    counts = dict(recipe.batch)
    if step < recipe.early_share * recipe.n_steps:
        freed = counts.pop("long", 0)
        counts["mapping"] = counts.get("mapping", 0) + freed
        counts["repeat"] = counts.get("repeat", 0) + freed // 2
    found: dict[Kind, Batch] = {}
    for kind, count in counts.items():
        restricted = recipe.mixed_mask and kind != "repeat" and rng.random() < 0.5
        drawn = [mixture.draw(kind, rng) for _ in range(count)]
        found[kind] = Batch.of(drawn, pad=mixture.tokenizer.pad_token_id, mixed_mask=restricted)
    return found


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a folder in Hugging Face's format with weights in float16; generation stops at the end of an answer."""
    written = copy.deepcopy(model).to(torch.float16)
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(ANSWER_END)]
    written.generation_config.eos_token_id = ends
    written.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@dataclass(slots=True)
class _Means:
    """Running means of the log, by name."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.counts[name] = self.counts.get(name, 0) + 1

    def row(self) -> dict[str, float]:
        return {name: round(value / self.counts[name], 4) for name, value in self.sums.items()}


def train(
    recipe: Recipe, mixture: Mixture, *, folder: Path | None = None, device: str = "cpu", save_every: int = 500
) -> tuple[LlamaForCausalLM, list[dict[str, float]]]:
    """Train a model.

    Args:
        recipe: What to do.
        mixture: What to train on.
        folder: Where the model and its log go; nowhere when None.
        device: Where to train.
        save_every: Steps between two checkpoints, each overwriting the one before.

    Returns:
        The model and the rows of its log, each a mean over up to `LOG_EVERY` steps.
    """
    model = build_model(recipe, mixture.tokenizer).to(device)
    copied, steppers, rng = working_copy(model), optimizers(model, recipe), random.Random(recipe.seed)
    log: list[dict[str, float]] = []
    means, n_tokens, start = _Means(), 0, time.monotonic()
    for step in range(recipe.n_steps):
        batches = batches_of_step(step, recipe, mixture, rng)
        for stepper in steppers:
            for group in stepper.param_groups:
                group["lr"] = rate_at(step, recipe)
        _add_gradients(copied, {kind: batch.to(torch.device(device)) for kind, batch in batches.items()}, means)
        gradients_to(model, copied)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
        weights_to(copied, model)
        n_tokens += sum(batch.ids.numel() for batch in batches.values())
        done = step + 1
        if done % LOG_EVERY == 0 or done == recipe.n_steps:
            seconds = round(time.monotonic() - start)
            log.append({"step": done, "seconds": seconds, "thousand_tokens": n_tokens // 1000} | means.row())
            means = _Means()
            if folder is not None:
                write_log(recipe, log, folder)
        if folder is not None and (done % save_every == 0 or done == recipe.n_steps):
            save(model, mixture.tokenizer, folder)
    return model, log


def _add_gradients(copied: LlamaForCausalLM, batches: Mapping[Kind, Batch], means: _Means) -> None:
    total = sum(float(batch.weights.sum()) for batch in batches.values())
    count = means.counts.get("loss_short", 0) % COUNT_EVERY == 0
    for kind, batch in batches.items():
        loss, right = answer_loss(copied, batch, count=count)
        torch.autograd.backward(loss / total)
        means.add(f"loss_{kind}", loss.item() / float(batch.weights.sum()))
        if count:
            means.add(f"right_{kind}", right)


def write_log(recipe: Recipe, log: Sequence[Mapping[str, float]], folder: Path) -> None:
    """Write the recipe and the log so far, one JSON object a line."""
    lines = [json.dumps({"recipe": asdict(recipe)}), *map(json.dumps, log)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOG_NAME).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
