"""Heads command: heads of a run by name, with labels, and as files of every format."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader
from safetensors.numpy import load_file

import site_lens as sl
from tests.cli.test_cli import Printed, mistake, run


def test_the_heads_of_a_run_are_printed_and_joined_with_labels(finished: Path, tmp_path: Path, capsys: Printed) -> None:
    sets = sl.Run.load(finished).paths.chosen()
    labelled = next(iter(sets["english-french"]))
    labels = tmp_path / "labels.csv"
    labels.write_text(f"layer,head,label\n{labelled.layer},{labelled.head},induction\n5,7,other\n")
    capsys.readouterr()
    assert run("heads", str(finished), "english-french", "--labels", str(labels)) == 0
    printed = capsys.readouterr().out
    assert str(labelled) in printed and "labelled 'induction'" in printed
    assert run("heads", str(finished), "--labels", str(labels), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    named = {task: {row["head"] for row in found["heads"] if row["task"] == task} for task in sets}
    assert named == {task: set(map(str, heads)) for task, heads in sets.items()}
    assert {row["head"] for row in found["heads"] if row["labels"] == "induction"} == {str(labelled)}
    assert len(found["labels"]) == 4 and {row["verdict"] for row in found["labels"]} <= {"not found", "too few"}


def test_sets_and_fits_are_written_as_the_suffix_says(finished: Path, tmp_path: Path, capsys: Printed) -> None:
    saved = sl.Run.load(finished)
    sets, model = saved.paths.chosen(), saved.paths["antonym"].model
    for name in ("heads.json", "heads.py"):
        assert run("heads", str(finished), "--out", str(tmp_path / name)) == 0
        assert sl.read_head_sets(tmp_path / name, model) == sets
    assert run("heads", str(finished), "antonym", "--out", str(tmp_path / "a.pt")) == 0
    sparse, state = saved.paths["antonym"].sparse, torch.load(tmp_path / "a.pt", weights_only=True)
    assert sparse is not None
    expected = sl.affine_edits(sparse)
    assert state.keys() == expected.keys()
    assert all(np.array_equal(np.asarray(state[name]), expected[name]) for name in expected)
    assert run("heads", str(finished), "antonym", "--dense", "--out", str(tmp_path / "dense.safetensors")) == 0
    dense = load_file(tmp_path / "dense.safetensors")
    assert np.allclose(dense["layers.0.scale"], 1 - saved.fits["antonym"].gates.values[0])
    capsys.readouterr()


def test_a_control_vector_is_written_on_request_and_says_what_it_keeps(
    finished: Path, tmp_path: Path, capsys: Printed
) -> None:
    out = tmp_path / "french.gguf"
    assert "--approximate" in mistake(capsys, "heads", str(finished), "english-french", "--out", str(out))
    assert not out.exists()
    assert run("heads", str(finished), "english-french", "--out", str(out), "--approximate") == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out)
    assert "of the effect of the fit" in printed.err and "at every token" in printed.err
    assert all(tensor.name.startswith("direction.") for tensor in GGUFReader(out).tensors)


def test_mistakes_end_with_one_line_and_nothing_written(finished: Path, tmp_path: Path, capsys: Printed) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("layer,head,label\n99,0,induction\n")
    for message, arguments in (
        ("antonym, english-french", [finished, "--out", tmp_path / "both.safetensors"]),
        ("L99H0", [finished, "--labels", labels]),
        ("holds no run", [tmp_path]),
        ("did you mean 'antonym'", [finished, "antonim"]),
        (".safetensors", [finished, "--out", tmp_path / "heads.txt"]),
        (str(finished / "fits"), [finished, "--out", finished / "fits" / "heads.json"]),
        ("cannot write to", [finished, "--out", labels / "heads.json"]),
    ):
        assert message in mistake(capsys, "heads", *map(str, arguments)), message
    assert list(tmp_path.iterdir()) == [labels]
    mistake(capsys, "heads", str(finished), "--out", str(labels.rename(tmp_path / "mine.json")))
    assert run("heads", str(finished), "--out", str(tmp_path / "mine.json"), "--replace") == 0
    capsys.readouterr()


def test_tasks_without_a_set_are_named_or_all_are_soft_fits(finished: Path, tmp_path: Path, capsys: Printed) -> None:
    whole = sl.Run.load(finished)
    for without in (["antonym"], ["antonym", "english-french"]):
        paths = [
            p.replace(choice=None, sparse=None, gates_alone=None, gain_alone=()) if p.task in without else p
            for p in whole.paths.values()
        ]
        folder = tmp_path / str(len(without))
        replace(whole, paths=sl.HeadPaths(paths)).save(folder)
        capsys.readouterr()
        assert run("heads", str(folder), "--json") == 0
        printed = capsys.readouterr()
        shown = {row["task"] for row in json.loads(printed.out)["heads"]}
        if without == ["antonym"]:
            assert shown == {"english-french"} and "antonym" in printed.err
            assert run("compare", str(folder), "--json") == 0  # by alphas, since one of the two has no set
            assert "antonym" in capsys.readouterr().out
        else:
            assert shown == set(without) and "soft fits" in printed.err
