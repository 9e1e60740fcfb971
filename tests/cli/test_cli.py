"""The command line: what it prints, what it leaves behind, and how it ends."""

import json
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from choreographer.browsers.chromium import Chromium

import site_lens as sl
from site_lens.cli import main
from site_lens.diagnostics.checks import CHECKS
from tests.tiny_models import save_tiny

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
    columns = ["--input-column", "word", "--output-column", "opposite"]
    assert run("fit", str(csv), "--out", str(out), *columns, *FAST) == 0
    return out


def test_a_users_csv_goes_from_fit_to_report(
    finished: Path, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = pd.read_csv(finished / "results.csv")
    assert list(results) == ["task", "method", "metric", "value", "low", "high", "n", "labelled_rows"]
    methods = {"zero_shot", "ten_shot", "site", "site_hard", "site_top_k", "site_zero_embedding"}
    assert set(results["method"]) == methods
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


def test_a_kind_of_images_without_a_folder_for_them_is_refused(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("report", str(finished), "--out", str(tmp_path / "r.html"), "--format", "png") == 2
    assert "name their folder with --images" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_without_a_browser_neither_images_nor_report_are_written(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Chromium, "find_browser", lambda **options: None)
    page, images = tmp_path / "r.html", tmp_path / "images"
    assert run("report", str(finished), "--out", str(page), "--images", str(images)) == 2
    assert "apt-get install chromium" in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("command", ["demo", "fit", "methods", "selectors"])
def test_a_run_is_not_written_over_unasked(
    command: str, finished: Path, csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    source = [] if command == "demo" else [str(csv)]
    assert run(command, *source, "--out", str(finished)) == 2
    assert "holds a run; choose another --out, or give --replace" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_run_is_replaced_where_that_is_asked_for(csv: Path, tmp_path: Path) -> None:
    columns = ["--input-column", "word", "--output-column", "opposite"]
    for seeds, expected in (("2", 2), ("1", 1)):
        assert run("fit", str(csv), "--out", str(tmp_path), *columns, *FAST, "--seeds", seeds, "--replace") == 0
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
    columns = ["--input-column", "word", "--output-column", "opposite"]
    assert run("evaluate", str(copy), str(csv), *columns) == 2
    assert "holds evaluations of function_vector, which would be lost" in capsys.readouterr().err


def test_a_fit_ends_with_what_its_checks_found(finished: Path, csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = ["--input-column", "word", "--output-column", "opposite"]
    assert run("evaluate", str(finished), str(csv), *columns, "--max-queries", "6") == 0
    said = capsys.readouterr().out
    found = sl.diagnose(sl.Run.load(finished))
    assert f"checks:  {found.summary}: " in said
    assert "few_queries" in said


def test_evaluate_measures_saved_fits_again(finished: Path, csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = ["--input-column", "word", "--output-column", "opposite"]
    assert run("evaluate", str(finished), str(csv), *columns, "--json") == 0
    found = json.loads(capsys.readouterr().out)["results"]
    ten_shot = [row for row in found if row["method"] == "ten_shot" and row["metric"] == "first_token"]
    assert ten_shot[0]["n"] == 6
    assert ten_shot[0]["labelled_rows"] == 10


def test_studies_on_other_rows_say_so_on_the_terminal_in_the_record_and_in_the_checks(
    finished: Path, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    other = tmp_path / csv.name
    other.write_text("\n".join(csv.read_text().splitlines()[:28]) + "\n")
    columns = ["--input-column", "word", "--output-column", "opposite"]
    few = [str(copy), str(other), *columns, "--task", "opposites", "--n-fits", "3", "--max-queries", "4"]
    for _ in range(2):  # measured, and read back
        assert run("landscape", *few) == 0
        assert "note: the fit of 'opposites' was made on other rows" in capsys.readouterr().err
    assert any("other rows" in note for note in sl.Run.load(copy).studies["landscape_opposites"].notes)  # type: ignore[attr-defined]
    assert run("diagnose", str(copy)) == 1
    assert "one_origin" in capsys.readouterr().out
    assert run("evaluate", str(copy), str(copy / "results.csv")) == 2  # what it would write over
    assert run("evaluate", str(copy), str(other), *columns, "--max-queries", "4") == 0
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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fit", "nowhere.csv", "-o", "OUT"], "no tasks at nowhere.csv"),
        (["fit", "demo", "-t", "antonim", "-o", "OUT"], "did you mean 'antonym'"),
        (["fit", "demo", "-t", "antonym", "-m", "./no-model", "-o", "OUT"], "no model folder ./no-model"),
        (["fit", "demo", "-t", "antonym", "--lr", "-1", "-o", "OUT"], "lr: Input should be greater than 0"),
        (["fit", "demo", "-t", "antonym", "--n-shots", "5000", "-o", "OUT"], "too few for 5000-shot prompts"),
        (["fit", "demo", "-t", "antonym", "-o", "/proc/nope"], "cannot write to /proc/nope"),
        (["fit", "demo", "-t", "antonym", "--device", "cuda", "-o", "OUT"], "unknown or missing device 'cuda'"),
        (["fit", "demo", "-t", "antonym", "--n-eval-shots", "5000", "-o", "OUT"], "too few for 5000-shot prompts"),
        (["demo", "--n-tasks", "9999", "-o", "OUT"], "cannot draw 9999 of"),
        (["report", "OUT"], "holds no run"),
        (["report", "OUT", "--images", "OUT"], "holds no run"),
        (["evaluate", "OUT", "demo"], "holds no run"),
        (["diagnose", "OUT"], "holds no run"),
        (["compare", "OUT", "OUT"], "would be compared with itself"),
        (["compare", "OUT", "nowhere.json"], "there is no record at"),
        (["fit", "demo", "-t", "antonym", "--control", "zero", "-o", "OUT"], "unknown control 'zero'"),
    ],
)
def test_a_users_mistake_ends_with_2_one_clear_line_and_nothing_written(
    arguments: Sequence[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(*[str(out) if word == "OUT" else word for word in arguments]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.startswith("error: ")
    assert len(printed.err.strip().splitlines()) == 1
    assert not [path for path in out.rglob("*") if path.is_file()]


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
    assert run("compare", str(finished), str(evaluation)) == 2
    assert "not a fit or scores" in capsys.readouterr().err


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


def test_help_tells_where_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "site-lens demo" in capsys.readouterr().out


def test_doctor_prints_a_support_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "demo", "--longest", "100") == 0
    shown = capsys.readouterr().out
    assert "6 layers x 8 heads" in shown
    assert "cached_equals_full" in shown
    assert run("doctor", "demo", "--longest", "100", "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["ok"] is True
    assert {"code", "state", "value", "threshold"} <= set(card["checks"][0])


def test_doctor_says_which_checks_a_model_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import load_file, save_file

    save_tiny("llama", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.layers.0.self_attn.v_proj.weight"].fill_(float("nan"))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert run("doctor", str(tmp_path), "--dtype", "float32", "--json") == 1
    card = json.loads(capsys.readouterr().out)
    assert card["ok"] is False
    (padding,) = (check for check in card["checks"] if check["code"] == "padding")
    assert (padding["state"], padding["value"]) == ("fail", None)  # a number that is none has no place in JSON


def test_doctor_names_the_cache_when_that_is_what_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("site_lens.models.kv_cache.KNOWN_LAYERS", ())  # as if the model kept its past in another way
    assert run("doctor", "demo", "--json") == 1
    card = json.loads(capsys.readouterr().out)
    assert [check["code"] for check in card["checks"]] == ["prefix_cache"]
    assert "keeps its past in DynamicLayer" in card["checks"][0]["meaning"]
    assert card["model"]["name"] == "demo"


def test_doctor_says_why_a_model_without_attention_in_some_layers_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("doctor", str(save_tiny("lfm2", tmp_path)), "--json") == 1
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert (check["code"], check["state"]) == ("hook_z", "fail")
    assert "1 of the 2 layers" in check["meaning"]


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
        assert run("fit", str(path), "--out", str(tmp_path / "run"), *FAST) == 0
    said = capsys.readouterr()
    (line,) = [line for line in said.out.splitlines() if "first_tokens" in line and line.startswith("failed:")]
    assert 'loss="answer"' in line and "--generate" in line
    (warning,) = [line for line in said.err.splitlines() if "loss='answer'" in line]
    assert warning.startswith("warning: ")
    assert sl.Run.load(tmp_path / "run").fits["prices"].config.loss == "answer"
