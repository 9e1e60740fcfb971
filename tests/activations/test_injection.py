"""The laws of mixing an embedding into head outputs."""

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.heads.scores import MixRule
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.hooks import Edit
from tests.fakes import fake_embedding, fake_fit, fake_identity

Z, T = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
RULES: tuple[MixRule, ...] = ("convex", "additive", "norm_preserving")


@pytest.mark.parametrize("rule", RULES)
def test_alpha_0_leaves_z_as_it_is(rule: MixRule) -> None:
    assert torch.allclose(sl.mix(Z, T, torch.zeros(3, 4), rule), Z, atol=1e-6)


def test_alpha_1_puts_the_embedding_in_place_of_z() -> None:
    assert torch.equal(sl.mix(Z, T, torch.ones(3, 4), "convex"), T)


def test_convex_is_the_papers_formula() -> None:
    alpha = torch.rand(3, 4)
    expected = (1 - alpha[..., None]) * Z + alpha[..., None] * T
    assert torch.allclose(sl.mix(Z, T, alpha), expected, atol=1e-6)


def test_additive_adds_alpha_times_the_embedding() -> None:
    alpha = torch.rand(3, 4)
    assert torch.allclose(sl.mix(Z, T, alpha, "additive"), Z + alpha[..., None] * T)


def test_norm_preserving_keeps_norms_and_takes_the_direction_of_the_convex_mix() -> None:
    alpha = torch.rand(3, 4)
    mixed, convex = sl.mix(Z, T, alpha, "norm_preserving"), sl.mix(Z, T, alpha)
    assert torch.allclose(mixed.norm(dim=-1), Z.norm(dim=-1), atol=1e-5)
    assert torch.allclose(torch.cosine_similarity(mixed, convex, dim=-1), torch.ones(3, 4), atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_gradients_of_alpha_are_those_of_finite_differences(rule: MixRule) -> None:
    alpha = torch.full((2, 3), 0.4, dtype=torch.float64, requires_grad=True)
    z, t = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a: sl.mix(z, t, a, rule), alpha)


def test_a_mix_that_vanishes_has_finite_gradients_under_norm_preservation() -> None:
    alpha = torch.full((1, 1), 0.5, requires_grad=True)
    z = torch.ones(1, 1, 3)
    sl.mix(z, -z, alpha, "norm_preserving").sum().backward()  # type: ignore[no-untyped-call]
    assert alpha.grad is not None
    assert alpha.grad.isfinite().all()


@pytest.fixture(scope="module")
def embedding(demo: LensModel, demo_tasks: dict[str, sl.Task]) -> sl.TaskEmbedding:
    return sl.capture_embeddings(demo, [demo_tasks["antonym"]], n_prompts=4, n_shots=3)["antonym"]


def batch_of(model: LensModel) -> Batch:
    return Batch.of(model.encoder.encode(["Q: hot\nA:", "Q: dog, cat, red\nA:"]), pad=0, device=model.device)


def test_gates_of_zero_are_the_clean_model(demo: LensModel, embedding: sl.TaskEmbedding) -> None:
    edits = sl.injection_edits(demo, sl.HeadGates.constant(demo.grid, 0.0), embedding, column=-1)
    assert torch.equal(demo.forward(batch_of(demo), edits), demo.forward(batch_of(demo)))


def test_gates_of_one_put_exactly_the_embedding_into_every_z(demo: LensModel, embedding: sl.TaskEmbedding) -> None:
    edits = sl.injection_edits(demo, sl.HeadGates.constant(demo.grid, 1.0), embedding, column=-1)
    seen = {}

    def look(layer: int) -> Edit:
        def change(z: torch.Tensor) -> torch.Tensor:
            seen[layer] = z
            return z

        return Edit(layer, change)

    demo.forward(batch_of(demo), [*edits, *(look(layer) for layer in range(6))])
    for layer in range(6):
        assert np.array_equal(seen[layer][0].numpy(), embedding.mean[layer])
        assert torch.equal(seen[layer][0], seen[layer][1])


def test_injecting_a_subset_of_heads_changes_only_those(demo: LensModel, embedding: sl.TaskEmbedding) -> None:
    heads = sl.HeadSet.of(demo.grid, ["L0H3", "L5H7"])
    gates = sl.HeadGates.constant(demo.grid, 0.5).only(heads)
    edits = sl.injection_edits(demo, gates, embedding, column=-1)
    z = demo.last_z(batch_of(demo))
    changed = edits[0].change(z[:, 0])
    same = (changed == z[:, 0]).all(-1)
    assert same[:, [0, 1, 2, 4, 5, 6, 7]].all()
    assert not same[:, 3].any()


def test_the_last_token_of_every_prompt_is_edited_unless_another_column_is_asked_for(
    demo: LensModel, embedding: sl.TaskEmbedding
) -> None:
    gates, batch = sl.HeadGates.constant(demo.grid, 0.5), batch_of(demo)
    assert int(batch.lengths.min()) < int(batch.lengths.max())  # one row is padded on the left
    edits = sl.injection_edits(demo, gates, embedding)
    whole = demo.forward(batch, edits)
    cached, _ = demo.decode(demo.prefill(batch.without_tail(1)), batch.tokens[:, -1:], edits)
    assert (whole - cached[:, -1]).abs().max() < 1e-4
    assert not torch.allclose(
        whole, demo.forward(batch, sl.injection_edits(demo, gates, embedding, column=0)), atol=1e-3
    )


@pytest.mark.parametrize("rule", RULES)
def test_gates_bring_the_rule_of_their_fit(rule: MixRule, demo: LensModel, embedding: sl.TaskEmbedding) -> None:
    config = sl.SiteConfig(mix=rule)
    fit = fake_fit("antonym", model=demo.identity, embedding=embedding, config=config)
    heads = fit.gates.top(5)
    derived = [
        fit.gates, fit.gates.hard(), fit.gates.only(heads), sl.HeadGates.of(heads, mix=rule),
        sl.HeadGates.constant(demo.grid, 0.5, mix=rule),
    ]  # fmt: skip
    for gates in derived:
        by_itself = demo.forward(batch_of(demo), sl.injection_edits(demo, gates, embedding))
        assert torch.equal(
            by_itself, demo.forward(batch_of(demo), sl.injection_edits(demo, gates, embedding, rule=rule))
        )


def test_gates_of_another_grid_are_refused(demo: LensModel, embedding: sl.TaskEmbedding) -> None:
    with pytest.raises(sl.MismatchError, match=r"do not fit demo, which has 6 layers x 8 heads"):
        sl.injection_edits(demo, sl.HeadGates.constant(sl.HeadGrid.full(2, 2), 0.5), embedding)


def test_an_embedding_of_a_model_with_other_heads_is_refused(demo: LensModel) -> None:
    stranger = fake_embedding("antonym", model=fake_identity("other"))  # d_head 4, not 32
    with pytest.raises(sl.MismatchError, match=r"was made on other .* fit it again on demo"):
        sl.injection_edits(demo, sl.HeadGates.constant(demo.grid, 0.5), stranger)
