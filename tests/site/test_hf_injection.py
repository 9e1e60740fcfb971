"""Fits at work in plain Hugging Face models do what they do in the toolkit."""

import contextlib
import copy
import gc
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import site_lens as sl
from site_lens.heads.scores import MixRule
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.records.assets import DEMO_MODEL
from site_lens.site.hf_injection import attach, deploy
from tests.fakes import fake_embedding, fake_fit, fake_identity
from tests.tiny_models import tiny_model

KINDS = ["demo", "gpt2", "gpt_neox", "llama", "opt", "falcon", "bloom", "phi", "gemma3", "mixtral"]
PROMPTS = ["Q: hot\nA:", "Q: old\nA: young\n\nQ: day\nA: night\n\nQ: good\nA:", "Q: dog, cat, red\nA:"]
N_NEW = 6


def padded(ids: list[list[int]]) -> dict[str, torch.Tensor]:
    """Pad on the left, with a mask."""
    width = max(map(len, ids))
    return {
        "input_ids": torch.tensor([[0] * (width - len(row)) + row for row in ids]),
        "attention_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids]),
    }


@pytest.fixture(scope="module")
def plain(tiny_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """Return plain Hugging Face models by architecture, in float32."""
    import transformers

    made: dict[str, Any] = {}

    def model(kind: str) -> Any:
        if kind not in made:
            folder = DEMO_MODEL if kind == "demo" else tiny_folder(kind)
            made[kind] = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return made[kind]

    return model


@pytest.fixture(scope="module")
def lens(demo: LensModel, tiny: Callable[[str], LensModel]) -> Callable[[str], LensModel]:
    return lambda kind: demo if kind == "demo" else tiny(kind)


def strong_fit(task: str, model: LensModel, **options: Any) -> sl.SiteFit:
    """Return a random fit whose embedding is large enough to change what is generated."""
    embedding = fake_embedding(task, model=model.identity)
    return fake_fit(task, model=model.identity, embedding=embedding.replace(mean=40 * embedding.mean), **options)


def new_tokens(hf_model: Any, inputs: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    """Generate, greedily unless told otherwise, and return what is new (row token)."""
    settings = {"max_new_tokens": N_NEW, "do_sample": False, "pad_token_id": 0, "eos_token_id": 2} | options
    made: torch.Tensor = hf_model.generate(**inputs, **settings)
    return made[:, inputs["input_ids"].shape[1] :]


def greedy_tokens(model: LensModel, prompt: str, fit: sl.SiteFit) -> list[int]:
    """What the toolkit generates from a prompt: each token from the whole sequence, edited at the last prompt token."""
    ids = model.encoder.encode([prompt])[0]
    made: list[int] = []
    for _ in range(N_NEW):
        edits = sl.injection_edits(model, fit.gates, fit.embedding, rule=fit.config.mix, column=len(ids) - 1)
        made.append(int(model.forward(Batch.of([ids + made], pad=0, device=model.device), edits)[0].argmax()))
        if made[-1] == model.encoder.eos:
            break
    return made


@pytest.fixture(scope="module")
def demo_fits(demo: LensModel) -> list[sl.SiteFit]:
    return [strong_fit(task, demo) for task in ("antonym", "plural")]


# The same as in the toolkit


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_model_generates_what_the_toolkit_generates(
    kind: str, plain: Callable[[str], Any], lens: Callable[[str], LensModel]
) -> None:
    model, hf_model = lens(kind), plain(kind)
    fit = strong_fit("antonym", model)
    ids = model.encoder.encode(PROMPTS)
    with deploy(hf_model, fit):
        made = new_tokens(hf_model, padded(ids))
    edits = sl.injection_edits(model, fit.gates, fit.embedding)
    texts = sl.generate(model, PROMPTS, edits, max_new_tokens=N_NEW, stop_at="<never>")
    assert [model.encoder.decode(row) for row in made.tolist()] == texts
    for prompt, row in zip(PROMPTS, made.tolist(), strict=True):
        expected = greedy_tokens(model, prompt, fit)
        assert row == expected + [0] * (N_NEW - len(expected))
    assert made.tolist() != new_tokens(hf_model, padded(ids)).tolist()


@pytest.mark.parametrize("kind", ["demo", "gpt2", "gpt_neox", "llama", "opt"])
@pytest.mark.parametrize("rule", ["convex", "additive", "norm_preserving"])
def test_the_logits_are_those_of_the_toolkit_under_every_mix_rule(
    kind: str, rule: str, plain: Callable[[str], Any], lens: Callable[[str], LensModel]
) -> None:
    model, hf_model = lens(kind), plain(kind)
    fit = strong_fit("antonym", model, config=sl.SiteConfig(mix=rule))
    for prompt in ([5], *model.encoder.encode(PROMPTS[:2])):  # a prompt of one token, too
        edits = sl.injection_edits(model, fit.gates, fit.embedding, rule=fit.config.mix, column=-1)
        expected = model.forward(Batch.of([prompt], pad=0, device=model.device), edits)
        with deploy(hf_model, fit), torch.no_grad():
            found = hf_model(torch.tensor([prompt])).logits[:, -1]
        assert torch.allclose(found, expected, atol=2e-4)


def test_a_prompt_of_one_token_is_edited_once(plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]) -> None:
    hf_model, inputs = plain("demo"), padded([[7]])
    with deploy(hf_model, demo_fits[0]):
        cached = new_tokens(hf_model, inputs)
        assert new_tokens(hf_model, inputs, use_cache=False).tolist() == cached.tolist()
    assert new_tokens(hf_model, inputs).tolist() != cached.tolist()


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}])
def test_cache_chunks_and_static_caches_change_nothing(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit], options: dict[str, Any]
) -> None:
    hf_model, inputs = plain("demo"), padded(demo.encoder.encode(PROMPTS))

    def made(**more: Any) -> list[list[int]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return new_tokens(hf_model, inputs, **options, **more).tolist()

    with deploy(hf_model, [*demo_fits, None]):
        cached = made()
        assert made(use_cache=False) == cached
        assert made(prefill_chunk_size=4) == cached
        assert made(cache_implementation="static") == cached


def test_continuations_by_hand_are_left_alone(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    hf_model, ids = plain("demo"), demo.encoder.encode(PROMPTS[:1])
    with deploy(hf_model, demo_fits[0]), torch.no_grad():
        expected = new_tokens(hf_model, padded(ids))[0].tolist()
        cache, made, tokens = None, [], torch.tensor(ids)
        for _ in range(len(expected)):
            out = hf_model(tokens, past_key_values=cache, use_cache=True)
            cache, tokens = out.past_key_values, out.logits[:, -1:].argmax(-1)
            made.append(int(tokens))
    assert made == expected


def test_decoding_that_guesses_ahead_makes_the_same_tokens(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    hf_model, inputs = plain("demo"), padded(demo.encoder.encode(PROMPTS[1:2]))
    with deploy(hf_model, demo_fits[0]):
        expected = new_tokens(hf_model, inputs)
        assert new_tokens(hf_model, inputs, prompt_lookup_num_tokens=3).tolist() == expected.tolist()
    assert new_tokens(hf_model, inputs).tolist() != expected.tolist()


@pytest.mark.parametrize("bos", [True, False])
def test_a_tokenizer_of_the_same_bos_policy_makes_the_same_text_as_the_toolkit(
    bos: bool, plain: Callable[[str], Any]
) -> None:
    import transformers

    model = sl.load_model(DEMO_MODEL, dtype="float32", device="cpu", bos=bos)
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_MODEL, padding_side="left", add_bos_token=bos)
    fit, hf_model = strong_fit("antonym", model), plain("demo")
    inputs = dict(tokenizer(PROMPTS, return_tensors="pt", padding=True, add_special_tokens=bos))
    with deploy(hf_model, fit):
        made = new_tokens(hf_model, {name: inputs[name] for name in ("input_ids", "attention_mask")})
    texts = sl.generate(
        model, PROMPTS, sl.injection_edits(model, fit.gates, fit.embedding), max_new_tokens=N_NEW, stop_at="<never>"
    )
    assert [model.encoder.decode(row) for row in made.tolist()] == texts
    assert model.identity.bos is bos


def test_a_saved_fit_does_its_task_in_a_pipeline_that_knows_nothing_of_it(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit], tmp_path: Path
) -> None:
    import transformers

    fit = sl.load(sl.save(demo_fits[0], tmp_path / "antonym"), sl.SiteFit)
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_MODEL, padding_side="left")
    ask = transformers.pipeline("text-generation", model=plain("demo"), tokenizer=tokenizer)
    end = tokenizer.eos_token_id  # alone: the model's own settings end at an empty line, too
    options = {"max_new_tokens": N_NEW, "do_sample": False, "return_full_text": False, "eos_token_id": end}
    with deploy(plain("demo"), fit, tokenizer=tokenizer):
        (said,) = ask(PROMPTS[0], **options)
    (plainly,) = ask(PROMPTS[0], **options)
    edits = sl.injection_edits(demo, fit.gates, fit.embedding)
    (expected,) = sl.generate(demo, PROMPTS[:1], edits, max_new_tokens=N_NEW, stop_at="<never>")
    assert said["generated_text"].strip() == expected.strip()
    assert plainly != said


