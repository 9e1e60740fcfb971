"""Head sets leave the toolkit as JSON or Python and come back, on the model that they were found on alone."""

import ast
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import site_lens as sl
from site_lens.site.head_set_files import head_sets_text, read_head_sets, write_head_sets
from tests.fakes import fake_identity
from tests.samples import laws

RAGGED = fake_identity(grid=sl.HeadGrid((4, 0, 2)))
MODEL = fake_identity()
SETS = {"antonym": sl.HeadSet.of(MODEL.grid, ["L0H5", "L2H0"]), "no heads": sl.HeadSet.of(MODEL.grid, [])}

some_sets = st.dictionaries(
    st.text(max_size=8), st.frozensets(st.sampled_from(list(RAGGED.grid))).map(lambda h: sl.HeadSet(RAGGED.grid, h))
)


@laws
@given(some_sets)
def test_sets_of_any_names_come_back_as_they_went(tmp_path: Path, sets: dict[str, sl.HeadSet]) -> None:
    for name in ("heads.json", "heads.py"):
        assert read_head_sets(write_head_sets(sets, RAGGED, tmp_path / name, replace=True), RAGGED) == sets


def test_other_programs_read_them_without_site_lens(tmp_path: Path) -> None:
    from_json = json.loads(write_head_sets(SETS, MODEL, tmp_path / "heads.json").read_text())
    imported = runpy.run_path(str(write_head_sets(SETS, MODEL, tmp_path / "heads.py")))["HEAD_SETS"]
    assert imported["sets"] == {"antonym": [(0, 5), (2, 0)], "no heads": []}
    assert from_json == json.loads(json.dumps(imported))  # tuples are lists in JSON, and nothing else differs
    assert (from_json["model"]["name"], from_json["model"]["heads_per_layer"]) == ("fake-model", [8] * 6)
    assert ast.literal_eval(head_sets_text(SETS, MODEL, format="python").split("=", 1)[1].strip()) == imported


@pytest.mark.parametrize("name", ["heads.json", "heads.py"])
def test_sets_of_another_model_are_refused(name: str, tmp_path: Path) -> None:
    path = write_head_sets(SETS, MODEL, tmp_path / name)
    tuned = fake_identity("tuned")
    with pytest.raises(sl.MismatchError):
        read_head_sets(path, tuned)
    assert read_head_sets(path, tuned, other_weights=True) == SETS
    for other_weights in (False, True):  # as many heads, but in other layers
        with pytest.raises(sl.MismatchError):
            read_head_sets(path, fake_identity(grid=sl.HeadGrid.full(8, 6)), other_weights=other_weights)
    renamed = MODEL.replace(name="/somewhere/else/fake-model")
    assert read_head_sets(path, renamed) == SETS  # the weights say which model it is, not where it lies


def test_sets_of_another_grid_and_other_suffixes_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(sl.MismatchError):
        write_head_sets(SETS, RAGGED, tmp_path / "heads.json")
    with pytest.raises(sl.InputError):
        write_head_sets(SETS, MODEL, tmp_path / "heads.toml")
    assert not list(tmp_path.iterdir())


def test_what_holds_no_head_sets_ends_in_one_line(tmp_path: Path) -> None:
    whole = json.loads(head_sets_text(SETS, MODEL))
    changes: tuple[dict[str, Any], ...] = ({"kind": "run"}, {"sets": {"a": [[9, 0]]}}, {"sets": {"a": [["0", 1]]}})
    in_json = ["", "[]", "[" * 10_000, "\ud800", *(json.dumps(whole | each) for each in changes)]
    in_python = ["", "HEAD_SETS = open('x')", "OTHER = {}", "HEAD_SETS = {1: 2}", "(" * 10_000]
    for name, texts in (("a.json", in_json), ("a.py", in_python)):
        for text in texts:
            (tmp_path / name).write_bytes(text.encode(errors="surrogatepass"))
            with pytest.raises(sl.StorageError) as refused:
                read_head_sets(tmp_path / name, MODEL)
            assert "\n" not in str(refused.value), text
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(sl.StorageError):
            read_head_sets(path, MODEL)


def test_nothing_in_a_python_file_is_run(tmp_path: Path) -> None:
    path = tmp_path / "heads.py"
    trap = tmp_path / "ran"
    write_head_sets(SETS, MODEL, path)
    path.write_text(f"open({str(trap)!r}, 'w')\n" + path.read_text())
    assert read_head_sets(path, MODEL) == SETS
    assert not trap.exists()
