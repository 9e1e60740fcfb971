"""Control vectors: exact where the maths allows it, and an approximation that says so everywhere else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader

import site_lens as sl
from site_lens.models.batch import Batch
from tests.conftest import Folders, Models
from tests.fakes import fake_embedding, fake_identity

PROMPTS = ["Q: hot\nA:", "Q: old\nA: young\n\nQ: good\nA:", "Q: dog, cat, red\nA:"]
ABOVE = ("L1H0", "L1H2")
"""Open heads above layer 0 of the tiny models, which have two layers."""


def pair(model: sl.LensModel, heads: tuple[str, ...] = ABOVE, mix: str = "additive", size: float = 3.0) -> Any:
    embedding = fake_embedding("antonym", model=model.identity)
    gates = sl.HeadGates.of(sl.HeadSet.of(model.grid, heads))
    return gates.replace(mix=mix), embedding.replace(mean=size * embedding.mean)


def test_of_additive_gates_in_parallel_blocks_it_is_exact_at_the_last_token(tiny: Models) -> None:
    for kind in ("gpt_neox", "falcon", "phi"):
        model = tiny(kind)
        gates, embedding = pair(model)
        vector = sl.control_vector(model, (gates, embedding))
        assert list(vector.directions) == [1] and len(vector.differences) == 1  # llama.cpp adds it at every token
        batch = Batch.of(model.encoder.encode(PROMPTS), pad=0, device=model.device)
        at_last = model.forward(batch, [replace(edit, column=-1) for edit in vector.edits()])
        fitted = model.forward(batch, sl.injection_edits(model, gates, embedding))
        assert torch.allclose(at_last, fitted, atol=1e-4), kind
        assert not torch.allclose(fitted, model.forward(batch), atol=0.1)


def test_on_prompts_of_one_token_it_keeps_all_of_the_effect(tiny_folder: Folders) -> None:
    model = sl.load_model(tiny_folder("gpt_neox"), dtype="float32", device="cpu", bos=False)
    exact, convex = pair(model), pair(model, mix="convex")
    letters = ["a", "b", "c", "d"]
    assert all(len(ids) == 1 for ids in model.encoder.encode(letters))
    found = sl.control_vector_effect(model, exact, sl.control_vector(model, exact), letters)
    assert found.kept == pytest.approx(1, abs=1e-4) and found.n_same == found.n_prompts == 4
    assert sl.control_vector_effect(model, convex, sl.control_vector(model, convex), letters).kept < 0.999


def test_every_condition_that_fails_is_named(tiny: Models) -> None:
    parallel, sequential = tiny("gpt_neox"), tiny("llama")
    for model, heads, mix, n in (
        (parallel, ABOVE, "additive", 1),
        (parallel, ABOVE, "convex", 2),
        (parallel, (*ABOVE, "L0H3"), "additive", 2),
        (sequential, ABOVE, "additive", 2),
        (sequential, (*ABOVE, "L0H3"), "convex", 4),
    ):
        differences = sl.control_vector(model, pair(model, heads, mix)).differences
        assert len(differences) == n, differences
        assert any("L0H3" in said for said in differences) == ("L0H3" in heads)


def test_a_direction_is_what_the_open_heads_write_together(tiny: Models) -> None:
    model = tiny("llama")
    _, embedding = pair(model)
    gates = sl.HeadGates(grid=model.grid, values=np.array([[0, 0, 0, 0], [0.5, 0, 1, 0]], dtype=np.float32))
    found = sl.control_vector(model, (gates, embedding)).directions[1]
    weight = model.host.original_model.model.layers[1].self_attn.o_proj.weight.detach().numpy()  # (d_model head*d_head)
    mean, d_head = embedding.mean[1], model.identity.d_head
    expected = 0.5 * weight[:, :d_head] @ mean[0] + weight[:, 2 * d_head : 3 * d_head] @ mean[2]
    assert np.allclose(found, expected, atol=1e-5)


def test_the_file_is_what_repeng_and_llama_cpp_read(tiny: Models, tmp_path: Path) -> None:
    model = tiny("llama")
    vector = sl.control_vector(model, pair(model, (*ABOVE, "L0H1"), "convex"))
    with pytest.raises(sl.InputError, match="approximate=True"):
        sl.write_control_vector(vector, tmp_path / "antonym.gguf")
    path = sl.write_control_vector(vector, tmp_path / "deep" / "antonym.gguf", approximate=True)
    reader = GGUFReader(path)  # as `ControlVector.import_gguf` of repeng 0.4.0 reads it
    directions = {int(t.name.split(".")[1]): np.array(t.data) for t in reader.tensors}
    assert directions.keys() == vector.directions.keys() == {1}  # 0 is refused by llama.cpp
    assert np.array_equal(directions[1], vector.directions[1])
    assert all(t.tensor_type == GGMLQuantizationType.F32 and len(t.shape) == 1 for t in reader.tensors)
    names = ("general.architecture", "controlvector.model_hint", "controlvector.layer_count", "general.description")
    architecture, hint, count, said = (reader.fields[name].contents() for name in names)
    assert (architecture, hint, count) == ("controlvector", "llama", 1)
    assert all(difference in said for difference in vector.differences)


def test_models_that_normalise_behind_attention_are_refused(tiny: Models) -> None:
    for kind in ("gemma2", "gemma3", "OLMo-2-7B"):
        with pytest.raises(sl.ModelError):
            sl.control_vector(tiny(kind), pair(tiny(kind)))


def test_what_has_no_control_vector_is_refused(tiny: Models) -> None:
    model = tiny("llama")
    gates, embedding = pair(model)
    others = fake_embedding("antonym", model=fake_identity(grid=model.grid))
    for error, fit in (
        (sl.InputError, (gates.replace(mix="norm_preserving"), embedding)),
        (sl.InputError, pair(model, ("L0H1",))),
        (sl.InputError, pair(model, ())),
        (sl.MismatchError, (gates, others)),  # heads of another width
    ):
        with pytest.raises(error):
            sl.control_vector(model, fit)
    with pytest.raises(sl.InputError):
        sl.control_vector_effect(model, (gates, embedding), sl.control_vector(model, (gates, embedding)), [])


def test_some_of_the_effect_is_kept_0_of_it_by_nothing_and_an_unknown_share_where_there_is_none(tiny: Models) -> None:
    model = tiny("gpt_neox")
    fit = pair(model)
    vector = sl.control_vector(model, fit)
    silent = sl.ControlVector("antonym", "gpt_neox", {1: 0 * vector.directions[1]}, vector.differences)
    nothing = sl.control_vector_effect(model, fit, silent, PROMPTS)
    assert nothing.kept == pytest.approx(0, abs=1e-6) and nothing.n_same == nothing.n_same_without
    no_edit = pair(model, size=0.0)
    assert np.isnan(sl.control_vector_effect(model, no_edit, silent, PROMPTS).kept)
    some = sl.control_vector_effect(model, fit, vector, PROMPTS)
    assert some.kept > 0 and f"of {len(PROMPTS)} prompts" in some.sentence