def test_sampled_rows_of_different_tasks_draw_what_each_would_draw_from_its_own_logits(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    hf_model, inputs = plain("demo"), padded(demo.encoder.encode(PROMPTS))
    options = {"do_sample": True, "output_scores": True, "return_dict_in_generate": True, "max_new_tokens": 1}
    rows = [demo_fits[1], None, demo_fits[0]]
    with deploy(hf_model, rows):
        drawn = hf_model.generate(**inputs, pad_token_id=0, top_k=0, **options)
    for i, fit in enumerate(rows):
        one = {name: value[i : i + 1] for name, value in inputs.items()}
        with torch.no_grad(), deploy(hf_model, fit) if fit else contextlib.nullcontext():
            alone = hf_model(**one).logits[:, -1]
        assert torch.allclose(drawn.scores[0][i], alone[0], atol=2e-4)


# Different tasks in one batch


@pytest.mark.parametrize("kind", ["demo", "gpt2"])
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}])
def test_every_row_does_its_own_task_as_if_alone(
    kind: str, options: dict[str, Any], plain: Callable[[str], Any], lens: Callable[[str], LensModel]
) -> None:
    model, hf_model = lens(kind), plain(kind)
    rules: list[Any] = ["convex", "additive"]
    fits = [
        strong_fit(task, model, config=sl.SiteConfig(mix=rule))
        for task, rule in zip(("antonym", "plural"), rules, strict=True)
    ]
    rows = [fits[1], None, fits[0]]
    ids = model.encoder.encode(PROMPTS)
    with deploy(hf_model, rows):
        together = new_tokens(hf_model, padded(ids), **options)
    alone = []
    for fit, one in zip(rows, ids, strict=True):
        if fit is None:
            found = new_tokens(hf_model, padded([one]), **options)
        else:
            with deploy(hf_model, fit):
                found = new_tokens(hf_model, padded([one]), **options)
        width = N_NEW - found.shape[1]
        alone.append(torch.nn.functional.pad(found, (0, width)))
    assert torch.nn.functional.pad(together, (0, N_NEW - together.shape[1])).tolist() == torch.cat(alone).tolist()


