"""LoRA: it learns, it is gone outside its context, and it reaches every projection."""

from collections.abc import Callable

import pytest
import torch

import site_lens as sl
from site_lens.methods.lora import LoraAdapter, lora
from site_lens.methods.method import Method, prompting
from site_lens.methods.training import train
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.records.hashing import seed_stream
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.tasks.prompt_sampling import zero_shot_prompts
from tests.conftest import Bench
from tests.methods.conftest import answers, batch_of

SMALL = ComparisonConfig(lora_steps=6, lora_batch=8, lora_rank=2, lora_lr=0.01)


def some_queries(model: LensModel, task: sl.Task) -> Batch:
    return batch_of(model, *(prompt.text for prompt in zero_shot_prompts(task.test[:5], SMALL.template)))


def test_training_raises_the_probability_of_train_answers(bench: Bench) -> None:
    context = bench(SMALL, "english-french")
    method, rows = lora(context, "english-french"), context.tasks["english-french"].train[:20]
    plain, adapted = (scores.metrics["log_prob"].mean() for scores in answers(context, rows, prompting(0), method))
    assert adapted > plain + 0.5


def test_the_model_is_the_same_to_the_bit_outside_the_context(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    task = demo_tasks["antonym"]
    batch = some_queries(demo, task)
    modules, before = list(demo.host.modules()), demo.forward(batch)
    state = torch.get_rng_state()
    method = lora(ComparisonContext(demo, task, SMALL, progress=False), "antonym")
    assert torch.equal(torch.get_rng_state(), state)
    with method.around(demo):
        inside = demo.forward(batch)
    assert not torch.allclose(inside, before, atol=0.01)
    assert torch.equal(demo.forward(batch), before)
    assert list(demo.host.modules()) == modules
    assert not any(weight.requires_grad for weight in demo.host.parameters())


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma3", "falcon"])
def test_an_adapter_acts_alike_in_whole_and_cached_passes_of_every_architecture(
    tiny: Callable[[str], LensModel], demo_tasks: dict[str, sl.Task], kind: str
) -> None:
    model, task = tiny(kind), demo_tasks["antonym"]
    batch = some_queries(model, task)
    adapter = LoraAdapter(model, rank=2, stream=seed_stream("adapter"))
    before = model.forward(batch)
    context, method = ComparisonContext(model, task, SMALL, progress=False), Method("lora", context=adapter.switched_on)
    train(
        context, task.name, method, adapter.weights, torch.optim.AdamW, lr=0.1, n_steps=2, batch_size=8,
        stream=seed_stream("draws"),
    )  # fmt: skip
    adapter.check_reached()
    with torch.no_grad():  # the best on valid may be the start
        for weight in adapter.weights:
            weight.normal_(generator=torch.Generator().manual_seed(0))
    with adapter.switched_on(model):
        whole = model.forward(batch)
        cached, _ = model.decode(model.prefill(batch.without_tail(1)), batch.tokens[:, -1:])
    spread = before.std()
    assert (whole - before).abs().max() > 0.01 * spread
    assert (cached[:, -1] - whole).abs().max() < 1e-4 * spread
    assert torch.equal(model.forward(batch), before)


def test_rows_and_weights_are_counted(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> None:
    task = demo_tasks["antonym"]
    few = sl.Task("antonym", task.train[:3], task.valid, task.test)
    method = lora(ComparisonContext(demo, few, SMALL, progress=False), "antonym")
    # Six layers: queries from 192 to 8 x 32, values from 192 to 4 x 32, two rows and two columns each.
    assert method.n_trained == 6 * 2 * ((192 + 256) + (192 + 128))
    assert method.stored_bytes == 4 * method.n_trained
    assert method.n_labelled == 3 + len(task.valid)
