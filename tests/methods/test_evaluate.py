"""Every method answers the same queries; numbers mean what they say."""

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.methods.first_token_metrics import target_rank
from site_lens.models.base import LensModel
from site_lens.stats.intervals import clustered_proportion
from tests.conftest import Tasks
from tests.methods.conftest import batch_of

SMALL = sl.SiteConfig(n_steps=20, n_prompts=8, n_shots=4, n_valid=10)


@pytest.fixture(scope="module")
def fits(demo: LensModel, demo_tasks: Tasks) -> sl.SiteFits:
    return sl.fit_site(demo, demo_tasks, SMALL)


def test_zero_shot_is_the_clean_model_on_bare_queries(demo: LensModel, demo_tasks: Tasks) -> None:
    task = demo_tasks["antonym"]
    measured = sl.evaluate(demo, task, n_shots=4)["antonym"]
    prompts = [sl.PromptTemplate().render([], query) for query in task.test]
    _, targets, _ = demo.encoder.encode_answers([p.text for p in prompts], [p.answer for p in prompts])
    logits = demo.forward(batch_of(demo, *(p.text for p in prompts)))
    expected = logits.log_softmax(-1)[torch.arange(len(targets)), torch.tensor([tokens[0] for tokens in targets])]
    assert np.abs(measured.log_prob[0] - expected.numpy()).max() < 1e-4
    assert (measured.methods, measured.labelled_rows) == (("zero_shot", "4_shot"), (0, 4))


def test_demonstrations_help_the_demo_model_and_so_does_site(
    demo: LensModel, demo_tasks: Tasks, fits: sl.SiteFits
) -> None:
    measured = sl.evaluate(demo, demo_tasks, fits)
    assert measured.mean("ten_shot").value > measured.mean("zero_shot").value + 0.3
    assert measured.mean("site").value > measured.mean("zero_shot").value + 0.3


def test_queries_that_share_demonstrations_are_a_sample_of_sets(
    demo: LensModel, demo_tasks: Tasks, fits: sl.SiteFits
) -> None:
    task = demo_tasks["antonym"]
    fresh = sl.evaluate(demo, task, fits, n_shots=4)[task.name]
    shared = sl.evaluate(demo, task, fits, n_shots=4, n_sets=6)[task.name]
    assert not fresh.set_of_query and len(set(shared.set_of_query)) == 6
    for method in ("zero_shot", "site"):  # which show none
        assert shared.accuracy(method) == fresh.accuracy(method)
    right = shared.first_token[shared.methods.index("4_shot")]
    assert shared.accuracy("4_shot") == clustered_proportion(right, shared.set_of_query)
    assert shared.compare("site").clusters and not shared.compare("site", over="zero_shot").clusters
    table = sl.method_table(sl.Evaluations([shared]), ["4_shot"])
    assert str(table.accuracy(task.name, "4_shot")) == str(shared.accuracy("4_shot"))
    assert table.p_value[0, 0, table.methods.index("site")] == pytest.approx(shared.compare("site").p_value)
    assert any("6 sets" in note for note in shared.notes)
    with pytest.raises(sl.InputError, match="n_sets"):
        sl.evaluate(demo, task, n_shots=4, n_sets=2)


def test_any_accepted_answer_counts_as_right(demo: LensModel, demo_tasks: Tasks) -> None:
    task = demo_tasks["antonym"]
    plain = sl.evaluate(demo, task, n_shots=4, max_queries=20)["antonym"]
    row = task.test[0]
    wrong_first = sl.Task("antonym", task.train, task.valid, (sl.Example(row.input, ("tree", row.output)),))
    either = sl.evaluate(demo, wrong_first, n_shots=4)["antonym"]
    # Zero-shot prompts show no demonstrations, so the two runs differ in the accepted answers only.
    assert either.first_token[0, 0] == plain.first_token[0, 0]
    assert either.log_prob[0, 0] != plain.log_prob[0, 0]


def test_the_lowest_seed_is_site_and_further_seeds_are_methods_of_their_own(demo: LensModel, demo_tasks: Tasks) -> None:
    fits = sl.fit_site(demo, demo_tasks["antonym"], SMALL, seeds=[0, 1])
    controls = {"site_zero_embedding": fits}
    measured = sl.evaluate(demo, demo_tasks["antonym"], fits, controls=controls, max_queries=5)["antonym"]
    assert measured.methods == (
        "zero_shot", "ten_shot", "site", "site_hard", "site_top_k", "site#1", "site#1_hard", "site#1_top_k",
        "site_zero_embedding", "site_zero_embedding#1",
    )  # fmt: skip
    with pytest.raises(sl.InputError, match="no fit of task 'choose_last_of_3'"):
        sl.evaluate(demo, demo_tasks["choose_last_of_3"], fits)


