"""Laws of every plot: names are escaped, a session's template plays no part, every public plot is tried here."""

import re
from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest

import site_lens as sl
from tests.fake_studies import (
    fake_ablation,
    fake_arithmetic,
    fake_content,
    fake_landscape,
    fake_sensitivity,
    fake_text_profiles,
)
from tests.fakes import fake_attention, fake_evaluation, fake_fit, fake_fits, fake_transfer
from tests.plots.fakes import SCRIPT, SMALL, fake_co_clusters, fake_overlap, fake_task_clusters, names_of
from tests.plots.test_faithfulness_plot import fake_faithfulness
from tests.site.test_head_path import fake_path
from tests.studies.test_roles import planted_profiles

EVALUATIONS = sl.Evaluations([fake_evaluation(SCRIPT, {"ten_shot": 0.5, SCRIPT: 0.6})])
PATHS = sl.HeadPaths(
    [
        fake_path(((8, 8), (2, 3)), ((0.5, 0.5), (0.5, 0.5)), prices=(-0.01, 0.01)).replace(task=SCRIPT),
        fake_path(((4,), (2,), (1,)), ((1.95,), (1.97,), (2.0,))),
    ]
)


def by_selector(name: str) -> sl.ScoresByTask:
    values = np.arange(6).reshape(2, 3)
    return sl.ScoresByTask([sl.HeadScores(grid=SMALL, values=values, selector=name, meaning=SCRIPT, task=SCRIPT)])


PLOTS: dict[str, Callable[[], go.Figure]] = {
    "accuracy": lambda: sl.plots.accuracy(EVALUATIONS),
    "alpha_histogram": lambda: sl.plots.alpha_histogram(fake_fit(SCRIPT)),
    "alpha_paths": lambda: sl.plots.alpha_paths(fake_fit(SCRIPT)),
    "alpha_spread": lambda: sl.plots.alpha_spread([fake_fit(SCRIPT)]),
    "attention": lambda: sl.plots.attention(fake_attention(SCRIPT)),
    "attention_shares": lambda: sl.plots.attention_shares(
        planted_profiles((0, 1) * 4, (SCRIPT, *"bcdefgh")), task=SCRIPT
    ),
    "co_clusters": lambda: sl.plots.co_clusters(fake_co_clusters([SCRIPT, "b"], ["L0H1", "L2H0"], np.eye(2))),
    "content_shares": lambda: sl.plots.content_shares(fake_content(tasks=(SCRIPT, "b"))),
    "faithfulness": lambda: sl.plots.faithfulness(fake_faithfulness(tasks=("a", SCRIPT)), task=SCRIPT),
    "fit_ablation": lambda: sl.plots.fit_ablation(fake_ablation({"default": 0.5, SCRIPT: 0.6}, tasks=[SCRIPT])),
    "head_difference": lambda: sl.plots.head_difference(fake_fit(SCRIPT), fake_fit("b")),
    "head_map": lambda: sl.plots.head_map(fake_fit(SCRIPT)),
    "head_maps": lambda: sl.plots.head_maps(fake_fits([SCRIPT, "b", "c"])),
    "head_paths": lambda: sl.plots.head_paths([fake_fit(SCRIPT), fake_fit("b")], "L0H0"),
    "head_sets": lambda: sl.plots.head_sets(PATHS),
    "labelled_rows": lambda: sl.plots.labelled_rows(sl.method_table(EVALUATIONS, ["ten_shot"])),
    "landscape": lambda: sl.plots.landscape(fake_landscape(task=SCRIPT)),
    "landscape_slice": lambda: sl.plots.landscape_slice(fake_landscape(task=SCRIPT)),
    "layer_profile": lambda: sl.plots.layer_profile(fake_overlap([SCRIPT, *names_of(8), SCRIPT + "2"])),
    "method_means": lambda: sl.plots.method_means(sl.method_table(EVALUATIONS, ["ten_shot"])),
    "overlap_counts": lambda: sl.plots.overlap_counts(fake_overlap([SCRIPT, "b"], grid=sl.HeadGrid((4, 0, 2)))),
    "price_path": lambda: sl.plots.price_path(PATHS[SCRIPT]),
    "selector_agreement": lambda: sl.plots.selector_agreement(
        sl.compare_selectors({SCRIPT: by_selector(SCRIPT), "b": by_selector("b")})
    ),
    "sensitivity": lambda: sl.plots.sensitivity(fake_sensitivity(tasks=(SCRIPT, "b")), task=SCRIPT),
    "similarity": lambda: sl.plots.similarity(fake_task_clusters([SCRIPT, "b"])),
    "task_arithmetic": lambda: sl.plots.task_arithmetic(
        fake_arithmetic([0.5], [0.5], weights=[0], tasks=(SCRIPT, "b"))
    ),
    "task_map": lambda: sl.plots.task_map(fake_task_clusters([SCRIPT, "b", "c"], families=(SCRIPT, SCRIPT, None))),
    "text_attention": lambda: sl.plots.text_attention(fake_text_profiles([["<s>", SCRIPT, "b", "c"]])),
    "training": lambda: sl.plots.training(fake_fit(SCRIPT)),
    "transfer": lambda: sl.plots.transfer(fake_transfer([SCRIPT, "b", "c"])),
}


def test_every_public_plot_is_tried_here() -> None:
    assert set(PLOTS) == set(vars(sl.plots)["__all__"])


def test_names_are_escaped_and_a_sessions_default_template_changes_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, draw in PLOTS.items():
        figure = draw()
        text = figure.to_json().replace("\\u003c", "<").replace("\\u003e", ">")
        assert "<script>" not in text, name
        templates = re.findall(r'"hovertemplate":"(.*?)"', text)
        assert templates and not any("script&gt;%{x}" in template for template in templates), name
        assert figure.layout.height is not None, name  # a page keeps its place free before it is drawn
        assert figure.layout.title.text, name
        with monkeypatch.context() as session:
            session.setattr(pio.templates, "default", "plotly_dark")
            assert draw().to_json() == figure.to_json(), name
