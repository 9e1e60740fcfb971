"""The laws of the joint fit, and what happens when something goes wrong."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import site_lens as sl
from site_lens.heads.scores import HeadGates
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.bridge import BridgeModel
from site_lens.models.hooks import Edit
from site_lens.models.kv_cache import Prefix
from site_lens.site.fitting import embedded_jobs
from tests.conftest import Tasks
from tests.little_memory import allow_rows
from tests.tiny_models import save_tiny

SMALL = sl.SiteConfig(n_steps=20, n_prompts=6, n_shots=4, n_valid=10, eval_every=10)


@pytest.fixture(scope="module")
def joint(demo: LensModel, demo_tasks: Tasks) -> sl.SiteFits:
    return sl.fit_site(demo, demo_tasks, SMALL)


def gap(one: sl.SiteFit, other: sl.SiteFit) -> float:
    return float(np.abs(one.trace.alphas - other.trace.alphas).max())


def test_a_joint_fit_equals_the_separate_fits(demo: LensModel, demo_tasks: Tasks, joint: sl.SiteFits) -> None:
    for name, task in demo_tasks.items():
        alone = sl.fit_site(demo, task, SMALL)[name]
        assert gap(alone, joint[name]) < 1e-4
        assert alone.labelled_rows == joint[name].labelled_rows


def test_memory_that_runs_out_halves_the_batch_and_changes_no_fit_unless_it_holds_no_row(
    demo: LensModel, demo_tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, most_rows = SMALL.replace(n_steps=4, eval_every=2), 5
    with monkeypatch.context() as patched:
        tried = allow_rows(patched, most_rows)
        fits = sl.fit_site(demo, demo_tasks, config)
    assert 0 < sum(n > most_rows for n in tried) < len(tried) / 4  # it remembers what went through
    for name, expected in sl.fit_site(demo, demo_tasks, config).items():
        assert gap(fits[name], expected) < 1e-4
        assert np.allclose(fits[name].trace.loss, expected.trace.loss, atol=1e-4)
    tried = allow_rows(monkeypatch, 0)
    with pytest.raises(torch.OutOfMemoryError):
        sl.fit_site(demo, demo_tasks["antonym"], SMALL.replace(n_steps=1))
    assert tried[-1] == 1


def test_a_seed_gives_the_same_record_to_the_last_bit_and_touches_no_global_state(
    demo: LensModel, demo_tasks: Tasks
) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    with torch.no_grad():
        config, task = SMALL.replace(init="random", n_steps=3, n_queries=3), demo_tasks["antonym"]
        fits = sl.fit_site(demo, task, config, seeds=[0, 1])
        assert fits == sl.fit_site(demo, task, config, seeds=[0, 1])
        assert not torch.is_grad_enabled()
    first, second = fits["antonym", 0], fits["antonym", 1]
    assert first.trace.alphas[0].std() > 0.2 < np.abs(first.trace.alphas[0] - second.trace.alphas[0]).max() + 0.1
    assert len(set(first.labelled_rows) - set(first.embedding.labelled_rows)) <= 3
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


def test_fits_of_different_settings_share_a_batch_and_stay_themselves(demo: LensModel, demo_tasks: Tasks) -> None:
    task = demo_tasks["antonym"]
    embedding = sl.capture_embeddings(demo, [task], n_prompts=4, n_shots=4)["antonym"]
    configs = {
        "slow": SMALL.replace(lr=0.05, n_steps=5, batch_size=3),
        "zero": SMALL.replace(embedding="zero"),
        "answer": SMALL.replace(loss="answer", eval_every=3),
        "null": SMALL.replace(null="shuffled_answers"),
        "added": SMALL.replace(mix="additive"),
        "rounded": SMALL.replace(prefix_dtype="bfloat16"),
        "layers": SMALL.replace(alpha_per="layer"),
        "last": SMALL.replace(keep="last"),
    }
    configs = {name: config.replace(n_steps=min(config.n_steps, 8)) for name, config in configs.items()}
    together = sl.fit_variants(demo, {k: [sl.SiteJob(task, c, embedding)] for k, c in configs.items()})
    for name, config in configs.items():
        alone = sl.fit_variants(demo, {name: [sl.SiteJob(task, config, embedding)]})[name]["antonym"]
        assert gap(alone, together[name]["antonym"]) < 1e-4, name
        assert len(alone.trace.loss) == config.n_steps
    assert together["last"]["antonym"].kept_step == 8
    assert together["last"]["antonym"].n_valid == 0  # rows of valid count only where they chose something
    assert (together["layers"]["antonym"].trace.alphas == together["layers"]["antonym"].trace.alphas[:, :, :1]).all()


def test_a_tight_budget_changes_memory_not_the_fit(demo: LensModel, demo_tasks: Tasks) -> None:
    few, config = [demo_tasks["antonym"], demo_tasks["choose_last_of_3"]], SMALL.replace(n_steps=3, eval_every=3)
    roomy, tight = (sl.fit_site(demo, few, config, budget_bytes=budget) for budget in (2**30, 200_000))
    assert all(gap(fit, roomy[name]) < 1e-4 for name, fit in tight.items())


def test_validation_loss_falls_and_the_best_evaluation_is_kept(joint: sl.SiteFits) -> None:
    for fit in joint.values():
        best = int(np.argmin(fit.trace.valid_loss))
        assert fit.trace.valid_loss[best] < fit.trace.valid_loss[0]
        assert fit.kept_step == fit.trace.eval_steps[best]
        assert np.array_equal(fit.gates.values, fit.trace.alphas[best])


def test_the_first_evaluation_shows_the_start(demo: LensModel, demo_tasks: Tasks) -> None:
    task, config = demo_tasks["antonym"], SMALL.replace(n_steps=1, n_prompts=2)
    for init in (0.2, 0.5):
        fit = sl.fit_site(demo, task, config.replace(init=init))["antonym"]
        assert np.allclose(fit.trace.alphas[0], init)
    warm = HeadGates.constant(demo.grid, 0.0).replace(values=np.linspace(0, 1, 48).reshape(6, 8))
    fit = sl.fit_site(demo, task, config, warm_starts={"antonym": warm})["antonym"]
    assert np.allclose(fit.trace.alphas[0], np.clip(warm.values, 0.01, 0.99), atol=1e-6)


def test_one_shared_alpha_map_serves_all_tasks(demo: LensModel, demo_tasks: Tasks) -> None:
    fits = sl.fit_site(demo, demo_tasks, SMALL.replace(shared=True, n_steps=6))
    maps = [fit.gates.values for fit in fits.values()]
    assert all(np.array_equal(maps[0], other) for other in maps)
    assert set(fits["antonym"].shared_with) == set(demo_tasks) - {"antonym"}
    assert fits["antonym"].embedding != fits["english-french"].embedding
    assert len({fit.n_labelled for fit in fits.values()}) == 1  # all rows trained the one map
    assert fits["antonym"].n_labelled == sum(len(fit.labelled_rows) + fit.n_valid for fit in fits.values())
    asked = np.stack([fit.trace.train_rows >= 0 for fit in fits.values()])
    assert (asked.sum(0) == 1).all()  # each row of a batch asks one task


def test_alphas_are_shared_within_a_set_and_never_with_another(demo: LensModel, demo_tasks: Tasks) -> None:
    tasks, config = list(demo_tasks.values())[:2], SMALL.replace(shared=True, n_steps=5, n_prompts=2)
    jobs = embedded_jobs(demo, tasks, config)
    sets = {"both": jobs, "zeros": [replace(job, embedding=job.embedding.zeros()) for job in jobs], "one": jobs[:1]}
    found = sl.fit_variants(demo, sets)
    for name, members in sets.items():
        alone = sl.fit_variants(demo, {name: members})[name]
        assert all(gap(found[name][task], fit) < 1e-4 for task, fit in alone.items()), name
    assert gap(found["both"][tasks[0].name], found["zeros"][tasks[0].name]) > 1e-3
    assert found["one"][tasks[0].name].shared_with == ()


def test_patience_stops_a_fit_early_and_freezes_it(demo: LensModel, demo_tasks: Tasks) -> None:
    config = SMALL.replace(patience=1, lr=3.0, n_steps=30, eval_every=3, batch_size=4)
    fits = sl.fit_site(demo, demo_tasks, config)
    stopped = [fit for fit in fits.values() if fit.status == "early_stop"]
    assert stopped
    full_fits = sl.fit_site(demo, [demo_tasks[fit.task] for fit in stopped], config.replace(patience=None))
    for fit in stopped:
        assert len(fit.trace.loss) < 30
        assert len(fit.trace.valid_loss) - 1 - int(np.argmin(fit.trace.valid_loss)) == 1
        full = full_fits[fit.task]
        assert np.abs(full.trace.alphas[: len(fit.trace.alphas)] - fit.trace.alphas).max() < 1e-4


def test_a_fit_that_is_no_better_than_its_start_is_said_not_to_have_improved(
    demo: LensModel, demo_tasks: Tasks, joint: sl.SiteFits
) -> None:
    good = {name: fit.gates for name, fit in joint.items()}
    fits = sl.fit_site(demo, demo_tasks, SMALL.replace(lr=50.0, n_steps=5), warm_starts=good)
    worse = [fit for fit in fits.values() if min(fit.trace.valid_loss[1:]) >= fit.trace.valid_loss[0]]
    assert worse
    assert all((fit.status == "no_improvement") == (fit in worse) for fit in fits.values())
    assert all(fit.kept_step == 0 for fit in worse)


def test_converged_does_not_depend_on_how_often_alphas_are_evaluated(demo: LensModel, demo_tasks: Tasks) -> None:
    (job,) = embedded_jobs(demo, [demo_tasks["antonym"]], SMALL)
    expected = {(every, lr): "step_limit" if lr == 0.2 else "converged" for every in (1, 10) for lr in (0.2, 1e-4)}
    jobs = {
        str(case): [replace(job, config=SMALL.replace(n_steps=12, eval_every=case[0], lr=case[1]))] for case in expected
    }
    fits = sl.fit_variants(demo, jobs)
    assert {case: fits[str(case)]["antonym"].status for case in expected} == expected


def test_another_tasks_embedding_may_be_used_and_is_noted(demo: LensModel, demo_tasks: Tasks) -> None:
    other = sl.capture_embeddings(demo, [demo_tasks["english-french"]], n_prompts=4, n_shots=4)["english-french"]
    fit = sl.fit_site(demo, demo_tasks["antonym"], SMALL.replace(n_steps=1), embeddings={"antonym": other})["antonym"]
    assert fit.embedding == other
    assert any("mixes in an embedding of 'english-french'" in note for note in fit.notes)
    assert fit.n_labelled == len(fit.labelled_rows) + len(other.labelled_rows) + 10


def test_the_zero_embedding_control_uses_no_demonstrations(demo: LensModel, demo_tasks: Tasks) -> None:
    config = SMALL.replace(embedding="zero", n_queries=5, n_steps=8)
    fit = sl.fit_site(demo, demo_tasks["antonym"], config)["antonym"]
    assert not fit.embedding.mean.any()
    assert len(fit.labelled_rows) == 5


def test_a_whole_answer_loss_is_that_of_teacher_forcing_over_the_full_sequence(demo: LensModel) -> None:
    rows = [sl.Example(w, (f"{w} {w} dog",)) for w in ("hot", "big", "old", "red", "day", "man", "tree", "one")]
    task = sl.Task("echo", tuple(rows[:5]), tuple(rows[5:7]), tuple(rows[7:]))
    config = SMALL.replace(loss="answer", n_steps=1, n_shots=2)
    fit = sl.fit_site(demo, task, config)["echo"]
    mean = torch.tensor(fit.embedding.mean)
    losses = []
    for row in task.valid:
        prompt = sl.PromptTemplate().render([], row)
        (ids,), (answer,), _ = demo.encoder.encode_answers([prompt.text], [prompt.answer])
        assert len(answer) == 3
        for i, token in enumerate(answer):
            half = [Edit(layer, partial(halfway, mean[layer]), len(ids) - 1) for layer in range(6)]
            logits = demo.forward(Batch.of([ids + answer[:i]], pad=0, device=demo.device), half)[0]
            losses.append(-float(logits.log_softmax(-1)[token]))
    assert fit.trace.valid_loss[0] == pytest.approx(np.mean(losses), abs=1e-4)


def halfway(mean: Tensor, z: Tensor) -> Tensor:
    return 0.5 * z + 0.5 * mean


class Faulty(BridgeModel):
    """A model whose logits stop being numbers after some decodes, for prompts of at least so many tokens."""

    def __init__(self, model: BridgeModel, *, after: int, from_length: int = 0) -> None:
        super().__init__(model.host, model.encoder, model.identity)
        self._hooks_needed = ""  # else some decodes would be compared first
        self.left = after
        self.from_length = from_length

    def decode(self, prefix: Prefix, tail: Tensor, edits: Sequence[Edit] = ()) -> tuple[Tensor, Prefix]:
        logits, grown = super().decode(prefix, tail, edits)
        self.left -= 1
        if self.left < 0:
            longer = prefix.lengths + 1 >= self.from_length
            logits = torch.where(longer[:, None, None], torch.nan, logits)
        return logits, grown


def test_a_loss_that_is_not_a_number_is_reported_with_task_step_and_advice(demo: LensModel, demo_tasks: Tasks) -> None:
    assert isinstance(demo, BridgeModel)
    tasks = [demo_tasks["antonym"], demo_tasks["choose_last_of_3"]]
    longer = min(len(ids) for ids in demo.encoder.encode([f"Q: {row.input}\nA:" for row in tasks[1].train]))
    config = SMALL.replace(n_steps=8)
    reference = sl.fit_site(demo, tasks, config)
    with pytest.raises(sl.FitError, match="'choose_last_of_3'") as caught:
        sl.fit_site(Faulty(demo, after=5, from_length=longer), tasks, config)  # one evaluation and four steps are fine
    assert isinstance(caught.value.fits, sl.SiteFits)
    broken, fine = caught.value.fits["choose_last_of_3"], caught.value.fits["antonym"]
    assert broken.status == "nonfinite"
    assert len(broken.trace.loss) == 4
    row = tasks[1].train[int(broken.notes[-1].split(" row ")[1].split()[0])]
    assert all(said in broken.notes[-1] for said in (broken.task, row.input, "float32"))
    assert gap(fine, reference["antonym"]) < 1e-4  # the others of the batch went on as if nothing had happened


def test_a_fit_that_never_had_a_finite_loss_keeps_its_start_and_can_be_saved(
    demo: LensModel, demo_tasks: Tasks, tmp_path: Path
) -> None:
    assert isinstance(demo, BridgeModel)
    fit = sl.fit_site(Faulty(demo, after=0), demo_tasks["antonym"], SMALL, throw=False)["antonym"]
    assert fit.status == "nonfinite"
    assert np.allclose(fit.gates.values, 0.5)
    sl.save(fit, tmp_path / "fit")
    assert sl.load(tmp_path / "fit") == fit


def test_a_fit_says_which_rows_it_asked_so_that_other_code_can_follow_it(
    demo: LensModel, demo_tasks: Tasks, joint: sl.SiteFits
) -> None:
    for fit in joint.values():
        assert fit.trace.train_rows.shape == (SMALL.n_steps, SMALL.batch_size)
        asked = {int(row) for row in fit.trace.train_rows.flat}
        assert asked | set(fit.embedding.labelled_rows) == set(fit.labelled_rows)
    # The loss of the first step is that of the rows it names, at alpha 0.5, task by task.
    fit, task = joint["antonym"], demo_tasks["antonym"]
    rows = [task.train[int(row)] for row in fit.trace.train_rows[0]]
    half = sl.SiteFits([fit.replace(gates=HeadGates.constant(demo.grid, 0.5))])
    asked_again = sl.Task("antonym", task.train, task.valid, tuple(rows))
    measured = sl.evaluate(demo, asked_again, half, n_shots=1)["antonym"]
    assert -measured.log_prob[measured.methods.index("site")].mean() == pytest.approx(fit.trace.loss[0], abs=1e-4)


def test_tails_padded_beyond_the_context_do_no_harm(tmp_path: Path) -> None:
    small = sl.load_model(save_tiny("gpt2", tmp_path, n_ctx=24))  # learned positions: one too far is an IndexError
    words = ("hot", "big", "old", "red", "day", "man", "one", "two")
    long = [sl.Example(" ".join([w] * 14), (w,)) for w in words]
    short = [sl.Example(w, (" ".join([w] * 12),)) for w in words]
    tasks = [sl.Task(n, tuple(r[:5]), tuple(r[5:7]), tuple(r[7:])) for n, r in (("long", long), ("short", short))]
    embeddings = {task.name: sl.capture_embeddings(small, task, n_prompts=2, n_shots=0)[task.name] for task in tasks}
    config = SMALL.replace(loss="answer", n_steps=3)
    together = sl.fit_site(small, tasks, config, embeddings=embeddings)
    for task in tasks:
        assert gap(sl.fit_site(small, task, config, embeddings=embeddings)[task.name], together[task.name]) < 1e-4
