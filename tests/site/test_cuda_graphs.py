"""CUDA graphs of training passes, with a recorder that needs no GPU."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.activations.injection import injection
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.kv_cache import Prefix
from site_lens.records.errors import InputError
from site_lens.selectors.causal_head_gating import gatings_of_all_tokens
from site_lens.selectors.learned_gates import hard_concrete
from site_lens.site import cuda_graphs
from site_lens.site.cuda_graphs import WIDTH_STEP, GraphedPass, Outputs
from site_lens.site.optimizer import answer_loss
from tests.conftest import Bench, Models, Tasks
from tests.cuda_recorder import Recorder
from tests.hosts import EVERY_HOST

READS_NUMBERS = "bridge bloom"
"""Host of the model whose code makes numbers on the CPU, for positions of ALiBi."""


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(cuda_graphs, "recorded", made)
    return made


def test_fits_with_graphs_are_those_without(
    demo: LensModel, demo_tasks: Tasks, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = sl.SiteConfig(n_steps=8, n_prompts=4, n_shots=3, n_valid=8, eval_every=4, head_price=0.01)
    plain = sl.fit_site(demo, demo_tasks, config)
    monkeypatch.setattr(demo, "_cuda_graphs", True)
    graphed = sl.fit_site(demo, demo_tasks, config)
    assert recorder.n_replayed == config.n_steps - 1 and recorder.n_recorded == 1  # all steps have one shape
    for name, fit in plain.items():
        assert np.abs(fit.trace.alphas[-1] - 0.5).max() > 0.2
        assert np.abs(fit.trace.alphas - graphed[name].trace.alphas).max() < 1e-4
        assert np.allclose(fit.trace.loss, graphed[name].trace.loss, atol=1e-4)


def test_gates_that_are_drawn_are_learned_alike(
    demo: LensModel, demo_tasks: Tasks, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = sl.ComparisonConfig(n_prompts=4, n_shots=2, n_valid=4, l0_steps=6, site=sl.SiteConfig(batch_size=2))
    found = []
    for graphs in (False, True):
        monkeypatch.setattr(demo, "_cuda_graphs", graphs)
        context = sl.ComparisonContext(demo, [demo_tasks["antonym"]], config, progress=False)
        found.append(hard_concrete(context)["antonym"].values)
    assert np.abs(found[0] - found[1]).max() < 1e-4
    assert recorder.n_replayed > 0


def test_gates_of_all_tokens_have_no_prefix_and_no_graph(
    bench: Bench, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = bench(sl.ComparisonConfig(n_prompts=2, n_shots=2, n_valid=2, gating_steps=2), "antonym")
    monkeypatch.setattr(context.model, "_cuda_graphs", True)
    gatings_of_all_tokens(context)
    assert recorder.n_recorded == 0


@pytest.mark.parametrize("case", EVERY_HOST)
def test_a_pass_of_every_host_is_replayed_on_other_prompts_unless_its_code_reads_numbers(
    case: str, hosted: Models, recorder: Recorder
) -> None:
    model, stream = hosted(case), np.random.default_rng(0)
    alpha = torch.full((2, *model.grid.shape), 0.5)
    embedding = torch.randn(1, *model.grid.shape, model.identity.d_head, generator=torch.Generator().manual_seed(0))

    def differentiate(prefix: Prefix, tail: Tensor, gates: Tensor) -> Outputs:
        leaf = gates.detach().requires_grad_()
        owners = tail[:, 0] * 0
        edits = injection(leaf, embedding, owners, heads_per_layer=model.grid.heads_per_layer, column=0)
        with torch.enable_grad():
            losses = answer_loss(model.decode(prefix, tail, edits)[0], tail, torch.ones_like(tail).float())
            return losses.detach(), torch.autograd.grad(losses.sum(), leaf)[0]

    graphed, can_be = GraphedPass(model.device), case != READS_NUMBERS
    warns = nullcontext() if can_be else pytest.warns(UserWarning, match="CUDA graph")
    for n_tokens in ((5, 8), (8, 4), (6, 8), (7, 7)):
        prompts = [stream.integers(3, 30, n).tolist() for n in n_tokens]
        batch = Batch.of(prompts, pad=model.encoder.pad, device=model.device)
        prefix = model.prefill(batch.without_tail(1)).widened(WIDTH_STEP)
        arguments = (prefix, batch.tokens[:, -1:], alpha + 0.01 * n_tokens[0])
        expected = differentiate(*arguments)
        with warns:
            found = graphed(differentiate, *arguments)
        warns = nullcontext()  # it says so once
        for ours, theirs in zip(found, expected, strict=True):
            assert (ours - theirs).abs().max() <= 1e-5 * max(1.0, float(theirs.abs().max()))
    assert (recorder.n_recorded, recorder.n_replayed) == ((1, 3) if can_be else (0, 0))


@pytest.mark.parametrize("times", [1, 2])
def test_a_copy_of_a_prefix_is_filled_with_another_without_changing_the_original(demo: LensModel, times: int) -> None:
    prompts = [[[3, 4, 5], [6, 7, 8]], [[9, 10, 11], [12, 13]]]
    batches = [Batch.of(rows, pad=demo.encoder.pad, device=demo.device) for rows in prompts]
    one, other = (demo.prefill(batch).repeated(times) for batch in batches)
    tail = torch.tensor([[4], [5]] * times)
    copy, before = one.copied(), [demo.decode(each, tail)[0] for each in (one, other)]
    assert one.layout == other.layout == copy.layout != demo.prefill(*batches).layout
    assert torch.equal(demo.decode(copy, tail)[0], before[0])
    copy.fill(other)
    assert torch.equal(demo.decode(copy, tail)[0], before[1])
    assert torch.equal(demo.decode(one, tail)[0], before[0])


def test_graphs_are_refused_off_a_gpu(demo: LensModel) -> None:
    demo.cuda_graphs = False
    with pytest.raises(InputError):
        demo.cuda_graphs = True
    assert not demo.cuda_graphs