def test_ranks_count_ties_as_better() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    assert target_rank(logits, torch.tensor([2, 0])).tolist() == [2, 3]


def test_other_rows_and_templates_than_those_of_a_fit_and_samples_of_test_are_noted(
    demo: LensModel, demo_tasks: Tasks, fits: sl.SiteFits
) -> None:
    task, other = demo_tasks["antonym"], sl.PromptTemplate(input_prefix="X:")
    swapped = sl.Task(task.name, task.test, task.valid, task.train)
    words = ("may be rows that it was trained on", "X:", "sample of 2 of the 42")
    for asked, template, expected in (
        (task, None, [False, False, True]),
        (task, sl.PromptTemplate(), [False, False, True]),
        (task, other, [False, True, True]),
        (swapped, None, [True, False, False]),  # whose train rows are many more
    ):
        found = sl.evaluate(demo, asked, fits, template=template, max_queries=2, n_shots=2)["antonym"]
        assert [any(part in note for note in found.notes) for part in words] == expected


def test_queries_are_one_sample_of_test_whatever_is_measured_and_the_record_holds_its_rows(
    demo: LensModel, demo_tasks: Tasks, fits: sl.SiteFits
) -> None:
    task = demo_tasks["antonym"]
    found = sl.evaluate(demo, task, fits, max_queries=9)["antonym"]
    again = sl.evaluate(demo, task, max_queries=9, seed=3)["antonym"]
    rows = found.query_rows
    assert rows is not None and len(rows) == 9
    assert rows == again.query_rows != tuple(range(9))
    assert found.queries == tuple(task.test[row].input for row in rows)
    assert found.first_tokens == sl.first_tokens(demo, [task.test[row] for row in rows])
    assert sl.evaluate(demo, task, n_shots=2)["antonym"].query_rows == tuple(range(len(task.test)))


def test_what_every_method_answers_is_kept_beside_the_query(
    demo: LensModel, demo_tasks: Tasks, fits: sl.SiteFits
) -> None:
    task = demo_tasks["antonym"]
    found = sl.evaluate(demo, task, fits, n_shots=4, max_queries=10, generated=True)[task.name]
    assert found.query_rows is not None and found.exact is not None
    accepted = [task.test[row].outputs for row in found.query_rows]
    for right, tokens in zip(found.first_token, found.top_tokens, strict=True):
        for is_right, token, outputs in zip(right, tokens, accepted, strict=True):
            assert not is_right or any(f" {output}".startswith(token) for output in outputs)
    for exact, texts in zip(found.exact, found.texts, strict=True):
        assert [text in outputs for text, outputs in zip(texts, accepted, strict=True)] == (exact == 1).tolist()
    bare = sl.PromptTemplate().render([], task.test[found.query_rows[0]]).text
    assert found.prompt.endswith(bare) and found.prompt.count("Q:") == 5
    shown = found.examples(3, ["site"])
    assert list(shown.columns) == ["query", "target", "site"] and shown["query"].tolist() == list(found.queries[:3])
    assert found.frame()["text"].tolist() == [text for texts in found.texts for text in texts]
    with pytest.raises(sl.InputError):
        found.replace(top_tokens=(), texts=()).examples()
    with pytest.raises(sl.InputError):
        found.replace(top_tokens=found.top_tokens[:-1])


def test_prompts_of_paths_and_controls_are_in_their_template(demo: LensModel, demo_tasks: Tasks) -> None:
    task, template = demo_tasks["antonym"], sl.PromptTemplate(input_prefix="In:")
    config = sl.SiteConfig(n_prompts=4, n_shots=2, n_steps=4)
    paths = sl.fit_path(demo, task, config, prices=(0.01,), n_starts=1, template=template, progress=False)
    controls = {"site_zero_embedding": sl.fit_site(demo, task, config.replace(embedding="zero"), template=template)}
    for given in ({"paths": paths}, {"controls": controls}):
        found = sl.evaluate(demo, task, n_shots=1, max_queries=3, **given)[task.name]
        assert found.template == template and found.prompt.startswith("In:")
