"""Tables, the paragraph on the method and the citation say what the run holds."""

from pathlib import Path

import pytest
import yaml

import site_lens as sl
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.report import write_tables
from site_lens.report.citation import BIBTEX
from site_lens.report.method_text import method_text
from tests.fakes import fake_evaluation, fake_fits
from tests.site.test_head_path import fake_path

ODD = "a_b & 100% | #1"


def planted_run() -> sl.Run:
    path = fake_path(((4,), (2,), (1,)), ((0.5,), (0.5,), (1.5,))).replace(task=ODD)
    evaluations = sl.Evaluations([fake_evaluation(ODD, {"ten_shot": 0.5, "site": 0.6}), fake_evaluation("b")])
    return sl.Run(fake_fits([ODD, "b"]), {ZERO_EMBEDDING: fake_fits(["b"])}, evaluations, paths=sl.HeadPaths([path]))


def test_tables_hold_accuracies_and_chosen_heads_with_escaped_names(tmp_path: Path) -> None:
    run = planted_run()
    paths = write_tables(run, tmp_path)
    assert [path.name for path in paths] == ["accuracy.tex", "accuracy.md", "heads.tex", "heads.md"]
    latex, markdown, heads, _ = (path.read_text(encoding="utf-8") for path in paths)
    row = next(line for line in latex.splitlines() if line.startswith("a"))
    assert row.startswith(r"a\_b \& 100\% | \#1 & ") and row.endswith(r"40 \\")
    assert r"\textbf{0.600 [0.4" in row
    assert r"a\_b \& 100% \| \#1 | " in markdown and r"**0.600 \[0.4" in markdown
    assert all(line.count(" | ") >= 3 for line in markdown.splitlines()[2:5])
    chosen = run.paths[ODD].chosen
    assert chosen is not None and " ".join(map(str, chosen.heads)) in heads
    assert write_tables(run, tmp_path) == paths  # over its own
    for wrong in ({"run": sl.Run(fake_fits(["a"]))}, {"run": run, "formats": ()}):
        with pytest.raises(sl.InputError):
            write_tables(folder=tmp_path, **wrong)


def test_the_paragraph_on_the_method_has_the_settings_of_the_run() -> None:
    run = planted_run()
    text, config = method_text(run), next(iter(run.fits.values())).config
    for expected in (
        f"in up to {config.n_steps} steps of {config.batch_size} queries",
        f"{config.n_prompts} prompts with {config.n_shots} demonstrations",
        *("for 2 tasks", "40 test queries", "gates alone", "1 of 1 task", "nats per unit of alpha"),
    ):
        assert expected in text
    assert "nats per unit" not in method_text(sl.Run(run.fits))


def test_the_citation_is_that_of_the_citation_file() -> None:
    cited = yaml.safe_load((Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8"))
    paper = cited["preferred-citation"]
    text = BIBTEX.replace("{ICL}", "ICL")
    expected = [paper["title"], paper["collection-title"], str(paper["year"]), f"{paper['start']}--{paper['end']}"]
    expected += [author["family-names"] for author in paper["authors"]]
    assert all(part in text for part in [*expected, cited["version"], cited["license"]])


def test_a_task_that_begins_with_a_bracket_or_a_star_does_not_end_up_in_the_line_before(tmp_path: Path) -> None:
    run = sl.Run(fake_fits(["a", "[b]", "*c"]), evaluations=sl.Evaluations(map(fake_evaluation, ("a", "[b]", "*c"))))
    write_tables(run, tmp_path, formats=("tex",))
    lines = (tmp_path / "accuracy.tex").read_text(encoding="utf-8").splitlines()
    assert [line[:5] for line in lines if line.startswith("{}")] == ["{}[b]", "{}*c "]
