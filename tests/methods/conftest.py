"""Fixtures of the tests of methods."""

from collections.abc import Callable

import pytest

from site_lens.models.base import LensModel


@pytest.fixture(params=["demo", "gpt2"])
def model(request: pytest.FixtureRequest, demo: LensModel, tiny: Callable[[str], LensModel]) -> LensModel:
    """The demo model, and a tiny GPT-2, whose blocks are built in another way."""
    return demo if request.param == "demo" else tiny("gpt2")
