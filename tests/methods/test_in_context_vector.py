"""In-context vectors: how they are made of pairs, and how they turn states without changing their norms."""

from functools import partial

import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.methods.in_context_vector import (
    demonstrations,
    differences,
    in_context_vector,
    principal_shift,
)
from tests.methods.conftest import batch_of

PROMPTS = ["Q: hot\nA:", "Q: old\nA: young\n\nQ: day\nA:"]
SMALL = sl.ComparisonConfig(n_shots=5, n_valid=6, context_strengths=(0.1, 0.4))


@pytest.fixture
def context(model: sl.LensModel, demo_tasks: dict[str, sl.Task]) -> sl.ComparisonContext:
    return sl.ComparisonContext(model, demo_tasks["english-french"], SMALL, progress=False)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_planted_mean_and_direction_are_found_with_the_sign_of_the_farthest_pair() -> None:
    mean, direction = random(3, 4), torch.nn.functional.normalize(random(12, seed=1), dim=0).view(3, 4)
    for sign in (1.0, -1.0):
        scores = sign * torch.tensor([4.0, -1.0, -1.0, -2.0])
        pairs = mean + scores[:, None, None] * direction
        torch.testing.assert_close(principal_shift(pairs), mean + sign * direction, atol=1e-5, rtol=0)


def test_differences_are_those_of_bare_texts_run_alone(context: sl.ComparisonContext) -> None:
    model, rows = context.model, demonstrations(context, "english-french")

    def alone(text: str) -> Tensor:
        return model.last_outputs(batch_of(model, text), "residual")[0]

    plain = torch.stack([alone(" " + row.output) - alone(" " + row.input) for row in rows])
    torch.testing.assert_close(differences(context, rows), plain, atol=1e-4, rtol=1e-4)


def test_every_layer_and_every_token_is_turned_towards_the_vector_of_its_layer(context: sl.ComparisonContext) -> None:
    model = context.model
    method = in_context_vector(context, "english-french")
    vector = principal_shift(differences(context, demonstrations(context, "english-french")))
    assert (method.n_labelled, method.n_shots, method.n_trained, method.every_step) == (5 + 6, 0, 0, True)
    assert method.stored_bytes == vector.nbytes and "strength 0." in method.notes[0]
    seen: dict[str, list[Tensor]] = {"before": [], "after": []}

    def look(when: str, out: Tensor) -> Tensor:
        seen[when].append(out.clone())
        return out

    edits = []
    for edit in method.edits(model):
        looks = [sl.Edit(edit.layer, partial(look, when), None, edit.hook_point) for when in ("before", "after")]
        edits += [looks[0], edit, looks[1]]
    assert len(edits) == 3 * model.grid.n_layers
    model.forward(batch_of(model, *PROMPTS), edits)
    for before, after, own in zip(seen["before"], seen["after"], vector, strict=True):
        torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1))
        turned = torch.cosine_similarity(after, own, dim=-1) - torch.cosine_similarity(before, own, dim=-1)
        assert (turned > 1e-3).all()
