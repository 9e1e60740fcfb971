"""Models and tasks that many tests share, built once a session; nothing is downloaded."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for the hub fails at once instead of retrying

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.core.assets import DEMO_MODEL
from site_lens.models.protocol import LensModel

SHARED = Path(__file__).parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def demo() -> LensModel:
    """The embedded demo model."""
    return sl.load_model("demo")


@pytest.fixture(scope="session")
def demo_tasks() -> dict[str, sl.Task]:
    """A handful of demo tasks of different families."""
    return sl.load_tasks("demo", ["antonym", "english-french", "choose_last_of_3", "country-capital"])


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Task files that are not part of the repository; see tests/SKIPS.md."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("no shared task files beside the repository")
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return folders of tiny random models by architecture, with the demo model's tokenizer."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_tiny(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Callable[[str], Path]) -> Callable[[str], LensModel]:
    """Return tiny random models by architecture."""
    made: dict[str, LensModel] = {}

    def model(kind: str) -> LensModel:
        if kind not in made:
            made[kind] = sl.load_model(tiny_folder(kind), dtype="float32", device="cpu")
        return made[kind]

    return model


def save_tiny(kind: str, folder: Path, *, n_ctx: int = 128) -> Path:
    """Build a two-layer model of some architecture with random weights, and save it as a checkpoint."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_MODEL)
    # Ten times the usual spread of weights: logits of a small random model would otherwise hardly differ at all.
    size: dict[str, Any] = {
        "vocab_size": len(tokenizer), "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32,
        "intermediate_size": 64, "max_position_embeddings": n_ctx, "bos_token_id": 2, "eos_token_id": 2,
        "pad_token_id": 0, "initializer_range": 0.2,
    }  # fmt: skip
    grouped = size | {"num_key_value_heads": 2}
    configs: dict[str, Callable[[], Any]] = {
        "gpt2": lambda: transformers.GPT2Config(
            n_layer=2,
            n_head=4,
            n_embd=32,
            vocab_size=len(tokenizer),
            n_positions=n_ctx,
            bos_token_id=2,
            eos_token_id=2,
            initializer_range=0.2,
        ),
        "llama": lambda: transformers.LlamaConfig(**grouped),
        "qwen2": lambda: transformers.Qwen2Config(**grouped),
        "gemma2": lambda: transformers.Gemma2Config(**grouped, head_dim=8, query_pre_attn_scalar=8, sliding_window=8),
    }
    generator = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(configs[kind]())
    for weight in model.parameters():
        if weight.ndim == 1:  # biases and norms begin at 0 or 1: give them something to go wrong with
            torch.nn.init.normal_(weight, std=0.1)
    torch.random.set_rng_state(generator)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