def test_rows_without_a_fit_keep_their_logits_to_the_bit(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    hf_model, inputs = plain("demo"), padded(demo.encoder.encode(PROMPTS))
    with torch.no_grad():
        before = hf_model(**inputs).logits
        with deploy(hf_model, [demo_fits[0], None, None]):
            within = hf_model(**inputs).logits
    assert torch.equal(within[1:], before[1:])
    assert not torch.allclose(within[0, -1], before[0, -1])
    assert torch.equal(within[0, :-1], before[0, :-1])  # only the last prompt token is edited


def test_gates_and_an_embedding_may_come_without_a_fit(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    hf_model, inputs = plain("demo"), padded(demo.encoder.encode(PROMPTS))
    hard = demo_fits[0].gates.hard()
    with deploy(hf_model, (hard, demo_fits[0].embedding)):
        pair = new_tokens(hf_model, inputs)
    with deploy(hf_model, [demo_fits[0].replace(gates=hard)] * 3):
        assert new_tokens(hf_model, inputs).tolist() == pair.tolist()


@pytest.mark.parametrize("rule", get_args(MixRule))
def test_a_pair_mixes_by_the_rule_of_the_fit_that_its_gates_come_from(
    rule: MixRule, plain: Callable[[str], Any], demo: LensModel
) -> None:
    hf_model, inputs = plain("demo"), padded(demo.encoder.encode(PROMPTS))
    fit = strong_fit("antonym", demo, config=sl.SiteConfig(mix=rule))
    with torch.no_grad():
        with deploy(hf_model, fit):
            expected = hf_model(**inputs).logits
        with deploy(hf_model, (fit.gates, fit.embedding)):
            assert torch.equal(hf_model(**inputs).logits, expected)


def test_the_mix_is_made_in_float32_and_cast_back(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    import copy

    half = copy.deepcopy(plain("demo")).to(torch.bfloat16)
    inputs = padded(demo.encoder.encode(PROMPTS))
    seen: list[torch.Tensor] = []
    with pytest.warns(UserWarning, match="dtype of .* differs"):
        handle = attach(half, demo_fits[0])
    hook = half.model.layers[0].self_attn.o_proj.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        half(**inputs)
    handle.remove()
    plain_z: list[torch.Tensor] = []
    hook.remove()
    half.model.layers[0].self_attn.o_proj.register_forward_pre_hook(lambda module, args: plain_z.append(args[0]))
    with torch.no_grad():
        half(**inputs)
    alpha = torch.tensor(demo_fits[0].gates.values[0])[:, None]
    old = plain_z[0][:, -1].reshape(-1, 8, 32).float()
    mixed = torch.lerp(old, torch.tensor(demo_fits[0].embedding.mean[0]).expand_as(old), alpha.expand_as(old))
    assert seen[0].dtype == torch.bfloat16
    assert torch.equal(seen[0][:, -1], mixed.to(torch.bfloat16).flatten(-2))


# Several threads


def test_threads_get_what_each_gets_alone(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    hf_model, ids = plain("demo"), demo.encoder.encode(PROMPTS)
    calls = [
        (padded(ids[i : i + 1] * 3), options)
        for i in range(3)
        for options in ({}, {"num_beams": 2}, {"use_cache": False})
    ]
    with deploy(hf_model, [demo_fits[0], None, demo_fits[1]]), ThreadPoolExecutor(6) as pool:
        alone = [new_tokens(hf_model, inputs, **options).tolist() for inputs, options in calls]
        for _ in range(3):
            found = [pool.submit(new_tokens, hf_model, inputs, **options) for inputs, options in calls]
            assert [one.result().tolist() for one in found] == alone


def test_an_interrupted_call_of_one_thread_edits_no_later_one(
    plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]
) -> None:
    hf_model, tokens = plain("demo"), torch.tensor([[1, 5, 6]])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt  # which hooks that are always called do not see

    with torch.no_grad():
        filled = hf_model(tokens, use_cache=True).past_key_values
        expected = hf_model(tokens, past_key_values=copy.deepcopy(filled)).logits
        with deploy(hf_model, demo_fits[0]):
            hook = hf_model.model.layers[0].mlp.register_forward_hook(interrupt)
            with pytest.raises(KeyboardInterrupt):
                hf_model(tokens)
            hook.remove()
            assert torch.equal(hf_model(tokens, past_key_values=filled).logits, expected)


def test_a_deployment_made_in_inference_mode_lets_gradients_pass_later(
    plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]
) -> None:
    hf_model = plain("demo")
    with torch.inference_mode():
        handle = attach(hf_model, demo_fits[0])
        hf_model(torch.tensor([[1, 5, 6]]))
    hf_model(torch.tensor([[1, 5, 6]])).logits.sum().backward()
    handle.remove()
    hf_model.zero_grad()


# Taking it away again


@pytest.mark.parametrize("kind", ["demo", "gpt2", "gpt_neox", "llama", "opt"])
def test_removal_leaves_the_model_as_it_was_to_the_bit(
    kind: str, plain: Callable[[str], Any], lens: Callable[[str], LensModel]
) -> None:
    model, hf_model = lens(kind), plain(kind)
    inputs, attributes = padded(model.encoder.encode(PROMPTS)), dict(vars(hf_model))
    with torch.no_grad():
        before = hf_model(**inputs).logits
        handle = attach(hf_model, strong_fit("antonym", model))
        assert not torch.equal(hf_model(**inputs).logits, before)
        handle.remove()
        handle.remove()
        assert torch.equal(hf_model(**inputs).logits, before)
    assert vars(hf_model) == attributes
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in hf_model.modules())


def test_an_error_inside_the_context_removes_the_edit_too(
    plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]
) -> None:
    hf_model = plain("demo")
    with pytest.raises(RuntimeError, match="mine"), deploy(hf_model, demo_fits[0]):
        raise RuntimeError("mine")
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in hf_model.modules())


