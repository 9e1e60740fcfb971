"""Locking of a model: one call at a time, no other hooks, no changed weights, and torch as it is by default."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import site_lens as sl
from site_lens._public import public_names
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.hooks import HOOK_NAMES
from tests.conftest import Folders, Models, Tasks
from tests.hooked_transformers import ARCHITECTURES as HOOKED

SMALL = sl.SiteConfig(n_prompts=3, n_shots=3, n_steps=6, eval_every=3, n_valid=6)
HOSTS = ["bridge", *(["hooked"] if HOOKED else [])]


@pytest.fixture(params=HOSTS)
def fresh(request: pytest.FixtureRequest, tiny_folder: Folders, hooked_transformer: Models) -> Callable[[], LensModel]:
    """Return models that nobody else has."""

    def model() -> LensModel:
        if request.param == "hooked":
            found = hooked_transformer("gpt2")
        else:
            found = sl.load_model(tiny_folder("gpt2"), dtype="float32", device="cpu")
        assert isinstance(found, LensModel)
        return found

    return model


def batch_of(model: LensModel) -> Batch:
    return Batch.of(model.encoder.encode(["Q: hot\nA:", "Q: dog, cat, red\nA:"]), pad=0, device=model.device)


# One at a time


def test_calls_of_two_threads_give_what_each_gives_alone(demo: LensModel, demo_tasks: Tasks) -> None:
    again = sl.wrap_model(demo.host, name="demo")
    first, second = demo_tasks["antonym"], demo_tasks["english-french"]

    def answered() -> Any:
        return sl.evaluate(demo, second, max_queries=10)[second.name].log_prob

    alone = [sl.fit_site(demo, task, SMALL)[task.name].gates.values for task in (first, second)], answered()
    with ThreadPoolExecutor(3) as threads:
        one = threads.submit(lambda: sl.fit_site(demo, first, SMALL)[first.name].gates.values)
        other = threads.submit(lambda: sl.fit_site(again, second, SMALL)[second.name].gates.values)
        answers = threads.submit(answered)
    assert np.array_equal(one.result(), alone[0][0])
    assert np.array_equal(other.result(), alone[0][1])
    assert np.array_equal(answers.result(), alone[1])


def test_every_public_function_that_runs_a_model_locks_it() -> None:
    # As they are at home: at the door arguments are looked at before.
    functions = {name: getattr(import_module(home), name) for name, home in public_names(sl.__file__).items()}
    functions = {name: one for name, one in functions.items() if inspect.isfunction(one)}
    first = {name: next(iter(inspect.signature(one).parameters), "") for name, one in functions.items()}
    run_none = ("injection_edits", "chat_template", "first_tokens", "wrap_model")
    running = [name for name in functions if first[name] == "model" and name not in run_none]
    assert len(running) > 12
    for name in running:
        others = list(inspect.signature(functions[name]).parameters.values())[1:]
        with pytest.raises(sl.InputError):
            functions[name](nn.Linear(2, 2), *(None for one in others if one.default is one.empty and one.kind < 2))
    ways = ["last_z", "last_outputs", "project", "attention", "read_attention", "prefill", "decode", "forward"]
    assert all(hasattr(getattr(LensModel, name), "__wrapped__") for name in ways)


# Hooks of others


def a_deep_module(model: LensModel) -> nn.Module:
    modules: list[nn.Module] = list(model.host.modules())
    return next(module for module in reversed(modules) if type(module).__name__ in ("LayerNorm", "LayerNormPre"))


def test_other_hooks_are_refused_and_left_alone(fresh: Callable[[], LensModel]) -> None:
    model = fresh()
    before, point = model.forward(batch_of(model)), model.host.hook_dict[HOOK_NAMES["z"].format(layer=1)]
    for is_on_point in (False, True):
        if is_on_point:
            point.add_hook(lambda z, hook: 2 * z)
        else:
            handle = a_deep_module(model).register_forward_hook(lambda module, args, out: 2 * out)
        for call in (lambda: model.forward(batch_of(model)), lambda: sl.wrap_model(model.host)):
            with pytest.raises(sl.ModelError, match="hooks"):
                call()
        point.remove_hooks() if is_on_point else handle.remove()
        assert torch.equal(model.forward(batch_of(model)), before)


# Changed weights, modules and modes


def a_weight(model: LensModel) -> tuple[nn.Module, str, nn.Parameter]:
    return next(
        (module, name, weight)
        for module in model.host.blocks[1].modules()
        for name, weight in module.named_parameters(recurse=False)
        if weight.ndim > 1
    )


def replaced(model: LensModel) -> None:
    module, name, weight = a_weight(model)
    setattr(module, name, nn.Parameter(weight.detach().clone(), requires_grad=False))


CHANGES: dict[str, Callable[[LensModel], object]] = {
    "in place": lambda model: a_weight(model)[2].add_(1),
    "through data": lambda model: a_weight(model)[2].data.mul_(1.5),
    "replaced": replaced,
    "another number format": lambda model: nn.Module.to(model.host, torch.bfloat16),
    "another forward": lambda model: setattr(a_deep_module(model), "forward", lambda *args, **kwargs: args[0]),
}


def test_a_model_that_was_changed_is_refused_at_the_next_call(fresh: Callable[[], LensModel]) -> None:
    for name, change in CHANGES.items():
        model = fresh()
        with torch.no_grad():
            change(model)
        with pytest.raises(sl.ModelError):
            model.forward(batch_of(model))
            pytest.fail(name)
