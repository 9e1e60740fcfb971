"""Models and tasks that many tests share, built once a session; nothing is downloaded."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for the hub fails at once instead of retrying

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.records.assets import DEMO_MODEL
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from tests.hooked_transformers import as_hooked_transformer
from tests.planted import TEMPLATE, planted_tasks, save_planted
from tests.tiny_models import save_tiny

# How many files every loader is tried on (tests/safety): --hypothesis-profile=nightly, or the environment variable.
for profile, n_cases in {"normal": 40, "nightly": 5000}.items():
    settings.register_profile(
        profile,
        max_examples=n_cases,
        deadline=None,  # for machines that are shared
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "normal"))

Bench = Callable[..., ComparisonContext]
Folders = Callable[[str], Path]
Models = Callable[[str], LensModel]
Tasks = dict[str, sl.Task]
"""Types of the fixtures `bench`, `tiny_folder`, `tiny` and `hosted`, and `demo_tasks`."""

SHARED = Path(__file__).parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def demo() -> LensModel:
    """The embedded demo model."""
    return sl.load_model("demo", device="cpu")


@pytest.fixture
def load_demo_once(demo: LensModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `sl.load_model("demo")` return the model that is there: loading it takes longer than most examples."""
    load = sl.load_model

    def load_model(name: str, **options: Any) -> LensModel:
        is_plain = name == "demo" and not any(options[option] for option in options.keys() - {"check"})
        return demo if is_plain else load(name, **options)

    monkeypatch.setattr(sl, "load_model", load_model)


@pytest.fixture(scope="session")
def demo_tasks() -> Tasks:
    """A handful of demo tasks of different families."""
    return sl.load_tasks("demo", ["antonym", "english-french", "choose_last_of_3", "country-capital"])


@pytest.fixture(scope="session")
def bench(demo: LensModel, demo_tasks: Tasks) -> Bench:
    """Return fresh workbenches of the demo model with some of the demo tasks."""

    def made(config: ComparisonConfig, *names: str) -> ComparisonContext:
        return ComparisonContext(demo, [demo_tasks[name] for name in names], config, progress=False)

    return made


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> LensModel:
    """A model in which known heads alone carry the task; see tests/planted.py."""
    return sl.load_model(save_planted(tmp_path_factory.mktemp("planted")), dtype="float32", device="cpu")


@pytest.fixture
def planted_bench(planted: LensModel) -> ComparisonContext:
    """A fresh workbench with all planted tasks."""
    return ComparisonContext(planted, planted_tasks(), ComparisonConfig(template=TEMPLATE, n_shots=8), progress=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Task files that are not part of the repository; see tests/SKIPS.md."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("no shared task files beside the repository")
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Return folders of tiny random models by architecture, with the demo model's tokenizer."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_tiny(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Folders) -> Models:
    """Return tiny random models by architecture."""
    made: dict[str, LensModel] = {}

    def model(kind: str) -> LensModel:
        if kind not in made:
            made[kind] = sl.load_model(tiny_folder(kind), dtype="float32", device="cpu")
        return made[kind]

    return model


@pytest.fixture(scope="session")
def hooked_transformer(tiny_folder: Folders) -> Callable[..., LensModel]:
    """Return the tiny models and the demo model as HookedTransformer; not under TransformerLens 4."""

    def model(kind: str, **options: Any) -> LensModel:
        import transformers

        folder = DEMO_MODEL if kind == "demo" else tiny_folder(kind)
        options = {"dtype": "float32"} | options
        hf_model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=options.pop("dtype"))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        return as_hooked_transformer(hf_model, tokenizer, **options)

    return model


@pytest.fixture(scope="session")
def hosted(demo: LensModel, tiny: Models, hooked_transformer: Models) -> Models:
    """Return a model by host and architecture, such as `bridge llama`; see `HOSTED`."""
    made: dict[str, LensModel] = {"bridge demo": demo}

    def model(case: str) -> LensModel:
        host, kind = case.split()
        if case not in made:
            made[case] = tiny(kind) if host == "bridge" else hooked_transformer(kind)
        return made[case]

    return model