def test_a_call_that_fails_leaves_no_edit_waiting(plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]) -> None:
    hf_model = plain("demo")
    tokens = torch.tensor([[1, 5, 6]])
    with torch.no_grad():
        before = hf_model.model(tokens).last_hidden_state
        with deploy(hf_model, demo_fits[0]):
            with pytest.raises(IndexError):
                hf_model(tokens + 10**6)
            assert torch.equal(hf_model.model(tokens).last_hidden_state, before)


def test_a_handle_that_is_thrown_away_takes_the_edit_with_it_and_says_so(
    plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]
) -> None:
    hf_model, tokens = plain("demo"), torch.tensor([[1, 5, 6]])
    with torch.no_grad():
        before = hf_model(tokens).logits
        with pytest.warns(UserWarning, match="thrown away"):
            attach(hf_model, demo_fits[0])
            gc.collect()
        assert torch.equal(hf_model(tokens).logits, before)
    with deploy(hf_model, demo_fits[1]):  # and nothing stands in the way of another
        pass


def test_what_others_put_around_generate_is_left_to_them(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    hf_model, inputs = copy.deepcopy(plain("demo")), padded(demo.encoder.encode(PROMPTS))
    before = new_tokens(hf_model, inputs).tolist()
    own = hf_model.generate
    hf_model.generate = lambda *args, **kwargs: own(*args, **kwargs)
    theirs = hf_model.generate
    handle = attach(hf_model, demo_fits[0])
    handle.remove()
    assert hf_model.generate is theirs
    handle = attach(hf_model, demo_fits[0])
    inner = hf_model.generate
    hf_model.generate = lambda *args, **kwargs: inner(*args, **kwargs)
    handle.remove()
    assert new_tokens(hf_model, inputs).tolist() == before


def test_a_model_with_a_fit_at_work_is_saved_without_it_and_neither_copied_nor_pickled(
    plain: Callable[[str], Any], demo_fits: list[sl.SiteFit], tmp_path: Path
) -> None:
    import transformers

    hf_model, tokens = plain("demo"), torch.tensor([[1, 5, 6]])
    with torch.no_grad():
        before = hf_model(tokens).logits
        with deploy(hf_model, demo_fits[0]):
            with pytest.raises(sl.InputError, match="copied"):
                copy.deepcopy(hf_model)
            with pytest.raises(sl.InputError, match="copied"):
                torch.save(hf_model, tmp_path / "model.pt")
            hf_model.save_pretrained(tmp_path / "saved")
        copied = copy.deepcopy(hf_model)
        saved = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32)
        assert torch.equal(copied(tokens).logits, before)
        assert torch.equal(saved(tokens).logits, before)


