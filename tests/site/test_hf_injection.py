"""Fits deployed in plain Hugging Face models do what they do in the toolkit."""

import contextlib
import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import transformers

import site_lens as sl
from site_lens.models.batch import Batch
from site_lens.records.assets import DEMO_MODEL
from tests.conftest import Folders, Models
from tests.fakes import fake_embedding, fake_fit, fake_identity
from tests.tiny_models import tiny_model

KINDS = ["demo", "gpt2", "falcon", "gemma3", "mixtral"]
PROMPTS = ["Q: hot\nA:", "Q: old\nA: young\n\nQ: day\nA: night\n\nQ: good\nA:", "Q: dog, cat, red\nA:"]
N_NEW = 6
TOKENS = torch.tensor([[1, 5, 6]])


def padded(ids: list[list[int]]) -> dict[str, torch.Tensor]:
    """Pad on the left, with a mask."""
    width = max(map(len, ids))
    return {
        "input_ids": torch.tensor([[0] * (width - len(row)) + row for row in ids]),
        "attention_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids]),
    }


@pytest.fixture(scope="module")
def plain(tiny_folder: Folders) -> Callable[[str], Any]:
    """Return plain Hugging Face models by architecture, in float32."""

    @cache
    def model(kind: str) -> Any:
        folder = DEMO_MODEL if kind == "demo" else tiny_folder(kind)
        return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    return model


def strong_fit(task: str, model: sl.LensModel, **options: Any) -> sl.SiteFit:
    """Return a random fit whose embedding is large enough to change what is generated."""
    embedding = fake_embedding(task, model=model.identity)
    return fake_fit(task, model=model.identity, embedding=embedding.replace(mean=40 * embedding.mean), **options)


def new_tokens(hf_model: Any, inputs: dict[str, torch.Tensor], **options: Any) -> list[list[int]]:
    """Generate, greedily unless told otherwise, and return what is new (row token), padded with 0."""
    settings = {"max_new_tokens": N_NEW, "do_sample": False, "pad_token_id": 0, "eos_token_id": 2} | options
    new = hf_model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :]
    padded_rows: list[list[int]] = torch.nn.functional.pad(new, (0, N_NEW - new.shape[1])).tolist()
    return padded_rows


def greedy_tokens(model: sl.LensModel, prompt: str, fit: sl.SiteFit) -> list[int]:
    """What the toolkit generates from a prompt: each token from the whole sequence, edited at the last prompt token."""
    ids = model.encoder.encode([prompt])[0]
    new: list[int] = []
    while len(new) < N_NEW and model.encoder.eos not in new:
        edits = sl.injection_edits(model, fit.gates, fit.embedding, column=len(ids) - 1)
        new.append(int(model.forward(Batch.of([ids + new], pad=0, device=model.device), edits)[0].argmax()))
    return new + [0] * (N_NEW - len(new))


@pytest.fixture(scope="module")
def demo_fits(demo: sl.LensModel) -> list[sl.SiteFit]:
    return [strong_fit(task, demo) for task in ("antonym", "plural")]


@pytest.fixture(scope="module")
def demo_inputs(demo: sl.LensModel) -> dict[str, torch.Tensor]:
    return padded(demo.encoder.encode(PROMPTS))


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_model_generates_what_the_toolkit_generates(
    kind: str, plain: Callable[[str], Any], hosted: Models
) -> None:
    model, hf_model = hosted(f"bridge {kind}"), plain(kind)
    fit, inputs = strong_fit("antonym", model), padded(model.encoder.encode(PROMPTS))
    attributes, before = dict(vars(hf_model)), new_tokens(hf_model, inputs)
    with sl.deploy(hf_model, fit):
        within = new_tokens(hf_model, inputs)
    assert within == [greedy_tokens(model, prompt, fit) for prompt in PROMPTS] != before
    assert new_tokens(hf_model, inputs) == before  # removal leaves the model as it was
    assert vars(hf_model) == attributes
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in hf_model.modules())


def test_the_logits_are_those_of_the_toolkit_under_every_mix_rule(plain: Callable[[str], Any], hosted: Models) -> None:
    for kind in ("gpt2", "llama"):
        model, hf_model = hosted(f"bridge {kind}"), plain(kind)
        for rule in ("convex", "additive", "norm_preserving"):
            fit = strong_fit("antonym", model, config=sl.SiteConfig(mix=rule))
            for prompt in ([5], *model.encoder.encode(PROMPTS[:2])):  # a prompt of one token, too
                edits = sl.injection_edits(model, fit.gates, fit.embedding)
                expected = model.forward(Batch.of([prompt], pad=0, device=model.device), edits)
                for deployed in (fit, (fit.gates, fit.embedding)):
                    with sl.deploy(hf_model, deployed), torch.no_grad():
                        logits = hf_model(torch.tensor([prompt])).logits[:, -1]
                    assert torch.allclose(logits, expected, atol=2e-4), (kind, rule, prompt)


