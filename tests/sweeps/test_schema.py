"""Sweep files: short forms, defaults, and errors that name the place."""

from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps.jobs import jobs_of
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


def test_a_long_file_sets_everything(tmp_path: Path) -> None:
    sweep = read(
        tmp_path,
        """
        name = "sizes"
        seeds = 3
        controls = ["site_zero_embedding", "site_shuffled_answers"]
        models = ["demo", {name = "org/model-8b", dtype = "bfloat16", revision = "main", label = "8b"}]
        tasks = [{source = "demo", names = ["antonym"]}]
        [[configs]]
        settings = "quick"
        [[configs]]
        name = "slow"
        settings = "paper"
        lr = 0.1
        [[templates]]
        name = "arrow"
        input_prefix = ""
        output_prefix = "->"
        [evaluation]
        n_shots = 5
        max_queries = 20
        [slurm]
        timeout_min = 60
        """,
    )
    assert sweep.seeds == (0, 1, 2)
    assert [(one.label, one.dtype, one.revision) for one in sweep.models] == [
        ("demo", None, None),
        ("8b", "bfloat16", "main"),
    ]
    assert [(one.name, one.config) for one in sweep.configs] == [
        ("quick", sl.SiteConfig.quick()),
        ("slow", sl.SiteConfig.paper(lr=0.1)),
    ]
    assert sweep.templates[0].template == sl.PromptTemplate(input_prefix="", output_prefix="->")
    assert (sweep.slurm, sweep.evaluation.max_queries) == ({"timeout_min": 60}, 20)


def test_paths_are_relative_to_the_file_and_long_names_have_labels(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "model").mkdir()
    sweep = read(tmp_path, f'models = ["./model", "org/other", "org/{"x" * 300}.5"]\ntasks = "tasks"')
    assert [one.name for one in sweep.models[:2]] == [str(tmp_path / "model"), "org/other"]
    assert sweep.models[2].label.startswith("x" * 70) and len(sweep.models[2].label) < 200
    assert sweep.tasks[0].source == str(tmp_path / "tasks")
    for name in ("x" * 300, "~nobody-of-this-name/y", "a\\u0000/b"):  # which no path can be called
        with pytest.raises(sl.TaskFileError):
            jobs_of(read(tmp_path, f'models = "demo"\ntasks = "{name}"'))


def test_a_mistake_is_named_with_its_place(tmp_path: Path) -> None:
    for text, place in (
        ("models = [", "TOML"),
        ('tasks = "demo"', "models"),
        ('models = []\ntasks = "demo"', "models"),
        (SHORT + "sead = 1", "sead"),
        (SHORT + "seeds = []", "seeds"),
        (SHORT + "seeds = [3, 3]", "3"),
        (SHORT + "seeds = [-1]", "seeds.0"),
        (SHORT + "seeds = 10000000000", "more than 1000000 jobs"),
        ('models = ["a/x", "b/x"]\ntasks = "demo"', "'x'"),
        ('models = {name = "demo", dtype = "int3"}\ntasks = "demo"', "models.0: ModelChoice: dtype"),
        ('models = {label = "demo"}\ntasks = "demo"', "models.0: ModelChoice: name"),
        (SHORT + "configs = [{lr = -1}]", "lr"),
        (SHORT + "configs = [{rate = 1}]", "rate"),
        (SHORT + 'configs = [{settings = "fast"}]', "'fast'"),
        (SHORT + "configs = [{settings = {a = 1}}]", "settings"),
        (SHORT + "configs = [{seed = 1}]", "seed"),
        (SHORT + "configs = [{shared = true}]", "shared"),
        (SHORT + 'configs = [{embedding = "zero"}]', "controls"),
        (SHORT + "configs = [{}, {}]", "'default'"),
        (SHORT + 'configs = [{}, {name = "b"}]', "'b' is the same as 'default'"),
        (SHORT + 'configs = [{name = "../b"}]', "configs.0"),
        (SHORT + 'controls = ["site_task_agnostic"]', "'site_task_agnostic'"),
        (SHORT + 'templates = [{output_prefix = "="}]', "templates.0: NamedTemplate: name"),
        (SHORT + 'name = "a/b"', "'a/b'"),
        (SHORT + "evaluation = {n_shots = 0}", "evaluation: EvaluationChoice: n_shots"),
        ('models = "demo"\ntasks = {source = "demo", names = []}', "tasks.0: TaskSource: names"),
        (SHORT + "x = " + "[" * 5000, "TOML"),
        (SHORT + "x = 1 # " + "x" * 2**20, "larger"),
    ):
        with pytest.raises(sl.InputError) as caught:
            read(tmp_path, text)
        assert "study.toml" in str(caught.value) and place in str(caught.value), text[:80]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(sl.InputError, match=r"nowhere.toml: No such file"):
        sl.Sweep.load(tmp_path / "nowhere.toml")
