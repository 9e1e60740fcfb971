"""Seeds of a task: a run is split and merged again without loss."""

import numpy as np

import site_lens as sl
from site_lens.sweeps.seed_merge import merge_seeds, part_of
from tests.fakes import fake_evaluation, fake_fit


def run_of_seeds(seeds: tuple[int, ...]) -> sl.Run:
    """Build a run of one task as `fit_and_evaluate` makes it of several seeds."""
    methods = dict.fromkeys(["zero_shot", "ten_shot"], 0.5)
    for i, seed in enumerate(seeds):
        mark = f"#{seed}" if i else ""
        names = (f"site{mark}", f"site{mark}_hard", f"site{mark}_top_k", f"site_zero_embedding{mark}")
        methods |= {name: share + i / 20 for name, share in zip(names, (0.4, 0.3, 0.2, 0.1), strict=True)}
    fits = sl.SiteFits([fake_fit("antonym", seed) for seed in seeds])
    return sl.Run(fits, {"site_zero_embedding": fits}, sl.Evaluations([fake_evaluation("antonym", methods)]))


def test_every_part_has_plain_names_and_merging_gives_the_same_run() -> None:
    for seeds in ((0,), (0, 1), (1, 3, 12)):
        whole = run_of_seeds(seeds)
        parts = {seed: part_of(whole, "antonym", seed) for seed in seeds}
        merged = merge_seeds(parts)
        assert (merged.fits, merged.controls) == (whole.fits, whole.controls), seeds
        assert merged.evaluations is not None and whole.evaluations is not None
        before, after = whole.evaluations["antonym"], merged.evaluations["antonym"]
        assert set(after.methods) == set(before.methods)
        for method in before.methods:
            rows = [one.first_token[one.methods.index(method)] for one in (before, after)]
            np.testing.assert_array_equal(*rows)
        for seed, part in parts.items():
            assert part.evaluations is not None
            expected = before.accuracy("site" if seed == seeds[0] else f"site#{seed}")
            assert part.evaluations["antonym"].accuracy("site") == expected