# What cannot be right is refused


def test_a_model_of_other_heads_is_refused(plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]) -> None:
    with pytest.raises(sl.MismatchError, match=r"made on .* and cannot be used on .*\(2 layers x 4 heads, d_head 8\)"):
        attach(plain("llama"), demo_fits[0])
    assert not any(m._forward_pre_hooks for m in plain("llama").modules())


def test_folded_value_biases_are_refused_where_there_are_value_biases(plain: Callable[[str], Any]) -> None:
    grid = sl.HeadGrid.full(2, 4)
    folded = fake_fit("antonym", model=fake_identity(grid=grid, d_head=8, processing="folded"))
    with pytest.raises(sl.MismatchError, match="was made on folded weights"):
        attach(plain("gpt2"), folded)
    handle = attach(plain("llama"), folded)
    handle.remove()
    assert any("weights were not compared" in note for note in handle.uncompared)


def test_other_weights_and_tokenizers_are_warned_of(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_MODEL)
    with deploy(plain("demo"), demo_fits[0], tokenizer=tokenizer) as handle:
        assert (handle.differences, handle.uncompared) == ((), ())
    other = fake_fit("antonym", model=demo.identity.replace(weights_digest="0", bos=not demo.identity.bos))
    with pytest.warns(UserWarning) as warned, deploy(plain("demo"), other, tokenizer=tokenizer) as handle:
        pass
    assert [str(one.message) for one in warned] == list(handle.differences)
    assert [re.sub(" of .*", "", note.split(": ")[1]) for note in handle.differences] == ["weights", "BOS"]


