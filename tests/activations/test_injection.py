"""Laws of injection: mixing an embedding into head outputs."""

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.heads.scores import MixRule
from site_lens.models.batch import Batch
from tests.conftest import Tasks
from tests.fakes import fake_embedding, fake_fit, fake_identity

RULES: tuple[MixRule, ...] = ("convex", "additive", "norm_preserving")


def test_rules_of_mixing() -> None:
    z, t, alpha = torch.randn(3, 4, 5), torch.randn(3, 4, 5), torch.rand(3, 4)
    for rule in RULES:
        assert torch.allclose(sl.mix(z, t, torch.zeros(3, 4), rule), z, atol=1e-6), rule
    assert torch.equal(sl.mix(z, t, torch.ones(3, 4), "convex"), t)
    a = alpha[..., None]
    convex, preserved = sl.mix(z, t, alpha), sl.mix(z, t, alpha, "norm_preserving")
    assert torch.allclose(convex, (1 - a) * z + a * t, atol=1e-6)
    assert torch.allclose(sl.mix(z, t, alpha, "additive"), z + a * t)
    assert torch.allclose(preserved.norm(dim=-1), z.norm(dim=-1), atol=1e-5)
    assert torch.allclose(torch.cosine_similarity(preserved, convex, dim=-1), torch.ones(3, 4), atol=1e-5)


def test_gradients_of_alpha_are_those_of_finite_differences() -> None:
    alpha = torch.full((2, 3), 0.4, dtype=torch.float64, requires_grad=True)
    z, t = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    for rule in RULES:
        assert torch.autograd.gradcheck(lambda a, rule=rule: sl.mix(z, t, a, rule), alpha), rule
    half, ones = torch.full((1, 1), 0.5, requires_grad=True), torch.ones(1, 1, 3)
    sl.mix(ones, -ones, half, "norm_preserving").sum().backward()  # type: ignore[no-untyped-call]  # the mix vanishes
    assert half.grad is not None
    assert half.grad.isfinite().all()


@pytest.fixture(scope="module")
def embedding(demo: sl.LensModel, demo_tasks: Tasks) -> sl.TaskEmbedding:
    return sl.capture_embeddings(demo, [demo_tasks["antonym"]], n_prompts=4, n_shots=3)["antonym"]


@pytest.fixture(scope="module")
def batch(demo: sl.LensModel) -> Batch:
    """Two prompts, one of them padded."""
    return Batch.of(demo.encoder.encode(["Q: hot\nA:", "Q: dog, cat, red\nA:"]), pad=0, device=demo.device)


def test_gates_of_zero_are_the_clean_model_and_gates_of_one_put_the_embedding_into_every_z(
    demo: sl.LensModel, embedding: sl.TaskEmbedding, batch: Batch
) -> None:
    zero, one = (sl.injection_edits(demo, sl.HeadGates.constant(demo.grid, alpha), embedding) for alpha in (0.0, 1.0))
    assert torch.equal(demo.forward(batch, zero), demo.forward(batch))
    seen = {}

    def look(layer: int) -> sl.Edit:
        def change(z: torch.Tensor) -> torch.Tensor:
            seen[layer] = z
            return z

        return sl.Edit(layer, change)

    demo.forward(batch, [*one, *(look(layer) for layer in range(6))])
    for layer in range(6):
        assert np.array_equal(seen[layer][0].numpy(), embedding.mean[layer])
        assert torch.equal(seen[layer][0], seen[layer][1])


def test_gates_bring_the_rule_of_their_fit(demo: sl.LensModel, embedding: sl.TaskEmbedding, batch: Batch) -> None:
    for rule in RULES:
        gates = fake_fit("antonym", model=demo.identity, embedding=embedding, config=sl.SiteConfig(mix=rule)).gates
        heads = gates.top(5)
        for derived in (gates, gates.hard(), gates.only(heads), sl.HeadGates.of(heads, mix=rule)):
            by_itself, by_name = (
                demo.forward(batch, sl.injection_edits(demo, derived, embedding, rule=given)) for given in (None, rule)
            )
            assert torch.equal(by_itself, by_name), rule


def test_gates_and_embeddings_of_other_heads_are_refused(demo: sl.LensModel, embedding: sl.TaskEmbedding) -> None:
    with pytest.raises(sl.MismatchError):
        sl.injection_edits(demo, sl.HeadGates.constant(sl.HeadGrid.full(2, 2), 0.5), embedding)
    other = fake_embedding("antonym", model=fake_identity("other"))  # d_head 4, not 32
    with pytest.raises(sl.MismatchError):
        sl.injection_edits(demo, sl.HeadGates.constant(demo.grid, 0.5), other)
