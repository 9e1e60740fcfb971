"""Wrong types at every public function, method and class are answered by an error of ours, never by one from inside."""

import inspect
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.records.type_checks import ITERABLES, hint_of, suits
from tests.fake_studies import fake_ablation, fake_arithmetic, fake_content, fake_landscape, fake_sensitivity
from tests.fakes import GRID, fake_attention, fake_evaluation, fake_fits, fake_identity, fake_transfer
from tests.plots.fakes import fake_co_clusters, fake_head_clusters, fake_overlap, fake_task_clusters

WRONG = (None, 3, "x", object(), [object()], {"x": 3})
TASKS = ("antonym", "synonym", "capital")
"""Tasks of the records."""


def records() -> list[Any]:
    """Build one sound value of what the public functions take, in no order."""
    fits = fake_fits(TASKS)
    evaluations = sl.Evaluations(fake_evaluation(task) for task in TASKS)
    table = sl.ScoresByTask(fit.gates for fit in fits.values())
    task = sl.Task.from_examples("t", [sl.Example(f"i{i}", (f"o{i}",)) for i in range(30)])
    fit = fits[TASKS[0]]
    return [
        fits, fit, fit.gates, fit.embedding, fit.trace, sl.SiteConfig(), GRID, evaluations, evaluations[TASKS[0]],
        sl.Run(fits), table, task, task.audit(), fake_identity(), sl.Head(0, 1), sl.HeadSet.of(GRID, ["L0H1"]),
        sl.PromptTemplate(), task.test[0], sl.Limits(), sl.SiteJob(task, sl.SiteConfig(), fit.embedding),
        fake_attention("t"), fake_transfer(TASKS), fake_landscape(), fake_sensitivity(), fake_content(),
        fake_ablation({"site": 0.8, "other": 0.6}), fake_arithmetic([0.2, 0.5, 0.8], [0.8, 0.5, 0.2]),
        fake_overlap(["a", "b"]), fake_task_clusters(TASKS), fake_head_clusters(sl.HeadGrid.full(2, 3)),
        fake_co_clusters(TASKS, ["L0H0", "L1H2"], np.ones((3, 2))), sl.method_table(evaluations),
        sl.seed_agreement(fits), sl.check_convergence(fit), sl.diagnose(fits),
        sl.summarize_transfer(fake_transfer(TASKS)), sl.compare_selectors({"a": table, "b": table}),
    ]  # fmt: skip


def sound(hint: Any, values: list[Any]) -> Any:
    """Build or find a value that suits a hint; it need not fit the other arguments."""
    parts = get_args(hint)
    if get_origin(hint) in ITERABLES:
        return [sound(parts[0], values)]
    if get_origin(hint) is Literal:
        return parts[0]
    if get_origin(hint) is Mapping:
        return {"antonym": sound(parts[1], values)}
    simple = ["antonym", 1, 0.5, "site", Path("out"), True, GRID.mask, torch.zeros(1, 8, 4), torch.zeros(1, 8), print]
    found = [one for one in (*values, *simple) if suits(one, hint)]
    return found[0] if found else sound(parts[0], values) if parts else None


def callables(values: list[Any]) -> Iterator[tuple[str, Callable[..., Any], bool]]:
    """Name every public function, plot, class and method, and tell whether a call of it may take long."""
    for door in (sl, sl.plots):
        for name in door.__all__:
            thing = getattr(door, name)
            if (
                callable(thing)
                and not inspect.isabstract(thing)
                and not (isinstance(thing, type) and issubclass(thing, Exception))
            ):
                yield f"{door.__name__}.{name}", thing, not isinstance(thing, type) and door is sl
            if isinstance(thing, type):
                owner = next((one for one in values if type(one) is thing), None)
                ours = [vars(one) for one in thing.__mro__ if one.__module__.startswith("site_lens")]
                for method, member in {key: found for one in reversed(ours) for key, found in one.items()}.items():
                    is_method = isinstance(member, FunctionType) and owner is not None
                    if not method.startswith(("_", "model_")) and (is_method or isinstance(member, classmethod)):
                        yield f"{name}.{method}", getattr(owner if is_method else thing, method), False


