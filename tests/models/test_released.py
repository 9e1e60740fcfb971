"""The real configs are those of the released models, and their small copies keep the proportions."""

import pytest
import torch
import transformers

from tests.real_configs import RELEASED, config_of


def test_a_model_of_the_real_config_has_as_many_parameters_as_the_hub_counts() -> None:
    for name, released in RELEASED.items():
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config_of(released))
        n_parameters = sum(weight.numel() for weight in model.parameters())
        assert n_parameters / 1e9 == pytest.approx(released.parameters, rel=5e-3), name
