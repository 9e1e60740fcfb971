"""I2CL: context vectors, four scalars a layer, and their calibration."""

import numpy as np
import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.activations.queries import Queries
from site_lens.methods.i2cl import (
    HOOK_POINTS,
    START,
    calibrate,
    context_scalars,
    context_vectors,
    mixing,
    share_of_rate,
)
from site_lens.methods.in_context_vector import demonstrations
from site_lens.methods.training import first_token_losses
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.tasks.prompt_sampling import zero_shot_prompts

SMALL = ComparisonConfig(n_shots=5, context_epochs=8, context_lr=0.05)


@pytest.fixture
def context(model: LensModel, demo_tasks: dict[str, sl.Task]) -> ComparisonContext:
    return ComparisonContext(model, demo_tasks["antonym"], SMALL, progress=False)


def asked_of(context: ComparisonContext) -> Queries:
    return Queries.of(context.model, zero_shot_prompts(demonstrations(context, "antonym"), SMALL.template))


def scalars_of(vectors: Tensor, a: float, b: float) -> Tensor:
    return torch.tensor([a, b]).repeat(*vectors.shape[:2], 1)


def test_no_vector_and_the_whole_output_are_the_clean_model(context: ComparisonContext) -> None:
    vectors, asked = context_vectors(context, demonstrations(context, "antonym")), asked_of(context)
    batch = Batch.of(asked.ids, pad=0, device=context.model.device)
    clean = context.model.forward(batch)
    assert torch.equal(context.model.forward(batch, mixing(vectors, scalars_of(vectors, 0.0, 1.0))), clean)
    assert not torch.allclose(context.model.forward(batch, mixing(vectors, scalars_of(vectors, *START))), clean)


def test_every_output_becomes_b_out_plus_a_v_at_every_token(context: ComparisonContext) -> None:
    vectors = context_vectors(context, demonstrations(context, "antonym"))
    scalars = torch.randn(scalars_of(vectors, 0, 0).shape, generator=torch.Generator().manual_seed(0))
    edits = mixing(vectors, scalars)
    assert [(edit.layer, edit.hook_point) for edit in edits] == [
        (layer, s) for layer in range(len(vectors)) for s in HOOK_POINTS
    ]
    assert all(edit.column is None for edit in edits)
    out = torch.ones(2, 3, vectors.shape[2])
    for edit in edits:
        place = edit.layer, HOOK_POINTS.index(edit.hook_point)
        torch.testing.assert_close(edit.change(out), scalars[place][1] * out + scalars[place][0] * vectors[place])


def test_context_vectors_are_means_over_demonstrations_run_alone(context: ComparisonContext) -> None:
    model, rows = context.model, demonstrations(context, "antonym")
    texts = [f"Q: {row.input}\nA: {row.output}\n\n" for row in rows]
    batches = [Batch.of(model.encoder.encode([text]), pad=0, device=model.device) for text in texts]
    for i, site in enumerate(HOOK_POINTS):
        alone = torch.cat([model.last_outputs(batch, site) for batch in batches])
        torch.testing.assert_close(context_vectors(context, rows)[:, i], alone.mean(0), atol=1e-5, rtol=1e-5)


def test_calibration_moves_every_scalar_and_lowers_the_loss_on_the_demonstrations(context: ComparisonContext) -> None:
    five, test = context.tasks["antonym"].train[:5], context.tasks["antonym"].test
    context = ComparisonContext(
        context.model, sl.Task("antonym", five, five, test), SMALL, progress=False
    )  # they are valid, too
    rows = demonstrations(context, "antonym")
    vectors = context_vectors(context, rows)
    scalars = calibrate(context, "antonym", rows, vectors).state
    start = scalars_of(vectors, *START)
    loss_of = {
        name: float(first_token_losses(context.model, asked_of(context), mixing(vectors, chosen)).mean())
        for name, chosen in (("start", start), ("calibrated", scalars))
    }
    assert loss_of["calibrated"] < loss_of["start"] - 0.02
    assert (scalars != start).all()
    assert not scalars.requires_grad


def test_the_rate_rises_over_a_twentieth_of_the_steps_and_falls_to_nothing() -> None:
    shares = [share_of_rate(step, n_steps=200) for step in range(201)]
    assert shares[0] == pytest.approx(0.1)
    assert np.argmax(shares) == 9
    assert all(late < early for early, late in zip(shares[9:], shares[10:], strict=False))
    assert shares[200] == pytest.approx(0)
    assert share_of_rate(0, n_steps=1) == 1


def test_context_scalars_say_what_they_took(context: ComparisonContext) -> None:
    method = context_scalars(context, "antonym")
    n_layers = context.model.grid.n_layers
    d_model = context_vectors(context, demonstrations(context, "antonym")).shape[2]
    assert (method.n_trained, method.n_shots) == (4 * n_layers, 0)
    assert method.n_labelled == 5 + len(context.valid_rows("antonym"))
    assert method.stored_bytes == 4 * (2 * n_layers * d_model + 4 * n_layers)
    assert len(method.edits(context.model)) == 2 * n_layers
