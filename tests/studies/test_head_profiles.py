"""Head profiles: on the planted model it is known what every head looks at and does."""

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.activations.queries import Queries
from site_lens.models.batch import Batch
from site_lens.records.hashing import seed_stream
from site_lens.studies.head_profiles.measure import leading_heads
from site_lens.studies.head_profiles.result import PARTS, PATTERNS
from tests.planted import CARRIERS, COUNTER, LABELS, planted_tasks

PREVIOUS, IDLE = "L0H0", "L2H4"
HEADS = (PREVIOUS, *CARRIERS["u"], *CARRIERS["v"], COUNTER, IDLE)


@pytest.fixture(scope="module")
def profiles(planted: sl.LensModel, fits: sl.SiteFits) -> sl.HeadProfiles:
    return sl.head_profiles(planted, planted_tasks(), fits, heads=HEADS, n_prompts=8, progress=False)


@pytest.fixture(scope="module")
def demo_fits(demo: sl.LensModel, demo_tasks: dict[str, sl.Task]) -> sl.SiteFits:
    config = sl.SiteConfig(n_steps=20, n_prompts=8, n_shots=4)
    return sl.fit_site(demo, demo_tasks["antonym"], config, progress=False)


def drawn(task: sl.Task, n: int) -> tuple[list[sl.Example], np.random.Generator]:
    """Return the queries that a profile of this task draws, and the stream of its demonstrations."""
    stream = seed_stream(0, task.digest, "profiles")
    return [task.test[i] for i in stream.permutation(len(task.test))[:n]], stream


def part(profiles: sl.HeadProfiles, head: str, name: str) -> np.ndarray:
    return np.asarray(profiles.attention[:, profiles.heads.index(head), PARTS.index(name)])


def test_carriers_look_at_answers_and_nothing_else(profiles: sl.HeadProfiles) -> None:
    for head in (*CARRIERS["u"], *CARRIERS["v"], COUNTER):
        assert part(profiles, head, "answer") == pytest.approx(np.ones(4), abs=1e-5)


def test_the_previous_token_head_looks_at_the_token_before_the_query(profiles: sl.HeadProfiles) -> None:
    assert part(profiles, PREVIOUS, "frame") == pytest.approx(np.ones(4), abs=1e-5)
    scores = profiles.patterns[PATTERNS.index("previous_token")]
    assert scores[profiles.heads.index(PREVIOUS)] == pytest.approx(1, abs=1e-4)
    assert scores[1:].max() < 0.1


def test_a_head_without_a_pattern_shares_its_attention_by_the_number_of_tokens(profiles: sl.HeadProfiles) -> None:
    n_shots, n_tokens = 5, 3 * 5 + 2  # Q, word and label of every shot, Q and query
    expected = {"begin": 0, "input": n_shots, "answer": n_shots, "query": 1, "frame": n_shots + 1}
    for name, count in expected.items():
        assert part(profiles, IDLE, name) == pytest.approx(np.full(4, count / n_tokens), abs=1e-5)


def test_shares_of_attention_are_those_counted_token_by_token(demo: sl.LensModel, demo_fits: sl.SiteFits) -> None:
    from site_lens.studies.head_profiles.prompt_parts import parted_prompts

    task = sl.load_tasks("demo", ["antonym"])["antonym"]
    found = sl.head_profiles(demo, task, demo_fits, heads=["L2H3", "L0H1"], n_prompts=3, n_shots=2, progress=False)
    queries, stream = drawn(task, 3)
    template = demo_fits["antonym"].template
    shares = np.zeros((2, len(PARTS)))
    for prompt in parted_prompts(demo.encoder, task, queries, template, n_shots=2, stream=stream):
        batch = Batch.of([prompt.ids], pad=0, device=demo.device)
        last = demo.attention(batch, [sl.Head(2, 3), sl.Head(0, 1)])[0, :, -1]
        for token, name in enumerate(prompt.parts):
            shares[:, PARTS.index(name)] += last[:, token].numpy() / 3
    assert found.attention[0] == pytest.approx(shares, abs=1e-5)
    assert found.attention[0].sum(1) == pytest.approx(np.ones(2), abs=1e-5)