@pytest.mark.parametrize("mask", [[[1, 1, 0], [1, 1, 1]]])
def test_right_padding_is_refused(plain: Callable[[str], Any], demo_fits: list[sl.SiteFit], mask: Any) -> None:
    hf_model, inputs = plain("demo"), {"input_ids": torch.ones(2, 3, dtype=torch.long)}
    with deploy(hf_model, demo_fits[0]):
        for call in (hf_model, hf_model.generate):
            with pytest.raises(sl.InputError, match="padded on the right; pad on the left"):
                call(**inputs, attention_mask=torch.tensor(mask))
        with pytest.raises(sl.InputError, match=r"needs an attention mask \(row pos\)"):
            hf_model(**inputs, attention_mask=torch.ones(2, 1, 3, 3, dtype=torch.bool))


def test_as_many_fits_as_prompts_are_needed(plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]) -> None:
    hf_model, inputs = plain("demo"), {"input_ids": torch.ones(4, 3, dtype=torch.long)}
    with deploy(hf_model, demo_fits):
        for call in (hf_model, lambda **given: new_tokens(hf_model, given)):
            with pytest.raises(sl.InputError, match="2 fits are at work, one per prompt, but 4 prompts came in 4 rows"):
                call(**inputs)


@pytest.mark.parametrize(
    ("fits", "said"),
    [
        ([], "there is no fit to put to work"),
        ([None, None], "there is no fit to put to work"),
        ("antonym", "cannot put a str to work"),
        (3, "cannot put a int to work"),
    ],
)
def test_what_is_no_fit_is_refused(plain: Callable[[str], Any], fits: Any, said: str) -> None:
    with pytest.raises(sl.InputError, match=said):
        attach(plain("demo"), fits)


