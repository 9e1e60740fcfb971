"""HookedTransformer gives what TransformerBridge gives (TransformerLens 3.9; not collected under 4)."""

import torch

import site_lens as sl
from tests.conftest import Models, Tasks
from tests.hooked_transformers import ARCHITECTURES
from tests.models.test_hosts import batch_of, gap, random_edits


def test_logits_and_z_are_those_of_the_bridge(hosted: Models) -> None:
    for kind in ARCHITECTURES:
        bridge, hooked = hosted(f"bridge {kind}"), hosted(f"hooked {kind}")
        batch = batch_of(bridge)
        edits = random_edits(bridge, torch.full(bridge.grid.shape, 0.3), -1)
        assert gap(hooked.forward(batch), bridge.forward(batch)) < 1e-5, kind
        assert gap(hooked.forward(batch, edits), bridge.forward(batch, edits)) < 1e-5, kind
        assert gap(hooked.last_z(batch), bridge.last_z(batch)) < 1e-5, kind


def test_a_fit_on_the_demo_model_finds_the_same_alphas(hosted: Models, demo_tasks: Tasks) -> None:
    tasks = [demo_tasks[name] for name in ("antonym", "choose_last_of_3")]
    bridge, hooked = (
        sl.fit_site(hosted(f"{host} demo"), tasks, sl.SiteConfig(n_steps=100)) for host in ("bridge", "hooked")
    )
    for task in tasks:
        assert abs(bridge[task.name].gates.values - hooked[task.name].gates.values).max() < 1e-3
