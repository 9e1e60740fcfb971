"""Training the demo model: a small Llama, Muon and AdamW, batches of like length, everything counted in steps."""

import copy
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from analysis.demo_model.batches import Batch, batches_of_step
from analysis.demo_model.mixture import Kind, Mixture
from analysis.demo_model.recipe import Recipe, rate_at
from analysis.demo_model.tokenizer import ANSWER_END, N_CTX
from analysis.demo_model.working_copy import gradients_to, weights_to, working_copy

LOG_EVERY = 100
"""Steps that a row of the log stands for."""
STATE_NAME = "training_state.pt"
COUNT_EVERY = 10
"""Steps of which one is counted for the right answers of the log."""
LOG_NAME = "training_log.jsonl"


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
        head_dim=recipe.d_head,
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


class Run:
    """A training run between two steps, which can be written to a file and taken up again.

    Args:
        recipe: What to do.
        mixture: What to train on.
        device: Where to train.
    """

    def __init__(self, recipe: Recipe, mixture: Mixture, *, device: str = "cpu") -> None:
        self.recipe, self.mixture, self.device = recipe, mixture, torch.device(device)
        self.model = build_model(recipe, mixture.tokenizer).to(self.device)
        self.steppers = optimizers(self.model, recipe)
        self.log: list[dict[str, float]] = []
        self._copied = working_copy(self.model)
        self._rng = random.Random(recipe.seed)
        self._means = _Means()
        self._counts = {"step": 0, "seconds": 0.0, "tokens": 0}

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self._counts["step"])

    def advance(self) -> None:
        """Do one step."""
        start = time.monotonic()
        batches = batches_of_step(self.step, self.recipe, self.mixture, self._rng)
        for stepper in self.steppers:
            for group in stepper.param_groups:
                group["lr"] = rate_at(self.step, self.recipe)
        _add_gradients(self._copied, {kind: batch.to(self.device) for kind, batch in batches.items()}, self._means)
        gradients_to(self.model, self._copied)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for stepper in self.steppers:
            stepper.step()
        weights_to(self._copied, self.model)
        self._counts["step"] += 1
        self._counts["tokens"] += sum(batch.ids.numel() for batch in batches.values())
        self._counts["seconds"] += time.monotonic() - start
        if self.step % LOG_EVERY == 0 or self.step == self.recipe.n_steps:
            counted = {"seconds": round(self._counts["seconds"]), "thousand_tokens": self._counts["tokens"] // 1000}
            self.log.append({"step": self.step} | counted | self._means.row())
            self._means = _Means()

    def keep(self, path: Path) -> None:
        """Write everything that the next steps depend on."""
        state = {
            "weights": self.model.state_dict(),
            "steppers": [stepper.state_dict() for stepper in self.steppers],
            "rng": self._rng.getstate(),
            "counts": self._counts,
            "means": asdict(self._means),
            "log": self.log,
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def take_up(self, path: Path) -> None:
        """Go on from what `keep` wrote."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["weights"])
        for stepper, kept in zip(self.steppers, state["steppers"], strict=True):
            stepper.load_state_dict(kept)
        version, inner, gauss = state["rng"]
        self._rng.setstate((version, tuple(inner), gauss))
        self._counts, self._means, self.log = state["counts"], _Means(**state["means"]), state["log"]
        weights_to(self._copied, self.model)


def train(run: Run, *, folder: Path | None = None, keep_every: int = 100) -> None:
    """Do the steps that are left of a run.

    Args:
        run: The run.
        folder: Where the model, its log and the state of the run go; nowhere when None.
        keep_every: Steps between two writes of the state and the model.
    """
    while run.step < run.recipe.n_steps:
        run.advance()
        if folder is not None and (run.step % keep_every == 0 or run.step == run.recipe.n_steps):
            save(run.model, run.mixture.tokenizer, folder)
            write_log(run.recipe, run.log, folder)
            run.keep(folder / STATE_NAME)


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
