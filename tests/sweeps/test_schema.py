"""Sweep files: short forms, defaults, and errors that name the place."""

from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps.schema import PAPER_TEMPLATE

SHORT = 'models = "demo"\ntasks = "demo"\n'


def read(tmp_path: Path, text: str) -> sl.Sweep:
    path = tmp_path / "study.toml"
    path.write_text(text)
    return sl.Sweep.load(path)


def test_a_short_file_means_the_defaults(tmp_path: Path) -> None:
    sweep = read(tmp_path, SHORT)
    assert (sweep.name, sweep.seeds, sweep.controls) == ("study", (0,), ("site_zero_embedding",))
    assert [(one.name, one.label) for one in sweep.models] == [("demo", "demo")]
    assert [one.config for one in sweep.configs] == [sl.SiteConfig()]
    assert sweep.templates == (PAPER_TEMPLATE,)


def test_a_mistake_is_named_with_its_place(tmp_path: Path) -> None:
    for text, place in (
        ("models = [", "TOML"),
        ('tasks = "demo"', "models"),
        (SHORT + "sead = 1", "sead"),
        (SHORT + "seeds = [3, 3]", "3"),
        (SHORT + "seeds = 10000000000", "1000000"),
        ('models = ["a/x", "b/x"]\ntasks = "demo"', "'x'"),
        ('models = {label = "demo"}\ntasks = "demo"', "models.0: ModelChoice: name"),
        (SHORT + "configs = [{lr = -1}]", "lr"),
        (SHORT + "configs = [{seed = 1}]", "seed"),
        (SHORT + 'configs = [{}, {name = "b"}]', "'b' is the same as 'default'"),
        (SHORT + 'name = "a/b"', "'a/b'"),
        (SHORT + "x = " + "[" * 5000, "TOML"),
        (SHORT + "x = 1 # " + "x" * 2**20, "larger"),
    ):
        with pytest.raises(sl.InputError) as caught:
            read(tmp_path, text)
        assert "study.toml" in str(caught.value) and place in str(caught.value), text[:80]
