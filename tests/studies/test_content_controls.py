"""Content controls on the planted model: gates without the task's embedding do not carry the task."""

from pathlib import Path

import numpy as np
import pytest

import site_lens as sl
from site_lens.methods.registry import CONTENTS, MEAN_EMBEDDING, OTHER_EMBEDDING, RANDOM_EMBEDDING, ZERO_EMBEDDING
from site_lens.models.base import LensModel
from site_lens.site.control_embeddings import mean_embedding, random_embedding
from tests.planted import CARRIERS, TEMPLATE, planted_tasks

CONFIG = sl.SiteConfig(n_prompts=20, n_shots=8)
MIXED = ("direct_u", "direct_v", "swapped_u", "swapped_v")
"""In an order in which the next task is of the other family."""


@pytest.fixture(scope="module")
def found(planted: LensModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[sl.ContentControls, sl.Run]:
    tasks, folder = [planted_tasks()[name] for name in MIXED], tmp_path_factory.mktemp("run")
    record = sl.content_controls(
        planted, tasks, CONFIG, folder=folder, n_eval_shots=8, template=TEMPLATE, progress=False
    )
    return record, sl.Run.load(folder)


def test_site_carries_the_task_and_no_embedding_or_that_of_the_other_family_does_not(
    found: tuple[sl.ContentControls, sl.Run],
) -> None:
    record = found[0]
    assert record.accuracy("site").value == 1
    zero = record.accuracy("zero_shot").value
    for control in (ZERO_EMBEDDING, OTHER_EMBEDDING):
        assert record.accuracy(control).value == zero
        assert record.share(control).value == 0  # type: ignore[union-attr]


def test_the_mean_of_opposite_tasks_carries_nothing(
    planted: LensModel, found: tuple[sl.ContentControls, sl.Run]
) -> None:
    record, run = found
    share = record.share(MEAN_EMBEDDING)
    assert share is not None
    embedding = run.controls[MEAN_EMBEDDING]["direct_u"].embedding
    for name in CARRIERS["u"]:
        head = sl.Head.parse(name)
        own = run.fits["direct_u"].embedding.mean[head.layer, head.head, 0]
        assert abs(embedding.mean[head.layer, head.head, 0]) < 0.05 * abs(own)
    assert record.gain(MEAN_EMBEDDING).value < record.gain("site").value


def test_every_control_lands_in_the_ordinary_run(found: tuple[sl.ContentControls, sl.Run]) -> None:
    record, run = found
    assert set(run.controls) == set(CONTENTS) == set(record.controls)
    assert run.evaluations is not None
    assert sl.ContentControls.of(run.evaluations).right.sum() == record.right.sum()
    one = run.evaluations["swapped_v"]
    for control in CONTENTS:
        assert record.accuracy(control, "swapped_v").value == one.accuracy(control).value
    assert record.accuracy("few_shot", "swapped_v").value == one.accuracy("8_shot").value


def test_a_random_embedding_has_the_lengths_of_the_tasks_and_other_directions(
    found: tuple[sl.ContentControls, sl.Run],
) -> None:
    run = found[1]
    own = run.fits["direct_u"].embedding
    drawn = run.controls[RANDOM_EMBEDDING]["direct_u"].embedding
    assert np.allclose(np.linalg.norm(drawn.mean, axis=-1), np.linalg.norm(own.mean, axis=-1), rtol=1e-4)
    assert not np.allclose(drawn.mean, own.mean)
    assert random_embedding(own, seed=0) == drawn
    assert random_embedding(own, seed=1) != drawn


def test_a_mean_embedding_counts_the_rows_of_all_tasks(found: tuple[sl.ContentControls, sl.Run]) -> None:
    every = [fit.embedding for fit in found[1].fits.values()]
    joint = mean_embedding(every)
    assert np.allclose(joint.mean, np.mean([one.mean for one in every], axis=0), atol=1e-6)
    assert len(set(joint.labelled_rows)) == sum(len(one.labelled_rows) for one in every)
    assert joint.n_prompts == 80


def test_a_mean_embedding_is_that_of_all_tasks_whatever_the_group_size(planted: LensModel) -> None:
    tasks, small = [planted_tasks()[name] for name in MIXED], CONFIG.replace(n_steps=2)
    run = sl.fit_and_evaluate(
        planted, tasks, small, controls=[MEAN_EMBEDDING], n_eval_shots=2, template=TEMPLATE, tasks_at_once=1,
        progress=False,
    )  # fmt: skip
    assert len({fit.embedding.digest for fit in run.controls[MEAN_EMBEDDING].values()}) == 1


def test_seeds_reproduce_the_controls(planted: LensModel, tmp_path: Path) -> None:
    tasks, small = [planted_tasks()[name] for name in MIXED[:2]], CONFIG.replace(n_steps=4)
    options = {"template": TEMPLATE, "n_eval_shots": 2, "progress": False}
    one, same = (sl.content_controls(planted, tasks, small, seed=3, **options) for _ in range(2))  # type: ignore[arg-type]
    assert one == same
    assert sl.load(sl.save(one, tmp_path / "one")) == one


def test_one_task_alone_is_refused(planted: LensModel) -> None:
    with pytest.raises(sl.InputError, match="at least two tasks"):
        sl.content_controls(planted, planted_tasks()["direct_u"], template=TEMPLATE)
