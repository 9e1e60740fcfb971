"""A name that is not known is answered with the nearest that is."""

from pathlib import Path

import pytest

from site_lens.records.suggestions import did_you_mean, did_you_mean_path


def test_near_names_are_suggested_whatever_their_case() -> None:
    known = ["antonym", "synonym", "capital"]
    assert did_you_mean("capitals", known) == "did you mean 'capital'?"
    assert did_you_mean("ANTONYM", known) == "did you mean 'antonym' or 'synonym'?"
    assert did_you_mean("quite another thing", known) == did_you_mean("antonym", []) == ""


def test_paths_of_a_like_name_are_looked_for_beside_and_in_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/first", "there/first", "there/other"):
        Path(folder).mkdir(parents=True)
    assert did_you_mean_path(Path("there/frist"), Path.is_dir).startswith("did you mean 'there/first'?")
    assert did_you_mean_path(Path("frist"), Path.is_dir).startswith("did you mean 'runs/first'?")
    assert did_you_mean_path(Path("frist"), Path.is_file) == ""
    assert did_you_mean_path(Path("nowhere/demi"), Path.is_dir, also=["demo"]).startswith("did you mean 'demo'?")
