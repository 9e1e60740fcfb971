"""Results of several seeds come apart and go together again without loss."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.sweeps.seed_merge import merge_seeds, part_of
from tests.fakes import fake_evaluation, fake_fit

PROMPTING = ["zero_shot", "ten_shot"]
OF_A_FIT = ["site", "site_hard", "site_top_k", "site_zero_embedding"]


def several_seeds(seeds: tuple[int, ...]) -> sl.Run:
    """Build a run of one task as `fit_and_evaluate` makes it of several seeds."""
    methods = dict.fromkeys(PROMPTING, 0.5)
    for i, seed in enumerate(seeds):
        mark = f"#{seed}" if i else ""
        shares = (0.4, 0.3, 0.2, 0.1)
        names = (f"site{mark}", f"site{mark}_hard", f"site{mark}_top_k", f"site_zero_embedding{mark}")
        methods |= {name: share + i / 20 for name, share in zip(names, shares, strict=True)}
    fits = sl.SiteFits([fake_fit("antonym", seed) for seed in seeds])
    return sl.Run(fits, {"site_zero_embedding": fits}, sl.Evaluations([fake_evaluation("antonym", methods)]))


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (1, 3, 12)])
def test_taking_apart_and_putting_together_gives_the_same_run(seeds: tuple[int, ...]) -> None:
    whole = several_seeds(seeds)
    parts = {seed: part_of(whole, "antonym", seed) for seed in seeds}
    merged = merge_seeds(parts)
    assert list(merged.fits) == list(whole.fits)
    assert merged.fits == whole.fits
    assert merged.controls == whole.controls
    assert merged.evaluations is not None and whole.evaluations is not None
    then, now = whole.evaluations["antonym"], merged.evaluations["antonym"]
    assert set(now.methods) == set(then.methods)
    for method in then.methods:
        np.testing.assert_array_equal(
            now.first_token[now.methods.index(method)], then.first_token[then.methods.index(method)]
        )


def test_every_part_has_plain_names_and_its_own_numbers() -> None:
    whole = several_seeds((0, 2))
    assert whole.evaluations is not None
    for seed in (0, 2):
        part = part_of(whole, "antonym", seed)
        assert part.fits["antonym"].seed == part.controls["site_zero_embedding"]["antonym"].seed == seed
        assert part.evaluations is not None
        found = part.evaluations["antonym"]
        assert sorted(found.methods) == sorted(PROMPTING + OF_A_FIT)
        own = "site" if seed == 0 else "site#2"
        assert found.accuracy("site") == whole.evaluations["antonym"].accuracy(own)