def test_cache_chunks_static_caches_and_guesses_change_nothing(
    plain: Callable[[str], Any], demo_inputs: dict[str, torch.Tensor], demo_fits: list[sl.SiteFit]
) -> None:
    hf_demo = plain("demo")
    for options in ({}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}):
        generated = []
        with sl.deploy(hf_demo, [*demo_fits, None]):
            for more in ({}, {"use_cache": False}, {"prefill_chunk_size": 4}, {"cache_implementation": "static"}):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    generated.append(new_tokens(hf_demo, demo_inputs, **options, **more))
        assert all(tokens == generated[0] for tokens in generated), options
    one = {name: value[1:2] for name, value in demo_inputs.items()}
    with sl.deploy(hf_demo, demo_fits[0]):
        assert new_tokens(hf_demo, one, prompt_lookup_num_tokens=3) == new_tokens(hf_demo, one)


@pytest.mark.parametrize("options", [{}, {"num_beams": 4, "num_return_sequences": 2}])
def test_every_row_does_its_own_task_as_if_alone(
    options: dict[str, Any], plain: Callable[[str], Any], hosted: Models
) -> None:
    model, hf_model = hosted("bridge gpt2"), plain("gpt2")
    fits = [strong_fit("antonym", model), strong_fit("plural", model, config=sl.SiteConfig(mix="additive"))]
    rows = [fits[1], None, fits[0]]
    ids = model.encoder.encode(PROMPTS)
    with sl.deploy(hf_model, rows):
        together = new_tokens(hf_model, padded(ids), **options)
    alone = []
    for fit, row in zip(rows, ids, strict=True):
        with sl.deploy(hf_model, fit) if fit else contextlib.nullcontext():
            alone += new_tokens(hf_model, padded([row]), **options)
    assert together == alone


def test_the_mix_is_made_in_float32_and_cast_back(
    plain: Callable[[str], Any], demo_inputs: dict[str, torch.Tensor], demo_fits: list[sl.SiteFit]
) -> None:
    half = copy.deepcopy(plain("demo")).to(torch.bfloat16)
    with pytest.warns(UserWarning, match="dtype"):
        handle = sl.attach(half, demo_fits[0])
    z: list[torch.Tensor] = []
    half.model.layers[0].self_attn.o_proj.register_forward_pre_hook(lambda module, args: z.append(args[0]))
    with torch.no_grad():
        half(**demo_inputs)
        handle.remove()
        half(**demo_inputs)
    edited, before = z[0][:, -1], z[1][:, -1].reshape(-1, 8, 32).float()
    alpha = torch.tensor(demo_fits[0].gates.values[0])[:, None].expand_as(before)
    mixed = torch.lerp(before, torch.tensor(demo_fits[0].embedding.mean[0]).expand_as(before), alpha)
    assert torch.equal(edited, mixed.to(torch.bfloat16).flatten(-2))


def test_other_models_are_refused_or_warned_of(
    plain: Callable[[str], Any], demo: sl.LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    folded = fake_fit("antonym", model=fake_identity(grid=sl.HeadGrid.full(2, 4), d_head=8, processing="folded"))
    for kind, fit in (("llama", demo_fits[0]), ("gpt2", folded)):
        with pytest.raises(sl.MismatchError):
            sl.attach(plain(kind), fit)
    handle = sl.attach(plain("llama"), folded)  # without value biases there is nothing to fold
    handle.remove()
    assert any("weights were not compared" in note for note in handle.uncompared)
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_MODEL)
    with sl.deploy(plain("demo"), demo_fits[0], tokenizer=tokenizer) as handle:
        assert (handle.differences, handle.uncompared) == ((), ())
    other = fake_fit("antonym", model=demo.identity.replace(weights_digest="0", bos=not demo.identity.bos))
    with pytest.warns(UserWarning) as warned, sl.deploy(plain("demo"), other, tokenizer=tokenizer) as handle:
        pass
    assert [str(warning.message) for warning in warned] == list(handle.differences)
    assert len(handle.differences) == 2  # weights and BOS
    for model in (demo, torch.nn.Linear(2, 2), plain("demo").model):
        with pytest.raises(sl.InputError):
            sl.attach(model, demo_fits[0])


def test_projections_that_are_unknown_or_bypassed_are_errors_not_a_silent_pass(demo_fits: list[sl.SiteFit]) -> None:
    hf_model = tiny_model("llama", vocab_size=50)
    for layer in hf_model.model.layers:
        layer.self_attn.wo = layer.self_attn.o_proj
        del layer.self_attn.o_proj
    with pytest.raises(sl.ModelError, match=r"layers.0.self_attn.wo"):
        sl.attach(hf_model, demo_fits[0])
    hf_model = tiny_model("llama", vocab_size=50)
    fit = fake_fit("antonym", model=fake_identity(grid=sl.HeadGrid.full(2, 4), d_head=8, weights_digest="?"))
    projection = hf_model.model.layers[1].self_attn.o_proj
    projection.__class__ = type("Unhooked", (torch.nn.Linear,), {"__call__": torch.nn.Linear.forward})
    with pytest.warns(UserWarning), sl.deploy(hf_model, fit), pytest.raises(sl.ModelError, match=r"layers \[1\]"):
        hf_model(TOKENS)
