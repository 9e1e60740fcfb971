"""Without the extra lm-eval: names are there, what needs it says what to install; a run never loads harness tasks."""

import sys
from collections.abc import Callable
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location

import pytest

import site_lens as sl
from site_lens.methods import harness_model

SOURCES = ("lm_eval:arc_easy", "lm_eval:task.yaml", "lm_eval:")


def test_without_the_harness_its_extra_is_named(monkeypatch: pytest.MonkeyPatch, demo: sl.LensModel) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    spec = spec_from_file_location("without_harness", harness_model.__file__)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.SiteLM.__mro__ == (module.SiteLM, object)
    uses: list[Callable[[], object]] = [lambda: module.SiteLM(demo)]
    uses += [partial(sl.load_tasks, source) for source in SOURCES]
    for use in uses:
        with pytest.raises(sl.InputError) as info:
            use()
        assert "site_lens[lm-eval]" in str(info.value) and len(str(info.value).splitlines()) == 1


def test_the_harness_tasks_of_a_run_are_not_loaded() -> None:
    for source in SOURCES:  # runs may come from anybody, and harness tasks may run code
        inputs = sl.RunInputs(tasks=(source,), model="demo")
        with pytest.raises(sl.InputError):
            inputs.check(*inputs.tasks)
