"""Command line: output, files and exit codes of fit, evaluate, report, diagnose, compare and tasks."""

import json
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
import pytest
from choreographer.browsers.chromium import Chromium

import site_lens as sl
from site_lens.cli import main
from site_lens.diagnostics.checks import CHECKS

COLUMNS = ["--input-column", "word", "--output-column", "opposite"]
FAST = ["--n-steps", "10", "--n-prompts", "4", "--n-shots", "3", "--max-queries", "8"]


def run(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command line that holds a mistake, check that it ends with 2 and one line, and return the line."""
    capsys.readouterr()
    assert run(*arguments) == 2, arguments
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and len(printed.err.splitlines()) == 1, printed.err
    return printed.err


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


def test_a_users_csv_goes_from_fit_to_report(
    finished: Path, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = pd.read_csv(finished / "results.csv")
    assert list(results) == ["task", "method", "metric", "value", "low", "high", "n", "labelled_rows", "n_heads"]
    methods = {"zero_shot", "ten_shot", "site", "site_hard", "site_top_k", "site_zero_embedding"}
    assert set(results["method"]) == methods | {"site_sparse", "gates_sparse"}
    heads = pd.read_csv(finished / "heads.csv")
    assert list(heads) == ["task", "head", "layer", "chosen", "stability", "kind", "alpha"]
    assert heads["chosen"].sum() == results[results["method"] == "site_sparse"]["n_heads"].iloc[0]
    assert sl.Run.load(finished).fits["opposites"].config.n_steps == 10
    assert run("report", str(finished), "--out", str(tmp_path / "r.html")) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "r.html")
    assert "opposites" in (tmp_path / "r.html").read_text()


def test_the_figures_of_a_report_become_images(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if Chromium.find_browser(skip_local=False) is None:
        pytest.skip("no Chromium or Chrome; apt-get install chromium")
    page, images = tmp_path / "r.html", tmp_path / "images"
    assert run("report", str(finished), "--out", str(page), "--images", str(images), "--format", "pdf") == 0
    drawn = {str(path.relative_to(images)) for path in images.rglob("*.pdf")}
    assert {"accuracy.pdf", "head-maps.pdf", "fits/opposites-map.pdf", "fits/opposites-training.pdf"} <= drawn
    assert capsys.readouterr().out.splitlines() == [str(page), f"{len(drawn)} images in {images}"]


def test_nothing_is_written_where_images_cannot_be(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["report", str(finished), "--out", str(tmp_path / "r.html")]
    assert "--images" in mistake(capsys, *arguments, "--format", "png")
    monkeypatch.setattr(Chromium, "find_browser", lambda **options: None)
    assert "apt-get install chromium" in mistake(capsys, *arguments, "--images", str(tmp_path / "images"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_run_is_overwritten_on_request_only(
    finished: Path, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    for command in ("demo", "fit", "methods", "selectors"):
        source = [] if command == "demo" else [str(csv)]
        assert "--replace" in mistake(capsys, command, *source, "--out", str(finished))
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    for seeds, expected in (("2", 2), ("1", 1)):
        assert (
            run("fit", str(csv), "--out", str(tmp_path), *COLUMNS, *FAST, "--price", "0", "--seeds", seeds, "--replace")
            == 0
        )
        assert len(sl.Run.load(tmp_path).fits) == expected


def test_methods_beside_site_are_not_lost_by_measuring_fits_again(
    finished: Path, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    measured = sl.Run.load(copy).evaluations
    assert measured is not None
    (one,) = measured.values()
    renamed = tuple("function_vector" if name == "site_top_k" else name for name in one.methods)
    sl.Evaluations([one.replace(methods=renamed)]).save(copy / "evaluations")
    assert "function_vector" in mistake(capsys, "evaluate", str(copy), str(csv), *COLUMNS)


def test_evaluate_measures_saved_fits_again_and_prints_failed_checks(
    finished: Path, csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", str(finished), str(csv), *COLUMNS, "--max-queries", "5") == 0
    assert f"checks:  {sl.diagnose(sl.Run.load(finished)).summary}: " in capsys.readouterr().out
    assert run("evaluate", str(finished), str(csv), *COLUMNS, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    (row,) = [row for row in rows if (row["method"], row["metric"]) == ("ten_shot", "first_token")]
    assert (row["n"], row["labelled_rows"]) == (6, 10)


def test_studies_on_other_rows_say_so_on_the_terminal_in_the_record_and_in_the_checks(
    finished: Path, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    other = tmp_path / csv.name
    other.write_text("\n".join(csv.read_text().splitlines()[:28]) + "\n")
    few = [str(copy), str(other), *COLUMNS, "--task", "opposites", "--n-fits", "3", "--max-queries", "4"]
    for _ in range(2):  # measured, and read back
        assert run("landscape", *few) == 0
        assert "note: the fit of 'opposites' was made on other rows" in capsys.readouterr().err
    assert any("other rows" in note for note in sl.Run.load(copy).studies["landscape_opposites"].notes)  # type: ignore[attr-defined]
    assert run("diagnose", str(copy)) == 1
    assert "one_origin" in capsys.readouterr().out
    assert run("evaluate", str(copy), str(copy / "results.csv")) == 2  # what it would write over
    assert run("evaluate", str(copy), str(other), *COLUMNS, "--max-queries", "4") == 0
    said = capsys.readouterr()
    assert "other rows" in said.err
    assert "one_origin" in said.out


def test_the_report_needs_no_torch(finished: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from site_lens.cli import main\n"
        f"try: main(['report', {str(finished)!r}, '--out', {str(tmp_path / 'r.html')!r}])\n"
        "finally: print(sorted(m for m in ('torch', 'transformers', 'transformer_lens') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_tasks_are_audited_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "planted"
    folder.mkdir()
    splits = {
        "train": [["a", "x"], ["b", "y"], ["a", "x"]],
        "valid": [["c", "x"]],
        "test": [["a", "z"], ["d", "z"], ["e", "x"], ["f", "z"]],
    }
    for split, rows in splits.items():
        (folder / f"{split}.json").write_text(json.dumps([{"input": x, "output": y} for x, y in rows]))
    assert run("tasks", "audit", str(folder), "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "task": "planted",
            "n_train": 3,
            "n_valid": 1,
            "n_test": 4,
            "test_in_train": 1,
            "test_in_valid": 0,
            "valid_in_train": 0,
            "conflicting_test": 1,
            "conflicting_inputs": 1,
            "duplicates": 1,
            "majority_rate": 0.75,
        }
    ]


def test_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tasks", "list") == 0
    assert "antonym" in capsys.readouterr().out
    assert run("tasks", "list", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) >= 60


def test_a_users_mistake_ends_with_2_one_clear_line_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    fit = ["fit", "demo", "-t", "antonym", "-o", str(out)]
    for message, arguments in (
        ("nowhere.csv", ["fit", "nowhere.csv", "-o", str(out)]),
        ("./no-model", [*fit, "-m", "./no-model"]),
        ("lr", [*fit, "--lr", "-1"]),
        ("5000", [*fit, "--n-shots", "5000"]),
        ("/proc/nope", ["fit", "demo", "-t", "antonym", "-o", "/proc/nope"]),
        ("'cuda'", [*fit, "--device", "cuda"]),
        ("5000", [*fit, "--n-eval-shots", "5000"]),
        ("'zero'", [*fit, "--control", "zero"]),
        ("9999", ["demo", "--n-tasks", "9999", "-o", str(out)]),
        ("holds no run", ["report", str(out)]),
        ("holds no run", ["report", str(out), "--images", str(out)]),
        ("holds no run", ["evaluate", str(out), "demo"]),
        ("holds no run", ["diagnose", str(out)]),
        ("compared with itself", ["compare", str(out), str(out)]),
        ("there is no record", ["compare", str(out), "nowhere.json"]),
    ):
        assert message in mistake(capsys, *arguments)
        assert not [path for path in out.rglob("*") if path.is_file()], arguments


def test_runs_and_single_records_are_compared(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = (finished / "fits").glob("*.json")
    page = tmp_path / "compare.html"
    assert run("compare", str(finished), str(record), "-o", str(page)) == 0
    printed = capsys.readouterr().out
    assert "1.000" in printed  # the Jaccard index of a map with itself
    assert str(page) in printed.replace("\n", "")
    assert page.exists()
    assert run("compare", str(finished), str(record), "--json") == 0
    (pair,) = json.loads(capsys.readouterr().out)
    assert (pair["jaccard"], pair["record"]) == (1, f"{finished}: {record.stem}")
    (evaluation,) = (finished / "evaluations").glob("*.json")
    assert "not a fit or scores" in mistake(capsys, "compare", str(finished), str(evaluation))


def test_a_saved_run_is_diagnosed_and_the_exit_code_says_whether_a_check_failed(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("diagnose", str(finished), "--json")
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ok"] else 1)
    assert len(found["findings"]) == len(CHECKS)
    assert run("diagnose", str(finished)) == code
    assert f" of {len(CHECKS)} checks failed, " in capsys.readouterr().out


def test_an_interruption_ends_with_130_and_leaves_finished_groups_loadable(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "site_lens.cli", "fit", "demo", "--out", str(tmp_path / "run")]
    settings = ["--n-steps", "10", "--max-queries", "10", "--tasks-at-once", "1"]
    process = subprocess.Popen(
        [*program, *settings],
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "run" / "evaluations").glob("*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; what was saved before that can be loaded" in errors
    assert "Traceback" not in errors
    run = sl.Run.load(tmp_path / "run")
    assert len(run.fits) >= 2
    assert not list((tmp_path / "run").rglob(".*"))


def test_answers_that_share_their_first_token_are_said_before_and_after_a_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prices.csv"
    rows = sl.load_tasks("demo", ["antonym"])["antonym"].train[:30]
    path.write_text("input,output\n" + "".join(f"{row.input},sum of {row.output}\n" for row in rows))
    assert run("tasks", "audit", str(path), "--model", "demo", "--json") == 0
    (audit,) = json.loads(capsys.readouterr().out)
    assert (audit["first_tokens"], audit["constant_rate"], audit["first_token_loss"]) == (1, 1, "fail")
    assert run("tasks", "audit", str(path), "--json") == 0
    assert "first_tokens" not in json.loads(capsys.readouterr().out)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run("fit", str(path), "--out", str(tmp_path / "run"), *FAST, "--price", "0") == 0
    said = capsys.readouterr()
    (line,) = [line for line in said.out.splitlines() if "first_tokens" in line and line.startswith("failed:")]
    assert 'loss="answer"' in line and "--generate" in line
    (warning,) = [line for line in said.err.splitlines() if "loss='answer'" in line]
    assert warning.startswith("warning: ")
    assert sl.Run.load(tmp_path / "run").fits["prices"].config.loss == "answer"
