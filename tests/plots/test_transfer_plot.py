"""The transfer figure holds the record's accuracies under its references."""

import numpy as np
import pytest

import site_lens as sl
from tests.fakes import fake_transfer


def test_rows_are_references_null_and_sources_in_the_order_asked() -> None:
    rates = np.arange(25).reshape(5, 5) / 40
    matrix = fake_transfer(rates={"alphas": rates})
    cells = sl.plots.transfer(matrix, order=(4, 3, 2, 1, 0)).data[0].z
    assert np.allclose(cells[:4], np.array([[0.1], [0.6], [0.9], [0.1]]), atol=0.02)
    assert np.isnan(cells[4]).all()
    assert np.allclose(cells[5:], matrix.accuracies("alphas")[::-1, ::-1])


def test_names_are_escaped_and_the_scale_is_fixed() -> None:
    figure = sl.plots.transfer(fake_transfer(["<script>", "b", "c"]), kind="both")
    assert "&lt;script&gt;" in figure.data[0].text[5][0]
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)


def test_an_unknown_kind_or_order_is_refused() -> None:
    with pytest.raises(sl.InputError, match="alphas"):
        sl.plots.transfer(fake_transfer(), kind="heads")  # type: ignore[arg-type]
    with pytest.raises(sl.InputError, match="order"):
        sl.plots.transfer(fake_transfer(), order=(0, 0, 1, 2, 3))
