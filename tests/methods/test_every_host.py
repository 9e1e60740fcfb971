"""Every method and selector on every host of the contract: it runs, or says what the host does not show."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.runs.run_methods import DEFAULT_METHODS, run_methods
from site_lens.selectors.registry import SELECTORS
from tests.conftest import Models
from tests.hosts import HOSTED

TINY = sl.ComparisonConfig(
    n_prompts=2, n_shots=2, n_probes=2, n_valid=3,
    site=sl.SiteConfig(n_steps=2, batch_size=2, n_valid=3, loss="first_token"), mask_steps=2,
    masks_per_step=4, l0_steps=2, gating_steps=2, weight_steps=2, context_epochs=1, context_strengths=(0.1,),
    lora_steps=2, lora_batch=2, content_steps=2, content_batch=2, sensing_masks=4,
    n_vector_heads=3, effect_prompts=2, mask_prompts=2, mask_shots=2,
)  # fmt: skip


NEED_TO_SEE_INSIDE = ("gim", "relp")
"""Selectors that a host may be refused by, since it does not show the inside of attention and MLPs."""
ON_EACH_PUSH = ("bridge Llama-3.1-8B", "bridge lfm2", "hooked gpt2")
"""Grouped heads; layers without heads; the class of TransformerLens 3.9. Every method runs on the demo model in the
studies and in the commands, and on the other hosts in `make nightly`."""
CASES = [pytest.param(case, marks=[] if case in ON_EACH_PUSH else [pytest.mark.slow]) for case in HOSTED]


@pytest.fixture(scope="module")
def pair() -> list[sl.Task]:
    rows = [sl.Example(f"w{i}", (f"v{i}",)) for i in range(24)]
    return [sl.Task.from_examples(name, rows, seed=i) for i, name in enumerate(("one", "two"))]


@pytest.mark.filterwarnings("ignore:.*(gim|relp)")
@pytest.mark.parametrize("case", CASES)
def test_all_methods_and_selectors_run_on_a_host(case: str, hosted: Models, pair: list[sl.Task]) -> None:
    methods = [*DEFAULT_METHODS, *([] if case.startswith("hooked") or "deepseek" in case else ["lora"])]
    run = run_methods(
        hosted(case), pair, methods, selectors=list(SELECTORS), config=TINY, max_queries=2, progress=False
    )
    assert run.evaluations is not None
    for one in run.evaluations.values():
        no_set = sum("no head set found" in note for note in one.notes)  # as of most models that were never trained
        assert len(one.methods) == len(methods) - no_set and no_set in (0, 2)
        assert np.isfinite(one.log_prob).all()
    refused = set(SELECTORS) - set(run.scores)
    assert refused <= (set() if case in ("bridge Llama-3.1-8B", "hooked gpt2") else set(NEED_TO_SEE_INSIDE))
