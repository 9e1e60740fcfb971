"""Models of the contract: `HOSTED` by host and architecture, such as `bridge llama`; see the fixture `hosted`."""

from importlib.metadata import version

import pytest

from tests.hooked_transformers import ARCHITECTURES as HOOKED_ARCHITECTURES
from tests.real_configs import RELEASED
from tests.tiny_models import ARCHITECTURES

NEEDS_4 = () if version("transformer-lens") >= "4" else ("qwen3_5", "qwen3_next")
"""Architectures whose linear attention TransformerLens 3.9 cannot take apart."""

HOOKED = tuple(f"hooked {kind}" for kind in HOOKED_ARCHITECTURES)
HOSTED = (*(f"bridge {kind}" for kind in (*ARCHITECTURES, *RELEASED, "demo") if kind not in NEEDS_4), *HOOKED)

FEW_HOSTS = (
    "bridge demo", "bridge gpt2", "bridge bloom", "bridge deepseek_v3", "bridge Llama-3.1-8B", "bridge gemma-3-4b",
    "bridge gemma4", "bridge qwen3_5", "bridge lfm2", *HOOKED,
)  # fmt: skip
"""Tested on each push: learned positions and ALiBi, split projections, latent attention and experts, grouped heads and
stretched rotary positions, images, sliding windows and norms behind attention, heads of two widths, recurrent states,
convolutions. `make nightly` runs the others."""

EVERY_HOST = [pytest.param(case, marks=[] if case in FEW_HOSTS else [pytest.mark.slow]) for case in HOSTED]
"""Parameters of a test that runs on all of them, the slow ones marked."""
