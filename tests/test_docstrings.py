"""The examples of the docstrings run on the demo model and print what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import site_lens as sl
from site_lens._public import public_names

PACKAGE = Path(sl.__file__).parent
MAIN = (
    "load_model", "load_tasks", "fit_site", "fit_and_evaluate", "evaluate", "capture_embeddings", "generate",
    "injection_edits", "transfer_matrix", "faithfulness_curves", "head_profiles", "run_methods", "score_heads",
    "cluster_tasks", "check_convergence", "head_overlap", "write_report", "deploy",
)  # fmt: skip
"""Functions that must have an example; others may."""


def examples() -> list[doctest.DocTest]:
    """Find every docstring with an example, in every module of the package."""
    finder, found = doctest.DocTestFinder(exclude_empty=True), []
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            found += [one for one in finder.find(import_module(name)) if one.examples]
    return found


EXAMPLES = examples()


@pytest.mark.usefixtures("load_demo_once")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_an_example_prints_what_it_says(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if example.name.endswith(".SiteLM"):
        pytest.importorskip("lm_eval")
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


@pytest.mark.parametrize("name", MAIN)
def test_the_main_functions_have_an_example_on_the_demo_model(name: str) -> None:
    (example,) = [one for one in EXAMPLES if one.name == f"{public_names(sl.__file__)[name]}.{name}"]
    assert any("demo" in line.source for line in example.examples)
