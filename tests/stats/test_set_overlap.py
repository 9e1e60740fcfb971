"""Chance overlap of layer-matched sets: exact against enumeration, and findable overlaps at their level."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_lens.stats.set_overlap import expected_jaccard, fewest_findable, pair_by_chance
from tests.samples import laws

layers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=3)


@laws
@given(layers)
def test_chances_are_those_of_all_layer_matched_sets(sizes: list[tuple[int, int, int]]) -> None:
    planned = [(n, min(a, n), min(b, n)) for n, a, b in sizes if n]
    if not planned:
        return
    heads, one, other = (tuple(column) for column in zip(*planned, strict=True))
    first = {(layer, head) for layer, a in enumerate(one) for head in range(a)}
    in_layer = [combinations([(i, h) for h in range(n)], b) for i, (n, _, b) in enumerate(planned)]
    every = [{head for part in parts for head in part} for parts in product(*in_layer)]
    counts = np.bincount([len(first & second) for second in every])
    chances = pair_by_chance(heads, one, other)
    np.testing.assert_allclose(chances[: len(counts)], counts / len(every), atol=1e-12)
    assert chances.sum() == pytest.approx(1)
    if first and sum(other):
        mean = np.mean([len(first & second) / len(first | second) for second in every])
        assert expected_jaccard(chances, len(first), sum(other)) == pytest.approx(mean)
    np.testing.assert_allclose(chances, pair_by_chance(heads, other, one), atol=1e-12)  # neither set is the first


def test_the_fewest_findable_heads_are_the_first_at_the_corrected_level() -> None:
    chances = pair_by_chance((8, 8), (4, 4), (4, 4))
    at_least = np.cumsum(chances[::-1])[::-1]
    for n_tests in (1, 10, 100):
        fewest = fewest_findable(chances, n_tests, 8, 8)
        assert at_least[fewest] <= 0.05 / n_tests < at_least[fewest - 1]
    assert fewest_findable(chances, 10**6, 8, 8) == 9  # more than either set has