def calls(function: Callable[..., Any], values: list[Any], *, slow: bool) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """Put everything wrong in the place of every argument in turn, the required others being sound."""
    signature = inspect.signature(function)
    inner = getattr(function, "__func__", function)
    hints = {
        name: hint_of(one, inner if isinstance(inner, FunctionType) else function.__init__)
        for name, one in signature.parameters.items()
    }
    kinds = inspect.Parameter
    needed = [one for one in signature.parameters.values() if one.default is one.empty and "VAR" not in one.kind.name]
    for name, parameter in signature.parameters.items():
        for wrong in WRONG:
            if slow and hints[name] is not Any and suits(wrong, hints[name]):
                continue  # what suits may begin a fit, write a file or ask the hub
            given = {one.name: sound(hints[one.name], values) for one in needed} | {name: wrong}
            if parameter.kind is kinds.VAR_KEYWORD:
                continue
            if parameter.kind is kinds.VAR_POSITIONAL:
                given.pop(name)
                yield [wrong], given
            else:
                positional = [given.pop(one.name) for one in needed if one.kind is kinds.POSITIONAL_OR_KEYWORD]
                yield positional, given


def test_everything_public_answers_wrong_types_with_an_error_of_ours(
    demo: LensModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = [demo, *records()]
    faults, n_calls = [], 0
    for name, function, slow in callables(values):
        for positional, named in calls(function, values, slow=slow):
            n_calls += 1
            try:
                done = function(*positional, **named)
                if hasattr(done, "__enter__") and not isinstance(done, Path):
                    with done:
                        pass
            except sl.SiteLensError as error:
                if "\n" in str(error):
                    faults.append(f"{name} says it in several lines: {error}")
            except Exception as error:  # noqa: BLE001  # every one of them is a fault, and all are listed
                shown = ", ".join(f"{one!r:.40}" for one in (*positional, *named.items()))
                faults.append(f"{name}({shown}): {type(error).__name__}: {error}")
    assert not faults, f"{len(faults)} of {n_calls}:\n" + "\n".join(faults)
    assert n_calls > 500


def test_a_model_that_is_not_wrapped_is_refused_with_the_way_to_wrap_it(demo_tasks: dict[str, sl.Task]) -> None:
    plain = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=8))
    with pytest.raises(sl.InputError, match="wrap_model"):
        sl.fit_site(plain, demo_tasks)


def test_numbers_of_numpy_lists_for_tuples_and_generators_are_what_they_stand_for() -> None:
    fits = fake_fits(TASKS)
    gates = fits[TASKS[0]].gates
    numbers: list[Any] = [np.int64(3), np.float32(0.5)]
    assert gates.top(numbers[0]) == gates.top(3) and gates.hard(numbers[1]) == gates.hard(0.5)
    assert sl.HeadGrid([2, 2]) == sl.HeadGrid.full(2, 2) and hash(sl.HeadGrid([2, 2]))  # type: ignore[arg-type]
    assert sl.head_overlap(one for one in fits.values()).names == sl.head_overlap(fits).names


def test_a_text_is_no_sequence_and_a_truth_value_no_number() -> None:
    fits = fake_fits(TASKS)
    for call in (
        lambda: sl.method_table(sl.Evaluations([fake_evaluation("t")]), "site"),
        lambda: fits[TASKS[0]].gates.top(True),
        lambda: sl.cluster_heads(fits, min_alpha=True),
        lambda: sl.plots.head_maps(fits, columns="3"),  # type: ignore[arg-type]  # what it is about
    ):
        with pytest.raises(sl.InputError):
            call()


def test_public_functions_pickle_and_python_says_itself_which_arguments_are_missing() -> None:
    for function in (sl.write_report, sl.plots.head_map):
        assert pickle.loads(pickle.dumps(function)) is function
        with pytest.raises(TypeError, match=rf"{function.__name__}\(\) missing"):
            function()
