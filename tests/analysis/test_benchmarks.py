"""The benchmarks measure what they say, and their rival is the published loop."""

import json
import random
from types import ModuleType

import pytest
import torch

import site_lens as sl
from analysis.benchmarks import alpha_step, gpu, inference, real_model, two_parts
from analysis.benchmarks.measuring import compare, interleaved, peak_bytes
from analysis.benchmarks.published import PublishedLoop, asked, hugging_face, published_embedding, transformer_lens
from analysis.benchmarks.settings import Settings
from site_lens.models.base import LensModel
from site_lens.records.assets import DEMO_MODEL
from site_lens.site import cuda_graphs
from tests.cuda_recorder import Recorder
from tests.oracle import published_loop


@pytest.fixture(scope="module")
def plain() -> torch.nn.Module:
    import transformers

    model: torch.nn.Module = transformers.AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype=torch.float32)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("way", ["hugging face", "run_with_hooks"])
def test_the_rival_fits_the_alphas_of_the_published_loop(
    way: str, demo: LensModel, plain: torch.nn.Module, demo_tasks: dict[str, sl.Task]
) -> None:
    assert isinstance(demo, LensModel)
    queries = asked(demo, demo_tasks["antonym"].train[:20])
    embedding = torch.randn(*demo.grid.shape, demo.identity.d_head, generator=torch.Generator().manual_seed(0))
    logits_of = hugging_face(plain) if way == "hugging face" else transformer_lens(demo.host)
    found = PublishedLoop(logits_of, embedding).fit(queries, queries[:3], eval_every=10)
    expected = published_loop.fit(demo.host, queries, embedding)
    assert (expected - 0.5).abs().max() > 0.1
    assert (found - expected).abs().max() < 1e-4


def test_the_rivals_embedding_is_ours(demo: LensModel, plain: torch.nn.Module, demo_tasks: dict[str, sl.Task]) -> None:
    task = demo_tasks["antonym"]
    ours = sl.capture_embeddings(demo, [task], n_prompts=4, n_shots=3)["antonym"]
    theirs = published_embedding(plain, demo, task, n_prompts=4, n_shots=3)
    assert (theirs - torch.tensor(ours.mean)).abs().max() < 1e-5


def test_a_ratio_is_the_median_over_pairs_with_its_spread() -> None:
    line = compare(1, "q", "s", [10.0, 12.0, 30.0], [2.0, 3.0, 3.0], 4.5)
    assert (line.rival, line.ours, line.ratio, line.low, line.high) == (12.0, 3.0, 5.0, 4.0, 10.0)
    assert line.met is True
    assert compare(1, "q", "s", [1.0], [1.0], 4.5).met is False


def test_sides_are_timed_in_turn_after_a_warm_up() -> None:
    calls: list[str] = []
    times = interleaved(lambda: calls.append("a"), lambda: calls.append("b"), n=2)
    assert "".join(calls) == "ab" + "ab" + "ba"
    assert [len(side) for side in times] == [2, 2]


def test_peak_memory_counts_what_is_held_at_one_time() -> None:
    def call() -> None:
        for _ in range(5):
            torch.ones(2**18) + torch.ones(2**18)  # two of 1 MiB and their sum, freed each time

    assert 3 * 2**20 <= peak_bytes(call, torch.device("cpu")) < 4 * 2**20


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A model of two layers, and news of random words."""
    folder, rng = tmp_path_factory.mktemp("tasks"), random.Random(0)
    words = [f"{a}{b}" for a in ("mar", "tel", "gov", "spo") for b in ("ket", "ecom", "ern", "rts", "ing")]
    rows = [
        {"input": " ".join(rng.choices(words, k=40)), "output": rng.choice(["World", "Sports", "Business"])}
        for _ in range(150)
    ]
    (folder / "ag_news.json").write_text(json.dumps(rows), encoding="utf-8")
    return Settings(ag_news=folder, size="tiny", pairs=2)


@pytest.mark.parametrize("row", [alpha_step, inference, two_parts])
def test_rows_on_the_random_llama_run_through(
    row: ModuleType, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "N_QUERIES", 16)
    lines = row.measure(settings)
    assert all(line.ours > 0 and line.low <= line.high for line in lines)
    ratios = [line for line in lines if line.ratio is not None]
    assert ratios
    for line in ratios:
        assert len(line.timings["rival"]) == len(line.timings["ours"])
        pairs = zip(line.timings["rival"], line.timings["ours"], strict=True)
        assert line.low == min(theirs / mine for theirs, mine in pairs)


@pytest.mark.slow  # a whole job
def test_the_row_of_the_real_model_measures_every_part_of_the_main_job(
    demo: LensModel, plain: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, value in (("TASKS", ("antonym",)), ("TIMED_PROMPTS", 1), ("TIMED_STEPS", 2), ("N_QUERIES", 5)):
        monkeypatch.setattr(real_model, setting, value)
    monkeypatch.setattr(real_model, "PAIRS", 1)
    lines = real_model.lines_of(demo, plain, "demo", sl.SiteConfig(n_prompts=4, n_shots=2, n_steps=20, n_valid=10))
    assert len(lines) == 5 and all(line.ours > 0 for line in lines)
    path, whole = lines[1], lines[2]
    assert whole.rival is not None and whole.ours == pytest.approx(whole.rival + path.ours)


@pytest.mark.slow  # a whole job
def test_the_row_of_the_gpu_measures_the_main_job_and_steps_with_graphs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu.measure(settings) == []
    task, model, _ = settings.subjects
    config, recorder = sl.SiteConfig(n_prompts=4, n_shots=2, n_steps=10, loss="first_token"), Recorder()
    (job,) = gpu.whole_job(model, {task.name: task}, "tiny", config)
    assert job.ours > 0 and job.target == gpu.TARGET
    monkeypatch.setattr(cuda_graphs, "recorded", recorder)
    monkeypatch.setattr(LensModel, "cuda_graphs", False)  # which no model on a CPU lets be set
    (graphed,) = gpu.graphs(model, {task.name: task}, n=2)
    assert graphed.ratio is not None and recorder.n_replayed > 2
