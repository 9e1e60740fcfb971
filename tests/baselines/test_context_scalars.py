"""I2CL: context vectors, four scalars a layer, and their calibration."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.baselines.context_scalars import (
    SITES,
    START,
    calibrate,
    context_scalars,
    context_vectors,
    first_token_losses,
    mixing,
    share_of_rate,
)
from site_lens.baselines.in_context_vector import demonstrations
from site_lens.core.sampling import zero_shot_prompts
from site_lens.interventions.asking import Asked
from site_lens.models.protocol import Batch, LensModel
from site_lens.selectors.settings import ComparisonConfig
from site_lens.selectors.workbench import Workbench

SMALL = ComparisonConfig(n_shots=5, context_epochs=8, context_lr=0.05)


@pytest.fixture(params=["demo", "gpt2"])
def bench(
    request: pytest.FixtureRequest,
    demo: LensModel,
    tiny: Callable[[str], LensModel],
    demo_tasks: dict[str, sl.Task],
) -> Workbench:
    model = demo if request.param == "demo" else tiny("gpt2")
    return Workbench(model, demo_tasks["antonym"], SMALL, progress=False)


def asked_of(bench: Workbench) -> Asked:
    return Asked.of(bench.model, zero_shot_prompts(demonstrations(bench, "antonym"), SMALL.template))


def scalars_of(vectors: Tensor, a: float, b: float) -> Tensor:
    return torch.tensor([a, b]).repeat(*vectors.shape[:2], 1)


def test_no_vector_and_the_whole_output_are_the_clean_model(bench: Workbench) -> None:
    vectors, asked = context_vectors(bench, demonstrations(bench, "antonym")), asked_of(bench)
    batch = Batch.of(asked.ids, pad=0, device=bench.model.device)
    clean = bench.model.forward(batch)
    assert torch.equal(bench.model.forward(batch, mixing(vectors, scalars_of(vectors, 0.0, 1.0))), clean)
    assert not torch.allclose(bench.model.forward(batch, mixing(vectors, scalars_of(vectors, *START))), clean)


def test_every_output_becomes_b_out_plus_a_v_at_every_token(bench: Workbench) -> None:
    vectors = context_vectors(bench, demonstrations(bench, "antonym"))
    scalars = torch.randn(scalars_of(vectors, 0, 0).shape, generator=torch.Generator().manual_seed(0))
    edits = mixing(vectors, scalars)
    assert [(edit.layer, edit.site) for edit in edits] == [(layer, s) for layer in range(len(vectors)) for s in SITES]
    assert all(edit.column is None for edit in edits)
    out = torch.ones(2, 3, vectors.shape[2])
    for edit in edits:
        place = edit.layer, SITES.index(edit.site)
        torch.testing.assert_close(edit.change(out), scalars[place][1] * out + scalars[place][0] * vectors[place])


def test_every_prompt_may_have_scalars_of_its_own(bench: Workbench) -> None:
    vectors, asked = context_vectors(bench, demonstrations(bench, "antonym")), asked_of(bench)
    several = torch.stack([scalars_of(vectors, 0.1 * i, 1 - 0.05 * i) for i in range(len(asked))])
    together = first_token_losses(bench.model, asked, mixing(vectors, several))
    for i, own in enumerate(several):
        alone = first_token_losses(bench.model, asked.only([i]), mixing(vectors, own))
        assert float(alone) == pytest.approx(float(together[i]), abs=1e-4)


def test_context_vectors_are_means_over_demonstrations_run_alone(bench: Workbench) -> None:
    model, rows = bench.model, demonstrations(bench, "antonym")
    texts = [f"Q: {row.input}\nA: {row.output}\n\n" for row in rows]
    batches = [Batch.of(model.encoder.encode([text]), pad=0, device=model.device) for text in texts]
    for i, site in enumerate(SITES):
        alone = torch.cat([model.last_outputs(batch, site) for batch in batches])
        torch.testing.assert_close(context_vectors(bench, rows)[:, i], alone.mean(0), atol=1e-5, rtol=1e-5)


def test_calibration_moves_every_scalar_and_lowers_the_loss_on_the_demonstrations(bench: Workbench) -> None:
    five, test = bench.tasks["antonym"].train[:5], bench.tasks["antonym"].test
    bench = Workbench(bench.model, sl.Task("antonym", five, five, test), SMALL, progress=False)  # they are valid, too
    rows = demonstrations(bench, "antonym")
    vectors = context_vectors(bench, rows)
    scalars = calibrate(bench, "antonym", rows, vectors).state
    start = scalars_of(vectors, *START)
    loss_of = {
        name: float(first_token_losses(bench.model, asked_of(bench), mixing(vectors, chosen)).mean())
        for name, chosen in (("start", start), ("calibrated", scalars))
    }
    assert loss_of["calibrated"] < loss_of["start"] - 0.02
    assert (scalars != start).all()
    assert not scalars.requires_grad


def test_the_same_seed_calibrates_the_same_and_no_global_state_is_touched(bench: Workbench) -> None:
    rows = demonstrations(bench, "antonym")
    vectors = context_vectors(bench, rows)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    with torch.no_grad():
        first, again = (calibrate(bench, "antonym", rows, vectors).state for _ in range(2))
        assert not torch.is_grad_enabled()
    assert torch.equal(first, again)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


def test_the_rate_rises_over_a_twentieth_of_the_steps_and_falls_to_nothing() -> None:
    shares = [share_of_rate(step, n_steps=200) for step in range(201)]
    assert shares[0] == pytest.approx(0.1)
    assert np.argmax(shares) == 9
    assert all(late < early for early, late in zip(shares[9:], shares[10:], strict=False))
    assert shares[200] == pytest.approx(0)
    assert share_of_rate(0, n_steps=1) == 1


def test_a_calibration_that_diverges_is_an_error(bench: Workbench) -> None:
    wild = Workbench(
        bench.model, bench.tasks, SMALL.replace(context_lr=1e30, context_epochs=2, rate_factors=(1.0,)), progress=False
    )
    with pytest.raises(sl.FitError, match="context_scalars of 'antonym' became nonfinite"):
        context_scalars(wild, "antonym")


def test_context_scalars_say_what_they_took(bench: Workbench) -> None:
    method = context_scalars(bench, "antonym")
    n_layers = bench.model.grid.n_layers
    d_model = context_vectors(bench, demonstrations(bench, "antonym")).shape[2]
    assert (method.n_trained, method.n_shots) == (4 * n_layers, 0)
    assert method.n_labelled == 5 + len(bench.valid_rows("antonym"))
    assert method.stored_bytes == 4 * (2 * n_layers * d_model + 4 * n_layers)
    assert len(method.edits(bench.model)) == 2 * n_layers
