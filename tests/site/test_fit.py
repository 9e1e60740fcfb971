from typing import get_args

import numpy as np
import pytest

from site_lens.heads.scores import MixRule
from site_lens.records.base import join
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteConfig, SiteFit, SiteFits
from tests.fakes import fake_fit, fake_fits, fake_identity
from tests.samples import SMALL

MODEL = fake_identity(grid=SMALL)


def test_the_published_settings_are_those_of_the_published_code() -> None:
    paper = SiteConfig.paper()
    assert (paper.n_steps, paper.batch_size, paper.lr, paper.eval_every, paper.n_valid) == (400, 1, 0.2, 50, 100)
    assert (paper.n_prompts, paper.n_shots, paper.init, paper.mix, paper.loss) == (50, 10, 0.5, "convex", "first_token")
    assert (paper.keep, paper.patience, paper.n_queries) == ("last", None, None)


def test_the_frame_gives_alpha_and_rank_of_every_head() -> None:
    alphas = np.array([[0.25, 1.0, 0], [0, 0, 0], [0.5, 0, 0.75]])
    table = fake_fit("antonym", 3, alphas, model=MODEL).frame()
    assert list(table.columns) == ["task", "seed", "layer", "head", "alpha", "rank"]
    assert table["alpha"].tolist() == [0.25, 1, 0.5, 0, 0.75]
    assert table["rank"].tolist() == [4, 1, 3, 5, 2]


def test_the_trace_frame_counts_undecided_heads_among_those_there_are() -> None:
    fit = fake_fit("antonym", 0, np.where(SMALL.mask, 1.0, 0.0), model=MODEL, config=SiteConfig(n_steps=20))
    table = fit.trace_frame()
    assert table["step"].tolist() == [0, 10, 20]
    assert table["undecided"].tolist() == [1, 1, 0]  # from 0.5 over 0.75 to 1 at every head
    assert table["valid_loss"].is_monotonic_decreasing


def test_fits_go_by_task_and_seed() -> None:
    fits = fake_fits(["antonym", "synonym"], seed=3, model=MODEL)
    assert list(fits) == ["antonym", "synonym"]
    assert fits["antonym", 3] == fits["antonym"] == fits.of("antonym")[0]
    with pytest.raises(InputError, match="two fits"):
        SiteFits([fits["antonym"], fits["antonym"]])
    several = SiteFits([fake_fit("antonym", seed, model=MODEL) for seed in (0, 4)])
    assert list(several) == ["antonym#0", "antonym#4"]
    assert several["antonym", 4].seed == several["antonym#4"].seed == 4
    assert [fit.seed for fit in several.of("antonym")] == [0, 4]
    with pytest.raises(InputError, match="2 fits"):
        several["antonym"]
    with pytest.raises(InputError, match="seed 2"):
        several["antonym", 2]


def test_gates_of_the_first_records_which_name_no_rule_get_that_of_their_fit() -> None:
    assert "mix" not in fake_fit("antonym", model=MODEL).gates.parts()[1]  # which so keeps its digest
    for rule in get_args(MixRule):
        fit = fake_fit("antonym", model=MODEL, config=SiteConfig(mix=rule))
        assert fit.gates.mix == rule
        arrays, fields = fit.parts()
        fields["gates"].pop("mix", None)
        assert SiteFit(**join(fields, arrays)) == fit