def test_a_carrier_alone_helps_the_counter_hurts_and_idle_heads_do_nothing(profiles: sl.HeadProfiles) -> None:
    table = profiles.frame().set_index(["task", "head"])
    for task in profiles.tasks:
        family = task[-1]
        for head in CARRIERS[family]:
            assert table.answer_gain[task, head] > 0.2
            assert set(table.promoted[task, head][:1]) <= set(LABELS[family])
        for head in (PREVIOUS, IDLE, *CARRIERS["v" if family == "u" else "u"]):
            assert abs(table.answer_gain[task, head]) < 1e-4
            assert table.promoted[task, head] == ()
        assert table.answer_gain[task, COUNTER] < -0.05


def test_injection_alone_is_what_injecting_one_head_in_whole_prompts_does(
    demo: sl.LensModel, demo_tasks: dict[str, sl.Task], demo_fits: sl.SiteFits
) -> None:
    task, fit = demo_tasks["antonym"], demo_fits["antonym"]
    found = sl.head_profiles(demo, task, demo_fits, heads=["L4H2"], n_prompts=4, n_shots=2, progress=False)
    asked = Queries.of(demo, [fit.template.render([], query) for query in drawn(task, 4)[0]])
    batch = Batch.of(asked.ids, pad=0, device=demo.device)
    gates = sl.HeadGates.of(sl.HeadSet.of(demo.grid, ["L4H2"]))
    with torch.no_grad():
        plain, under = (
            demo.forward(batch, edits) for edits in ([], sl.injection_edits(demo, gates, fit.embedding, column=-1))
        )
    targets = asked.targets(demo.device)[:, None]
    gain = (under.log_softmax(-1) - plain.log_softmax(-1)).gather(1, targets).mean()
    assert found.answer_gain[0, 0] == pytest.approx(float(gain), abs=1e-4)
    change = under - plain - (under - plain).mean(-1, keepdim=True)
    best = change.mean(0).topk(8)
    assert found.promoted[0, 0] == pytest.approx(best.values.numpy(), abs=1e-4)
    assert found.promoted_tokens[0][0] == tuple(demo.encoder.texts(best.indices.tolist()))


def test_the_leading_heads_are_those_of_every_task_and_no_more_than_asked(fits: sl.SiteFits) -> None:
    chosen = leading_heads(list(fits.values()), top=3)
    assert {str(head) for head in chosen} == {*CARRIERS["u"], *CARRIERS["v"]}
    assert chosen == sorted(chosen)
    assert len(leading_heads(list(fits.values()), top=3, most=2)) == 2


def test_the_leading_heads_of_a_rounded_set_are_its_own_whatever_their_number(fits: sl.SiteFits) -> None:
    one, six = ["L1H3"], [f"L2H{head}" for head in range(6)]
    sets = [
        fit.replace(gates=sl.HeadGates.of(sl.HeadSet.of(fit.gates.grid, heads), task=fit.task))
        for fit, heads in zip(list(fits.values())[:2], (one, six), strict=True)
    ]
    assert [str(head) for head in leading_heads(sets)] == [*one, *six]


def test_a_tasks_profile_does_not_depend_on_the_other_tasks(
    planted: sl.LensModel, fits: sl.SiteFits, profiles: sl.HeadProfiles
) -> None:
    task = planted_tasks()["swapped_v"]
    alone = sl.head_profiles(planted, task, fits, heads=HEADS, n_prompts=8, progress=False)
    assert np.allclose(alone.answer_gain[0], profiles.answer_gain[profiles.tasks.index("swapped_v")], atol=1e-6)
