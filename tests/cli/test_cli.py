"""Command line: output, files and exit codes of fit, evaluate, report, diagnose, compare and tasks."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import site_lens as sl
from site_lens.cli import main
from site_lens.diagnostics.checks import CHECKS
from site_lens.methods.evaluate import evaluate

COLUMNS = ["--input-column", "word", "--output-column", "opposite"]
Printed = pytest.CaptureFixture[str]
"""What commands print."""
FAST = ["--n-steps", "10", "--n-prompts", "4", "--n-shots", "3", "--max-queries", "8"]


def run(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def mistake(capsys: Printed, *arguments: str) -> str:
    """Run a command line that holds a mistake, check that it ends with 2 and one line, and return the line."""
    capsys.readouterr()
    assert run(*arguments) == 2, arguments
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pairs as a user would have them."""
    path = tmp_path_factory.mktemp("csv") / "opposites.csv"
    rows = sl.load_tasks("demo", ["antonym"])["antonym"].train[:30]
    path.write_text("word,opposite\n" + "".join(f"{row.input},{row.output}\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, csv: Path) -> Path:
    """A run of the user's own CSV on the demo model."""
    out = tmp_path_factory.mktemp("runs") / "mine"
    assert run("fit", str(csv), "--out", str(out), *COLUMNS, *FAST) == 0
    return out


def test_a_users_csv_goes_from_fit_to_report(finished: Path, csv: Path, tmp_path: Path, capsys: Printed) -> None:
    results = pd.read_csv(finished / "results.csv")
    assert list(results) == ["task", "method", "metric", "value", "low", "high", "n", "labelled_rows", "n_heads"]
    methods = {"zero_shot", "ten_shot", "site", "site_hard", "site_top_k", "site_zero_embedding"}
    assert set(results["method"]) == methods | {"site_sparse", "gates_sparse"}
    heads = pd.read_csv(finished / "heads.csv")
    assert list(heads) == ["task", "head", "layer", "chosen", "stability", "kind", "alpha", "gain_alone"]
    assert heads["gain_alone"].notna().equals(heads["chosen"])
    assert heads["chosen"].sum() == results[results["method"] == "site_sparse"]["n_heads"].iloc[0]
    assert sl.Run.load(finished).fits["opposites"].config.n_steps == 10
    assert run("report", str(finished), "--out", str(tmp_path / "r.html")) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "r.html")
    assert "opposites" in (tmp_path / "r.html").read_text()


def test_a_run_is_overwritten_on_request_only(finished: Path, csv: Path, tmp_path: Path, capsys: Printed) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    for command in ("demo", "fit", "methods", "selectors"):
        source = [] if command == "demo" else [str(csv)]
        assert "--replace" in mistake(capsys, command, *source, "--out", str(finished))
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    small = ["--price", "0", "--control", "none", "--replace"]
    for seeds in (2, 1):
        assert run("fit", str(csv), "--out", str(tmp_path), *COLUMNS, *FAST, *small, "--seeds", str(seeds)) == 0
        assert len(sl.Run.load(tmp_path).fits) == seeds


def test_evaluate_measures_saved_fits_again_and_prints_failed_checks(
    finished: Path, csv: Path, capsys: Printed
) -> None:
    assert run("evaluate", str(finished), str(csv), *COLUMNS, "--max-queries", "5") == 0
    assert f"checks:  {sl.diagnose(sl.Run.load(finished)).summary}: " in capsys.readouterr().out
    assert run("evaluate", str(finished), str(csv), *COLUMNS, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    (row,) = [row for row in rows if (row["method"], row["metric"]) == ("ten_shot", "first_token")]
    assert (row["n"], row["labelled_rows"]) == (6, 10)


def test_a_users_mistake_ends_with_2_one_clear_line_and_nothing_written(tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "out"
    fit = ["fit", "demo", "-t", "antonym", "-o", str(out)]
    for message, arguments in (
        ("nowhere.csv", ["fit", "nowhere.csv", "-o", str(out)]),
        ("./no-model", [*fit, "-m", "./no-model"]),
        ("5000", [*fit, "--n-shots", "5000"]),
        ("/proc/nope", ["fit", "demo", "-t", "antonym", "-o", "/proc/nope"]),
        ("'zero'", [*fit, "--control", "zero"]),
        ("holds no run", ["report", str(out)]),
        ("compared with itself", ["compare", str(out), str(out)]),
        ("there is no record", ["compare", str(out), "nowhere.json"]),
    ):
        assert message in mistake(capsys, *arguments)
        assert not [path for path in out.rglob("*") if path.is_file()], arguments


def test_runs_and_single_records_are_compared(finished: Path, tmp_path: Path, capsys: Printed) -> None:
    (record,) = (finished / "fits").glob("*.json")
    page = tmp_path / "compare.html"
    assert run("compare", str(finished), str(record), "-o", str(page)) == 0
    assert str(page) in capsys.readouterr().out.replace("\n", "") and page.exists()
    assert run("compare", str(finished), str(record), "--json") == 0
    (pair,) = json.loads(capsys.readouterr().out)
    assert (pair["jaccard"], pair["record"], pair["other"]) == (1, f"{finished}: {record.stem}", str(record))
    (evaluation,) = (finished / "evaluations").glob("*.json")
    assert "not a fit or scores" in mistake(capsys, "compare", str(finished), str(evaluation))


def test_a_saved_run_is_diagnosed_and_the_exit_code_says_whether_a_check_failed(
    finished: Path, capsys: Printed
) -> None:
    code = run("diagnose", str(finished), "--json")
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ok"] else 1)
    assert len(found["findings"]) == len(CHECKS)
    assert run("diagnose", str(finished)) == code
    assert f" of {len(CHECKS)} checks failed, " in capsys.readouterr().out


def test_an_interruption_ends_with_130_and_leaves_finished_groups_loadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    n_evaluated = 0

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal n_evaluated
        n_evaluated += 1
        if n_evaluated == 3:
            raise KeyboardInterrupt
        return evaluate(*arguments, **options)

    monkeypatch.setattr("site_lens.runs.pipeline.evaluate", interrupted)
    out = tmp_path / "run"
    small = ["--price", "0", "--control", "none", "--tasks-at-once", "1"]
    assert run("fit", "demo", "--out", str(out), *FAST, *small) == 130
    errors = capsys.readouterr().err
    assert "interrupted; what was saved before that can be loaded" in errors and "Traceback" not in errors
    assert len(sl.Run.load(out).fits) >= 2
    assert not list(out.rglob(".*"))
