"""A sweep file says what is wrong with it, and where."""

from pathlib import Path

import pytest

import site_lens as sl
from site_lens.sweeps.jobs import jobs_of
from site_lens.sweeps.schema import PAPER_TEMPLATE


def read(tmp_path: Path, text: str) -> sl.Sweep:
    path = tmp_path / "study.toml"
    path.write_text(text)
    return sl.Sweep.load(path)


def test_a_short_file_means_the_defaults(tmp_path: Path) -> None:
    sweep = read(tmp_path, 'models = "demo"\ntasks = "demo"')
    assert sweep.name == "study"
    assert [(one.name, one.label) for one in sweep.models] == [("demo", "demo")]
    assert sweep.seeds == (0,)
    assert [one.config for one in sweep.configs] == [sl.SiteConfig()]
    assert sweep.templates == (PAPER_TEMPLATE,)
    assert sweep.controls == ("site_zero_embedding",)


def test_everything_can_be_said(tmp_path: Path) -> None:
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
    assert sweep.slurm == {"timeout_min": 60}


def test_paths_stand_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "model").mkdir()
    sweep = read(tmp_path, 'models = ["./model", "org/other"]\ntasks = "tasks"')
    assert [one.name for one in sweep.models] == [str(tmp_path / "model"), "org/other"]
    assert sweep.tasks[0].source == str(tmp_path / "tasks")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models = [", "is not valid TOML"),
        ('tasks = "demo"', "models: Field required"),
        ('models = []\ntasks = "demo"', "models: .*at least 1 item"),
        ('models = "demo"\ntasks = "demo"\nsead = 1', "sead: Extra inputs are not permitted"),
        ('models = "demo"\ntasks = "demo"\nseeds = []', "seeds"),
        ('models = "demo"\ntasks = "demo"\nseeds = [0, 0]', "the seed '0' comes twice"),
        ('models = "demo"\ntasks = "demo"\nseeds = [-1]', "seeds are 0 or more, got -1"),
        ('models = ["a/x", "b/x"]\ntasks = "demo"', "the label of a model 'x' comes twice"),
        ('models = {name = "demo", dtype = "int3"}\ntasks = "demo"', "models.0: ModelChoice: dtype"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{lr = -1}]', "lr: Input should be greater than 0"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{rate = 1}]', "unknown field of a config 'rate'"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{settings = "fast"}]', "unknown settings 'fast'"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{settings = ["quick"]}]', "unknown settings"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{settings = {a = 1}}]', "unknown settings"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{seed = 1}]', "a config has no seed"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{shared = true}]', "shared = true"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{embedding = "zero"}]', "list controls instead"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{}, {}]', "the config 'default' comes twice"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{}, {name = "b"}]', "config 'b' says the same as 'default'"),
        ('models = "demo"\ntasks = "demo"\nconfigs = [{name = "../b"}]', "cannot name a folder"),
        ('models = "demo"\ntasks = "demo"\ncontrols = ["site_task_agnostic"]', "unknown control of a sweep"),
        ('models = "demo"\ntasks = "demo"\ntemplates = [{output_prefix = "="}]', "templates.0: NamedTemplate: name"),
        ('models = "demo"\ntasks = "demo"\nname = "a/b"', "cannot name a file"),
        ('models = "demo"\ntasks = {source = "demo", names = []}', "tasks.0: TaskSource: names"),
        ('models = "demo"\ntasks = "demo"\nx = ' + "[" * 5000, "nested too deeply"),
        ('models = "demo"\ntasks = "demo"\nx = ' + "[" * 60 + "]" * 60, "nested more than 48 deep"),
        ('models = "demo"\ntasks = "demo"\nx' + ".x" * 60 + " = 1", "nested more than 48 deep"),
        ('models = "demo"\ntasks = "demo"\nx' + " . 'x'" * 400_000 + " = 1", "cannot read|nested more than 48 deep"),
        ('models = "demo"\ntasks = "demo"\nseeds = 10000000000', "more than 1000000 jobs"),
        ('models = "demo"\ntasks = "demo"\nseeds = 0x' + "f" * 5000, "more than 1000000 jobs"),
        ('models = ["demo", "gpt2"]\ntasks = "demo"\nseeds = 500001', "more than 1000000 jobs"),
        ('models = "demo"\ntasks = "demo"\nevaluation = {n_shots = 0}', "evaluation: EvaluationChoice: n_shots"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(sl.InputError, match=says) as caught:
        read(tmp_path, text)
    assert "study.toml" in str(caught.value)


def test_very_many_seeds_are_read_and_one_that_comes_twice_among_them_is_found(tmp_path: Path) -> None:
    seeds = list(range(100_000))
    assert len(read(tmp_path, f'models = "demo"\ntasks = "demo"\nseeds = {seeds}').seeds) == 100_000
    with pytest.raises(sl.InputError, match="77"):
        read(tmp_path, f'models = "demo"\ntasks = "demo"\nseeds = {[*seeds, 77]}')


def test_a_sweep_of_too_many_jobs_is_refused_before_any_is_made(tmp_path: Path) -> None:
    sweep = read(tmp_path, 'models = "demo"\ntasks = "demo"\nseeds = 900000')
    with pytest.raises(sl.InputError, match="more than 1000000"):
        jobs_of(sweep)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/y.json", "~nobody-of-this-name/y", "a\\u0000/b"])
def test_a_source_that_cannot_be_a_path_is_no_different_from_one_that_is_not_there(tmp_path: Path, name: str) -> None:
    sweep = read(tmp_path, f'models = "demo"\ntasks = "{name}"')
    with pytest.raises(sl.TaskFileError, match="there are no tasks at "):
        jobs_of(sweep)


@pytest.mark.parametrize("last", [f"{'x' * n}.5" for n in (70, 72, 80, 300)])
def test_a_model_of_any_long_name_has_a_label_that_can_name_a_folder(tmp_path: Path, last: str) -> None:
    (model,) = read(tmp_path, f'models = "org/{last}"\ntasks = "demo"').models
    assert model.name == f"org/{last}"
    assert model.label.startswith("x" * 70)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(sl.InputError, match=r"cannot read the sweep file .*nowhere.toml: No such file"):
        sl.Sweep.load(tmp_path / "nowhere.toml")
