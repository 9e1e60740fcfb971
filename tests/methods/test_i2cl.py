"""I2CL: context vectors, four scalars a layer, and their calibration."""

import numpy as np
import pytest
import torch

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
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.tasks.prompt_sampling import zero_shot_prompts
from tests.methods.conftest import batch_of

SMALL = ComparisonConfig(n_shots=5, context_epochs=8, context_lr=0.05)


@pytest.fixture
def context(model: LensModel, demo_tasks: dict[str, sl.Task]) -> ComparisonContext:
    return ComparisonContext(model, demo_tasks["antonym"], SMALL, progress=False)


def test_every_output_becomes_b_out_plus_a_v_at_every_token(context: ComparisonContext) -> None:
    vectors = context_vectors(context, demonstrations(context, "antonym"))
    scalars = torch.randn((*vectors.shape[:2], 2), generator=torch.Generator().manual_seed(0))
    edits = mixing(vectors, scalars)
    places = [(layer, hook_point) for layer in range(len(vectors)) for hook_point in HOOK_POINTS]
    assert [(edit.layer, edit.hook_point, edit.column) for edit in edits] == [(*place, None) for place in places]
    out = torch.ones(2, 3, vectors.shape[2])
    for edit in edits:
        place = edit.layer, HOOK_POINTS.index(edit.hook_point)
        torch.testing.assert_close(edit.change(out), scalars[place][1] * out + scalars[place][0] * vectors[place])


def test_context_vectors_are_means_over_demonstrations_run_alone(context: ComparisonContext) -> None:
    model, rows = context.model, demonstrations(context, "antonym")
    batches = [batch_of(model, f"Q: {row.input}\nA: {row.output}\n\n") for row in rows]
    for i, site in enumerate(HOOK_POINTS):
        alone = torch.cat([model.last_outputs(batch, site) for batch in batches])
        torch.testing.assert_close(context_vectors(context, rows)[:, i], alone.mean(0), atol=1e-5, rtol=1e-5)


def test_calibration_moves_every_scalar_and_lowers_the_loss_on_the_demonstrations(context: ComparisonContext) -> None:
    five, test = context.tasks["antonym"].train[:5], context.tasks["antonym"].test
    of_valid = sl.Task("antonym", five, five, test)  # they are valid, too
    context = ComparisonContext(context.model, of_valid, SMALL, progress=False)
    rows = demonstrations(context, "antonym")
    vectors = context_vectors(context, rows)
    scalars = calibrate(context, "antonym", rows, vectors).state
    start = torch.tensor(START).expand(*vectors.shape[:2], 2)
    asked = Queries.of(context.model, zero_shot_prompts(rows, SMALL.template))
    before, after = (
        float(first_token_losses(context.model, asked, mixing(vectors, chosen)).mean()) for chosen in (start, scalars)
    )
    assert after < before - 0.02
    assert (scalars != start).all() and not scalars.requires_grad
    shares = [share_of_rate(step, n_steps=200) for step in range(201)]
    assert (shares[0], np.argmax(shares), shares[200]) == pytest.approx((0.1, 9, 0))


def test_context_scalars_say_what_they_took(context: ComparisonContext) -> None:
    method = context_scalars(context, "antonym")
    n_layers, n_sites, d_model = context_vectors(context, demonstrations(context, "antonym")).shape
    assert (method.n_trained, method.n_shots) == (4 * n_layers, 0)
    assert method.n_labelled == 5 + len(context.valid_rows("antonym"))
    assert method.stored_bytes == 4 * (n_sites * n_layers * d_model + 4 * n_layers)
    assert len(method.edits(context.model)) == 2 * n_layers
