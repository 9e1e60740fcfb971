import math
from typing import Any, get_args

import numpy as np
import pytest

from site_lens.heads.head_set import HeadGrid
from site_lens.heads.scores import HeadGates, MixRule
from site_lens.records.base import join
from site_lens.records.errors import InputError
from site_lens.site.fit import SiteConfig, SiteFit, SiteFits
from tests.fakes import fake_alphas, fake_embedding, fake_fit, fake_fits, fake_identity, fake_trace
from tests.samples import SMALL

MODEL = fake_identity(grid=SMALL)


def test_the_published_settings_are_those_of_the_published_code() -> None:
    paper = SiteConfig.paper()
    assert (paper.n_steps, paper.batch_size, paper.lr, paper.eval_every, paper.n_valid) == (400, 1, 0.2, 50, 100)
    assert (paper.n_prompts, paper.n_shots, paper.init, paper.mix, paper.loss) == (50, 10, 0.5, "convex", "first_token")
    assert (paper.keep, paper.patience, paper.n_queries) == ("last", None, None)


def test_published_settings_may_be_changed_one_by_one() -> None:
    assert SiteConfig.paper(keep="best", seed=3) == SiteConfig.paper().replace(keep="best", seed=3)
    assert SiteConfig.paper(n_steps=10).n_steps == 10


def test_quick_settings_take_a_quarter_of_the_queries_and_change_nothing_about_the_method() -> None:
    quick, default = SiteConfig.quick(seed=3), SiteConfig(seed=3)
    assert quick.n_steps * quick.batch_size * 4 == default.n_steps * default.batch_size
    kept = ("n_shots", "init", "mix", "loss", "keep", "alpha_per", "embedding", "seed")
    assert all(getattr(quick, name) == getattr(default, name) for name in kept)
    assert SiteConfig.quick(n_steps=10).n_steps == 10


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_prompts", 0),
        ("n_shots", 0),
        ("n_steps", -1),
        ("batch_size", 0),
        ("lr", 0.0),
        ("lr", math.inf),
        ("lr", math.nan),
        ("n_queries", 0),
        ("init", 0),
        ("init", 1.0),
        ("init", "half"),
        ("mix", "concave"),
        ("loss", "last_token"),
        ("keep", "all"),
        ("eval_every", 0),
        ("n_valid", 0),
        ("patience", 0),
        ("embedding", "mean"),
        ("null", "all"),
        ("seed", -1),
        ("learning_rate", 0.1),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name_and_value(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^SiteConfig: {field}.*got {value!r}"):
        SiteConfig(**{field: value})


@pytest.mark.parametrize("init", [0.5, 0.01, "random"])
def test_gates_may_begin_inside_the_unit_interval_or_at_random(init: Any) -> None:
    assert SiteConfig(init=init).init == init


def test_a_trace_of_unequal_lengths_is_refused() -> None:
    trace = fake_trace(fake_alphas("antonym"))
    with pytest.raises(InputError, match=r"SiteTrace: evaluations of different lengths: \[10, 11\]"):
        trace.replace(valid_loss=trace.valid_loss[:-1])


def test_gates_embedding_and_trace_stand_on_one_grid() -> None:
    other = HeadGrid.full(2, 2)
    fit = fake_fit("antonym", model=MODEL)
    with pytest.raises(InputError, match=r"gates over 2 layers x 2 heads, embedding over 3 layers x up to 3 heads"):
        fit.replace(gates=HeadGates.constant(other, 0.5))
    with pytest.raises(InputError, match=r"gates over 3 layers x up to 3 heads, embedding over 2 layers x 2 heads"):
        fit.replace(embedding=fake_embedding("antonym", model=fake_identity(grid=other)))
    with pytest.raises(InputError, match=r"gates over 3 layers x up to 3 heads, trace of alphas of shape \(11, 2, 2\)"):
        fit.replace(trace=fake_trace(np.full((2, 2), 0.5)))


def test_the_frame_gives_alpha_and_rank_of_every_head() -> None:
    alphas = np.array([[0.25, 1.0, 0], [0, 0, 0], [0.5, 0, 0.75]])
    table = fake_fit("antonym", 3, alphas, model=MODEL).frame()
    assert list(table.columns) == ["task", "seed", "layer", "head", "alpha", "rank"]
    assert table["alpha"].tolist() == [0.25, 1, 0.5, 0, 0.75]
    assert table["rank"].tolist() == [4, 1, 3, 5, 2]
    assert set(table["task"]) == {"antonym"}
    assert set(table["seed"]) == {3}


def test_the_trace_frame_counts_undecided_heads_among_those_there_are() -> None:
    fit = fake_fit("antonym", 0, np.where(SMALL.mask, 1.0, 0.0), model=MODEL, config=SiteConfig(n_steps=20))
    table = fit.trace_frame()
    assert table["step"].tolist() == [0, 10, 20]
    assert table["undecided"].tolist() == [1, 1, 0]  # from 0.5 over 0.75 to 1 at every head
    assert table["valid_loss"].is_monotonic_decreasing


def test_labelled_rows_count_what_embedding_optimiser_and_checkpoint_saw() -> None:
    assert fake_fit("antonym", labelled_rows=(1, 2, 5), n_valid=7).n_labelled == 10


def test_fits_of_one_seed_go_by_task() -> None:
    fits = fake_fits(["antonym", "synonym"], seed=3, model=MODEL)
    assert list(fits) == ["antonym", "synonym"]
    assert fits["antonym"].seed == 3
    assert fits["antonym", 3] == fits["antonym"]
    assert fits.of("antonym") == [fits["antonym"]]
    assert fits.of("nothing") == []


def test_fits_of_several_seeds_go_by_task_and_seed() -> None:
    several = SiteFits([fake_fit("antonym", seed, model=MODEL) for seed in (0, 4)])
    assert list(several) == ["antonym#0", "antonym#4"]
    assert several["antonym", 4].seed == several["antonym#4"].seed == 4
    assert [fit.seed for fit in several.of("antonym")] == [0, 4]
    with pytest.raises(InputError, match=r"there are 2 fits of 'antonym'; pick one by seed, fits\['antonym', 0\]"):
        several["antonym"]
    with pytest.raises(InputError, match=r"no fit of 'antonym' with seed 2; seeds: \[0, 4\]"):
        several["antonym", 2]


def test_two_fits_of_one_task_and_seed_are_refused() -> None:
    with pytest.raises(InputError, match="two fits of task 'antonym' with seed 0; keep them in separate sets"):
        SiteFits([fake_fit("antonym"), fake_fit("antonym")])


def test_gates_of_the_first_records_which_name_no_rule_get_that_of_their_fit() -> None:
    for rule in get_args(MixRule):
        fit = fake_fit("antonym", model=MODEL, config=SiteConfig(mix=rule))
        assert fit.gates.mix == rule
        arrays, fields = fit.parts()
        fields["gates"].pop("mix", None)
        assert SiteFit(**join(fields, arrays)) == fit


def test_gates_that_mix_as_the_paper_does_keep_the_digest_they_had_without_a_rule() -> None:
    gates = fake_fit("antonym", model=MODEL).gates
    assert "mix" not in gates.parts()[1]
    assert gates.replace(mix="additive").digest != gates.digest
