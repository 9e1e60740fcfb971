"""Content controls: on the planted model gates without the task's embedding do not carry the task; planted shares."""

import numpy as np
import pytest

import site_lens as sl
from site_lens.methods.registry import CONTENTS, MEAN_EMBEDDING, OTHER_EMBEDDING, RANDOM_EMBEDDING, ZERO_EMBEDDING
from site_lens.models.base import LensModel
from site_lens.site.control_embeddings import mean_embedding, random_embedding
from tests.fake_studies import fake_content
from tests.planted import CARRIERS, TEMPLATE, planted_tasks

CONFIG = sl.SiteConfig(n_prompts=20, n_shots=8)
TASKS = [planted_tasks()[name] for name in ("direct_u", "direct_v", "swapped_u", "swapped_v")]
"""In an order in which the next task is of the other family."""


@pytest.fixture(scope="module")
def measured(planted: LensModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[sl.ContentControls, sl.Run]:
    folder = tmp_path_factory.mktemp("run")
    record = sl.content_controls(
        planted, TASKS, CONFIG, save_to=folder, n_eval_shots=8, template=TEMPLATE, progress=False
    )
    return record, sl.Run.load(folder)


def test_site_carries_the_task_and_contents_of_no_or_another_task_do_not(
    measured: tuple[sl.ContentControls, sl.Run],
) -> None:
    record, run = measured
    assert record.accuracy("site").value == 1
    for control in (ZERO_EMBEDDING, OTHER_EMBEDDING):
        share = record.share(control)
        assert share is not None and share.value == 0
    # Opposite tasks cancel in the carriers of their mean.
    assert record.gain(MEAN_EMBEDDING).value < record.gain("site").value
    mean, own = (fits["direct_u"].embedding.mean for fits in (run.controls[MEAN_EMBEDDING], run.fits))
    for head in map(sl.Head.parse, CARRIERS["u"]):
        assert abs(mean[head.layer, head.head, 0]) < 0.05 * abs(own[head.layer, head.head, 0])


def test_every_control_lands_in_the_ordinary_run(measured: tuple[sl.ContentControls, sl.Run]) -> None:
    record, run = measured
    assert set(run.controls) == set(CONTENTS) == set(record.controls)
    assert run.evaluations is not None
    assert np.array_equal(sl.ContentControls.of(run.evaluations).right.sum((1, 2)), record.right.sum((1, 2)))
    evaluation = run.evaluations["swapped_v"]
    for control in CONTENTS:
        assert record.accuracy(control, "swapped_v").value == evaluation.accuracy(control).value


def test_random_embeddings_keep_lengths_and_mean_embeddings_count_the_rows_of_all_tasks(
    measured: tuple[sl.ContentControls, sl.Run],
) -> None:
    run = measured[1]
    own, drawn = (fits["direct_u"].embedding for fits in (run.fits, run.controls[RANDOM_EMBEDDING]))
    assert np.allclose(np.linalg.norm(drawn.mean, axis=-1), np.linalg.norm(own.mean, axis=-1), rtol=1e-4)
    assert not np.allclose(drawn.mean, own.mean)
    assert random_embedding(own, seed=0) == drawn != random_embedding(own, seed=1)
    embeddings = [fit.embedding for fit in run.fits.values()]
    joint = mean_embedding(embeddings)
    assert np.allclose(joint.mean, np.mean([each.mean for each in embeddings], axis=0), atol=1e-6)
    assert len(set(joint.labelled_rows)) == sum(len(each.labelled_rows) for each in embeddings)
    assert joint.n_prompts == 80


def test_a_share_is_the_gain_over_zero_shot_in_units_of_sites() -> None:
    record = fake_content()
    for method, value in ((ZERO_EMBEDDING, (0.2 - 0.1) / (0.9 - 0.1)), ("zero_shot", 0), ("site", 1)):
        share = record.share(method)
        assert share is not None and share.low < share.value < share.high
        assert share.value == pytest.approx(value, abs=0.01) and share.n == 120


def test_verdicts_stand_on_whole_intervals() -> None:
    for rate, verdict in ((0.2, "less than half"), (0.8, "most of the gain"), (0.5, "not found")):
        assert fake_content((0.1, 0.7, 0.9, rate, 0.3, 0.1, 0.1)).verdict(ZERO_EMBEDDING) == verdict
    assert fake_content(n_queries=14).verdict(ZERO_EMBEDDING) == "too few"
    flat = fake_content((0.9,) * 7)
    assert flat.verdict(ZERO_EMBEDDING) == "nothing to share"
    assert flat.frame()["share"].isna().all()
