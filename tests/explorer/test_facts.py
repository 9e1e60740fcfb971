"""Facts about a head: what the records of a run hold, and nothing that they do not."""

from site_lens.explorer.facts import head_facts
from site_lens.heads.head_set import Head
from site_lens.runs.run import Run
from tests.explorer.looking import fake_run, two_seeds
from tests.fakes import GRID, fake_fits


def facts(run: Run, key: str, head: str, **options: str) -> dict[str, str]:
    return head_facts(run, key, Head.parse(head), **options)


def test_alpha_seeds_and_tasks_are_those_of_the_fits() -> None:
    fits = fake_fits(["antonym"])
    (head,) = fits["antonym"].gates.top(1)
    expected = {"alpha": f"{fits['antonym'].gates[head]:.3f}, rank 1 of {len(GRID)}"}
    assert facts(Run(fits), "antonym", str(head)) == expected
    run = Run(two_seeds())
    first = facts(run, "antonym#1", "L0H0")
    assert first["alpha"].startswith("0.200, rank 1 ")
    assert first["over 2 seeds"] == "mean 0.550, 0.200 to 0.900; open in 1"
    assert first["open in 2 of 2"] == "antonym, synonym"  # the lowest seed of each task; higher alphas first
    assert facts(run, "antonym#0", "L0H1")["open in 0 of 2"] == "no task"


def test_a_profile_tells_attention_copying_and_answer_gain() -> None:
    profiled = facts(fake_run(), "antonym", "L2H1")
    expected = {
        "looks at": "answer 0.80, frame 0.20", "answer gain": "+1.250 nats, injected alone", "induction": "0.700",
        "copying": "0.500", "promoted": "'cold'",
    }  # fmt: skip
    assert expected.items() <= profiled.items()
    assert "written" not in profiled  # no logit was raised
    other_task = facts(fake_run(), "synonym", "L2H1")  # a task that was not profiled
    assert "looks at" not in other_task and other_task["induction"] == "0.700"  # which belongs to the model
    assert "induction" not in facts(fake_run(), "antonym", "L3H3")  # a head that was not profiled
