import numpy as np

from site_lens import plots
from site_lens.site.fit import SiteConfig
from tests.fakes import fake_fit


def test_the_lines_are_the_trace_of_the_fit() -> None:
    fit = fake_fit("antonym")
    loss, valid, undecided = plots.training(fit).data
    np.testing.assert_array_equal(loss.y, fit.trace.loss)
    np.testing.assert_array_equal(loss.x, np.arange(100))
    np.testing.assert_array_equal(valid.x, fit.trace.eval_steps)
    np.testing.assert_array_equal(valid.y, fit.trace.valid_loss)
    np.testing.assert_array_equal(undecided.y, fit.trace_frame()["undecided"])


def test_the_kept_step_is_marked_in_both_panels() -> None:
    figure = plots.training(fake_fit("antonym", kept_step=40))
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(40, 40)] * 2
    assert "kept: step 40" in [a.text for a in figure.layout.annotations]


def test_units_and_state_are_written_on_the_figure() -> None:
    layout = plots.training(fake_fit("antonym", seed=2, status="step_limit")).layout
    assert layout.yaxis.title.text == "loss (nats)"
    assert layout.xaxis2.title.text == "step"
    assert layout.title.subtitle.text == "one seed (2), step_limit"


def test_a_fit_of_a_single_step_can_be_drawn() -> None:
    figure = plots.training(fake_fit("antonym", config=SiteConfig(n_steps=1, eval_every=1)))
    assert len(figure.data[0].y) == 1