def test_two_deployments_at_once_are_refused(plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]) -> None:
    with deploy(plain("demo"), demo_fits[0]), pytest.raises(sl.InputError, match="at work in this model already"):
        attach(plain("demo"), demo_fits[1])


def test_gates_over_other_heads_than_their_embedding_are_refused(
    plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]
) -> None:
    gates = sl.HeadGates.constant(sl.HeadGrid.full(2, 4), 0.5)
    with pytest.raises(sl.MismatchError, match="gates over 2 layers x 4 heads do not fit an embedding over 6 layers"):
        attach(plain("demo"), (gates, demo_fits[0].embedding))


def test_what_is_no_generating_transformers_model_is_refused(
    plain: Callable[[str], Any], demo: LensModel, demo_fits: list[sl.SiteFit]
) -> None:
    for model in (demo, torch.nn.Linear(2, 2), plain("demo").model):
        with pytest.raises(sl.InputError, match="needs a transformers model that generates, got a"):
            attach(model, demo_fits[0])


def test_generation_without_prompts_or_past_them_is_refused(
    plain: Callable[[str], Any], demo_fits: list[sl.SiteFit]
) -> None:
    hf_model, tokens = plain("demo"), torch.tensor([[1, 5, 6]])
    cache = hf_model(torch.tensor([[1, 5, 6, 7]]), use_cache=True).past_key_values
    with deploy(hf_model, demo_fits[0]):
        with pytest.raises(sl.InputError, match="generate needs prompts here"):
            hf_model.generate(max_new_tokens=1)
        made = hf_model.generate(tokens, max_new_tokens=2, do_sample=False)  # prompts by position
    assert made.tolist() == deployed(hf_model, demo_fits[0], tokens).tolist()
    assert cache.get_seq_length() == 4


def deployed(hf_model: Any, fit: sl.SiteFit, tokens: torch.Tensor) -> torch.Tensor:
    with deploy(hf_model, fit):
        made: torch.Tensor = hf_model.generate(input_ids=tokens, max_new_tokens=2, do_sample=False)
    return made


def test_an_unknown_projection_is_named(demo_fits: list[sl.SiteFit]) -> None:
    hf_model = tiny_model("llama", vocab_size=50)
    for layer in hf_model.model.layers:
        layer.self_attn.wo = layer.self_attn.o_proj
        del layer.self_attn.o_proj
    with pytest.raises(sl.ModelError, match=r"cannot tell where the heads .* in layer 0: .*layers.0.self_attn.wo"):
        attach(hf_model, demo_fits[0])


def test_a_projection_that_is_bypassed_is_an_error_not_a_silent_pass() -> None:
    hf_model = tiny_model("llama", vocab_size=50)
    fit = fake_fit("antonym", model=fake_identity(grid=sl.HeadGrid.full(2, 4), d_head=8, weights_digest="?"))
    projection = hf_model.model.layers[1].self_attn.o_proj
    projection.__class__ = type("Unhooked", (torch.nn.Linear,), {"__call__": torch.nn.Linear.forward})
    with pytest.warns(UserWarning, match="weights of"):
        handle = attach(hf_model, fit)
    with pytest.raises(sl.ModelError, match=r"layers \[1\] computed attention without calling"):
        hf_model(torch.tensor([[1, 2, 3]]))
    handle.remove()


# By itself


def test_transformer_lens_is_never_imported() -> None:
    code = f"""
import sys, torch, transformers
import site_lens as sl
from tests.fakes import fake_fit, fake_identity
hf_model = transformers.AutoModelForCausalLM.from_pretrained({str(DEMO_MODEL)!r}, dtype=torch.float32)
fit = fake_fit("antonym", model=fake_identity(d_head=32, host="x"))
with sl.deploy(hf_model, fit):
    hf_model.generate(torch.tensor([[1, 5, 6]]), max_new_tokens=2)
print("transformer_lens" in sys.modules)
"""
    root = Path(sl.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
