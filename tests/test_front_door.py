"""Wrong types at every public function are answered by an error of ours, never by one from inside."""

import inspect
from typing import Any

import numpy as np
import pytest

import site_lens as sl
from tests.fakes import fake_fits


def test_every_public_function_answers_arguments_of_a_wrong_type_with_an_error_of_ours() -> None:
    n_functions = 0
    for door in (sl, sl.plots):
        for name in door.__all__:
            function = getattr(door, name)
            parameters = list(inspect.signature(function).parameters.values()) if inspect.isfunction(function) else []
            needed = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
            if needed:
                n_functions += 1
                named = {one.name: object() for one in needed if one.kind is one.KEYWORD_ONLY}
                with pytest.raises(sl.SiteLensError):
                    function(*(object() for _ in needed[len(named) :]), **named)
                    pytest.fail(f"{name} took an object()")
    assert n_functions > 50


def test_numbers_of_numpy_lists_for_tuples_and_generators_are_what_they_stand_for() -> None:
    fits = fake_fits(["antonym", "synonym"])
    gates = fits["antonym"].gates
    numbers: list[Any] = [np.int64(3), np.float32(0.5)]
    assert gates.top(numbers[0]) == gates.top(3) and gates.hard(numbers[1]) == gates.hard(0.5)
    assert sl.HeadGrid([2, 2]) == sl.HeadGrid.full(2, 2) and hash(sl.HeadGrid([2, 2]))  # type: ignore[arg-type]
    assert sl.head_overlap(one for one in fits.values()).names == sl.head_overlap(fits).names
