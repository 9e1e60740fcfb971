"""What a run says of a head is what its records hold, and nothing that they do not."""

from site_lens.explorer.facts import head_facts
from site_lens.heads.head_set import Head
from site_lens.runs.run import Run
from tests.explorer.looking import fake_run, two_seeds
from tests.fakes import GRID, fake_fits


def facts(run: Run, key: str, head: str, **options: str) -> dict[str, str]:
    return {fact.name: fact.value for fact in head_facts(run, key, Head.parse(head), **options)}


def test_alpha_and_rank_are_those_of_the_fit() -> None:
    fits = fake_fits(["antonym"])
    (head,) = fits["antonym"].gates.top(1)
    found = facts(Run(fits), "antonym", str(head))
    assert found == {"alpha": f"{fits['antonym'].gates[head]:.3f}, rank 1 of {len(GRID)}"}


def test_seeds_are_summed_up_and_tasks_named_where_the_head_is_open() -> None:
    run = Run(two_seeds())
    found = facts(run, "antonym#1", "L0H0")
    assert found["alpha"].startswith("0.200, rank 1 ")
    assert found["over 2 seeds"] == "mean 0.550, 0.200 to 0.900; open in 1"
    assert found["open in 2 of 2"] == "antonym, synonym"  # the lowest seed of each task; higher alphas first
    assert facts(run, "antonym#0", "L0H1")["open in 0 of 2"] == "no task"


def test_controls_and_other_selectors_stand_beside_the_fit() -> None:
    found = facts(fake_run(), "antonym", "L0H0")
    assert found["site_zero_embedding"] == "0.250, rank 1 of 48"
    assert found["mask"] == "0.000, rank 48 of 48"
    assert "mask" not in facts(fake_run(), "synonym", "L0H0")  # which was not scored


def test_a_profile_says_where_a_head_looks_and_what_it_does() -> None:
    found = facts(fake_run(), "antonym", "L2H1")
    assert found["looks at"] == "answer 0.80, frame 0.20"
    assert found["answer gain"] == "+1.250 nats, injected alone"
    assert found["induction"] == "0.700"
    assert found["copying"] == "0.500"
    assert found["promoted"] == "'cold'"
    assert "written" not in found  # no logit was raised
    assert "looks at" not in facts(fake_run(), "synonym", "L2H1")  # a task that was not profiled
    assert facts(fake_run(), "synonym", "L2H1")["induction"] == "0.700"  # which belongs to the model
    assert "induction" not in facts(fake_run(), "antonym", "L3H3")  # a head that was not profiled


def test_a_comparison_shows_both_alphas_first() -> None:
    run = fake_run()
    found = facts(run, "antonym", "L1H1", other_key="synonym")
    assert list(found)[:2] == ["alpha, antonym", "alpha, synonym"]
    assert found["alpha, synonym"].startswith(f"{run.fits['synonym'].gates['L1H1']:.3f}, rank")
