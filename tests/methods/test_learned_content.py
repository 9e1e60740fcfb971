"""Learned content changes what the heads of SITE's top k say, and nothing else; the mean is where it begins."""

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.methods.learned_content import learned_content
from site_lens.methods.site_variants import site_top_k
from site_lens.methods.validation import valid_losses, valid_questions
from site_lens.records.errors import NoHeadSetError
from tests.conftest import Bench

TASK = "antonym"
SMALL = sl.ComparisonConfig(
    n_prompts=6, n_shots=4, site=sl.SiteConfig(n_steps=40, eval_every=20, batch_size=4), content_steps=30,
    content_batch=4, n_valid=16, rate_factors=(1.0,),
)  # fmt: skip


@pytest.mark.parametrize("harms", [False, True])
def test_learned_vectors_do_better_on_valid_than_the_mean_which_is_kept_where_training_only_harms(
    bench: Bench, harms: bool
) -> None:
    context = bench(SMALL.replace(content_lr=1e4, content_steps=4) if harms else SMALL, TASK)
    method, mean = learned_content(context, TASK), site_top_k(context, TASK)
    learned, averaged = valid_losses(context, valid_questions(context, TASK), [method, mean])
    assert learned == pytest.approx(averaged, abs=1e-5) if harms else learned < 0.95 * averaged


def test_edits_touch_the_heads_of_the_top_k_alone_and_rows_of_valid_count_though_the_fit_looked_at_none(
    demo: sl.LensModel, bench: Bench
) -> None:
    context = bench(SMALL.replace(content_steps=2, site=SMALL.site.replace(keep="last")), TASK)
    method, fit, n_valid = learned_content(context, TASK), context.fits()[TASK], context.labelled("valid", task=TASK)
    mask = torch.tensor(fit.gates.top(method.n_heads or 0).mask())
    z = torch.randn(2, demo.grid.n_heads, demo.identity.d_head, generator=torch.Generator().manual_seed(0))
    for edit in method.edits(demo):
        changed = edit.change(z)
        assert edit.column == -1
        assert torch.equal(changed[:, ~mask[edit.layer]], z[:, ~mask[edit.layer]])
        assert torch.equal(changed[0, mask[edit.layer]], changed[1, mask[edit.layer]])
    assert method.n_trained == len(demo.grid) + (method.n_heads or 0) * demo.identity.d_head
    assert fit.n_valid == 0
    assert context.labelled("embedding", task=TASK) <= method.n_labelled - n_valid <= len(context.tasks[TASK].train)
    assert "cosine" in method.notes[-1]


def test_alphas_that_open_no_head_have_no_content_to_learn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    context = bench(SMALL, TASK)
    fit = context.fits()[TASK]
    almost = np.where(fit.gates.grid.mask, 1e-4, 0)
    almost[0, 0] = 2e-4
    closed = fit.replace(gates=fit.gates.replace(values=almost))
    monkeypatch.setattr(context, "fits", lambda **changes: {TASK: closed})
    with pytest.raises(NoHeadSetError):
        learned_content(context, TASK)
