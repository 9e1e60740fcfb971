"""What the benchmarks run on: a Llama of random weights, and AG-News prompts."""

import tempfile
from pathlib import Path
from typing import Any, Literal

import site_lens as sl
from site_lens.models.base import LensModel

SIZES = {
    "tiny": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    "100M": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
    },
    "1B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
IN_BFLOAT16 = ("1B", "8B")
VOCABULARY = 16_000


def ag_news(folder: Path) -> sl.Task:
    """Load the AG-News task from a folder of the paper's tasks."""
    return sl.load_tasks(folder, ["ag_news"])["ag_news"]


def save_llama(task: sl.Task, folder: Path, *, size: str = "100M", dtype: str = "float32") -> Path:
    """Save a random Llama, and a byte-pair tokenizer that learned its pieces from a task's own texts."""
    import tokenizers
    import torch
    import transformers

    pieces = tokenizers.ByteLevelBPETokenizer()
    texts = [row.input for row in (*task.train, *task.valid, *task.test)]
    pieces.train_from_iterator(texts, vocab_size=VOCABULARY, special_tokens=["<s>", "</s>"], show_progress=False)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    config = transformers.LlamaConfig(
        **SIZES[size], vocab_size=VOCABULARY, max_position_embeddings=2048, bos_token_id=0, eos_token_id=1
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def subjects(folder: Path, *, size: str = "100M", device: str = "cpu") -> tuple[sl.Task, LensModel, Any]:
    """Return the AG-News task, the model as site_lens loads it, and the same as plain Hugging Face module."""
    import transformers

    task = ag_news(folder)
    dtype: Literal["float32", "bfloat16"] = "bfloat16" if size in IN_BFLOAT16 else "float32"
    with tempfile.TemporaryDirectory() as saved:
        save_llama(task, Path(saved), size=size, dtype=dtype)
        model = sl.load_model(saved, device=device, dtype=dtype)
        assert isinstance(model, LensModel)
        plain = transformers.AutoModelForCausalLM.from_pretrained(saved, dtype=dtype).to(device).eval()
    return task, model, plain.requires_grad_(False)


def demo_subjects(n_tasks: int, *, device: str = "cpu") -> tuple[list[sl.Task], LensModel, Any]:
    """Return demo tasks, the demo model as site_lens loads it, and the same as a plain Hugging Face module."""
    import transformers

    from site_lens.records.assets import DEMO_MODEL

    model = sl.load_model("demo", device=device)
    plain = transformers.AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype="float32").to(device).eval()
    tasks = sl.sample_tasks(sl.load_tasks("demo").values(), n_tasks, seed=0)
    return list(tasks.values()), model, plain.requires_grad_(False)
