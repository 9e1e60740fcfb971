"""The commands that compare and experiment: what they print, and what they keep."""

import json
from functools import partial
from pathlib import Path

import pytest

import site_lens as sl
from site_lens.cli import main
from site_lens.cli.studies import as_fitted
from site_lens.records.collections import file_name
from tests.cli.test_cli import Printed, run
from tests.fakes import fake_fit

SMALL = ["--task", "antonym", "--n-prompts", "4", "--n-shots", "3"]


@pytest.fixture(autouse=True)
def short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands that compare fit SITE in 10 steps, for which they have no option."""
    monkeypatch.setattr(sl, "ComparisonConfig", partial(sl.ComparisonConfig, site=sl.SiteConfig(n_steps=10)))


def test_methods_prints_every_method_and_writes_a_report(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise sl.InputError("no task was evaluated with all methods")

    methods = ["zero_shot", "site", "all_heads_half"]
    asked = ["methods", "demo", "--out", str(tmp_path), *SMALL, "--max-queries", "6", "--method", "zero_shot"]
    assert run(*asked, "--method", "site", "--method", "all_heads_half", "--json") == 0
    assert {row["method"] for row in json.loads(capsys.readouterr().out)} == set(methods)
    saved = sl.Run.load(tmp_path)
    assert saved.evaluations is not None
    assert saved.evaluations["antonym"].methods == tuple(methods)
    assert len(saved.evaluations["antonym"].costs) == 3
    assert (tmp_path / "report.html").exists()
    monkeypatch.setattr(sl, "method_table", refuse)
    assert run(*asked, "--replace") == 0
    printed = capsys.readouterr()
    assert "antonym" in printed.out and "no table" in printed.err


def test_selectors_are_compared_with_site(tmp_path: Path, capsys: Printed) -> None:
    asked = ["--selector", "attribution_patching", "--selector", "random"]
    assert run("selectors", "demo", "--out", str(tmp_path), *SMALL, *asked, "--json") == 0
    assert json.loads(capsys.readouterr().out)
    assert set(sl.Run.load(tmp_path).scores) == {"site", "attribution_patching", "random"}
    # Its own random order takes no scores called so; the others are judged.
    assert run("faithfulness", str(tmp_path), "demo", "--max-queries", "2", "--n-random", "1", "--json") == 0
    assert "attribution_patching" in {row["ordering"] for row in json.loads(capsys.readouterr().out)}
    assert "are they necessary?" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_heads_are_profiled_on_text_beside_the_tasks(finished: Path, tmp_path: Path, capsys: Printed) -> None:
    text, data = tmp_path / "text.txt", tmp_path / "data"
    text.write_text("one two one two three\n\nhot cold hot cold")
    asked = ["profile", str(finished), "demo", "--text", str(text)]
    assert run(*asked, "--head", "L1H1", "--headvis", str(data), "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["head"] == "L1H1" and 0 <= row["to_previous"] <= 1
    profiles = sl.Run.load(finished).studies["text_profiles"]
    assert isinstance(profiles, sl.TextProfiles) and profiles.n_pieces == 2
    assert (finished / "text_profiles.html").is_file() and (data / "heads" / "L1H1.json").is_file()
    assert "What the heads do on other text" in (finished / "report.html").read_text(encoding="utf-8")
    assert run("profile", str(finished), "demo", "--headvis", str(data)) == 2
    assert run(*asked[:3], "--text", str(tmp_path / "none.txt")) == 2
    for path in (finished / "studies").glob("text_profiles.*"):
        path.unlink()


def test_an_experiment_is_kept_in_the_run_and_shown_in_its_report(
    finished: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("transfer", str(finished), "demo", "--max-queries", "6", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in rows] == ["too few"] * 3  # two tasks of six queries
    asked = ["--first", "antonym", "--second", "english-french", "--max-queries", "6", "--json"]
    assert run("combine", str(finished), "demo", *asked) == 0
    assert {row["task"] for row in json.loads(capsys.readouterr().out)} == {"antonym", "english-french"}
    assert run("profile", str(finished), "demo", "--head", "L1H1", "--json") == 0
    capsys.readouterr()
    assert set(sl.Run.load(finished).studies) == {"transfer", file_name("combine_antonym+english-french"), "profiles"}
    assert not list((finished / "studies").glob("*.pieces"))  # cleared when the study is done
    assert run("roles", str(finished)) == 2
    assert "needs 5 tasks" in capsys.readouterr().err
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "Transfer between tasks" in page and "Not tested: needs 5 tasks" in page
    # Made once: the same again needs no model, other settings do.
    monkeypatch.setattr(sl, "load_model", lambda *args, **options: pytest.fail("a model was loaded"))
    assert run("transfer", str(finished), "demo", "--max-queries", "6", "--json") == 0
    with pytest.raises(pytest.fail.Exception, match="a model was loaded"):
        main(["transfer", str(finished), "demo", "--max-queries", "5"])


def test_fits_of_several_losses_are_fitted_again_each_with_its_own() -> None:
    seen: list[str] = []
    fits = sl.SiteFits(
        fake_fit(task, config=sl.SiteConfig(loss=loss)) for task, loss in (("a", "first_token"), ("b", "answer"))
    )
    measure = as_fitted(lambda model, tasks, config, template: seen.append(config.loss))
    measure(None, {}, fits)
    measure(None, {}, sl.SiteFits([fits["b"]]))
    assert seen == ["auto", "answer"]
