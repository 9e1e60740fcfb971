"""A run of the published code is reproduced from its rows, through public names alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from tests.conftest import Tasks

GOLDEN = Path(__file__).parent / "golden"
CONFIG = sl.SiteConfig.paper(n_prompts=10, n_shots=5, n_steps=100)


@dataclass(frozen=True)
class Published:
    """What the published code drew and computed on one task."""

    task: sl.Task
    said: dict[str, Any]
    mean: np.ndarray

    @property
    def prompt_rows(self) -> dict[str, list[list[int]]]:
        return {self.task.name: [one["train_rows_shots_then_query"] for one in self.said["embedding_prompts"]]}

    @property
    def train_rows(self) -> dict[str, list[list[int]]]:
        return {self.task.name: [[one["train_row"]] for one in self.said["training_steps"]]}


@pytest.fixture(params=["antonym", "english-french"])
def published(request: pytest.FixtureRequest) -> Published:
    name = request.param
    said = json.loads((GOLDEN / f"demo_{name}.json").read_text(encoding="utf-8"))
    return Published(sl.load_tasks("demo", [name])[name], said, np.load(GOLDEN / f"demo_{name}_embedding.npy"))


def embedding_of(model: LensModel, published: Published) -> sl.TaskEmbedding:
    rows = published.prompt_rows
    return sl.capture_embeddings(model, published.task, n_prompts=10, n_shots=5, prompt_rows=rows)[published.task.name]


def test_the_embedding_of_given_rows_is_the_published_one_and_its_prompts_can_be_read(
    demo: LensModel, published: Published
) -> None:
    embedding = embedding_of(demo, published)
    # Processors sum in different orders: two bits of float32, at the size of the largest entry (3.8 and 5.5).
    assert np.abs(embedding.mean - published.mean).max() < 4 * np.finfo(np.float32).eps * np.abs(published.mean).max()
    prompts = embedding.prompts(published.task)
    ids = demo.encoder.encode([prompt.text for prompt in prompts])
    assert ids == [one["token_ids"] for one in published.said["embedding_prompts"]]


def test_losses_and_alphas_of_given_rows_are_the_published_ones(demo: LensModel, published: Published) -> None:
    name = published.task.name
    embedding = embedding_of(demo, published).replace(mean=published.mean)  # so that steps alone are compared
    fit = sl.fit_site(demo, published.task, CONFIG, embeddings={name: embedding}, train_rows=published.train_rows)[name]
    # Rounding alone, over 100 steps of Adam: on a processor with AVX-512 losses differ by 7e-6 nats and alphas by 5e-6
    # at most, on one without by 1.2e-5 and 6.3e-5.
    assert np.abs(fit.trace.loss - published.said["loss_per_step"]).max() < 2e-5
    alphas = np.array(published.said["alphas_layer_head"])
    assert np.abs(fit.gates.values - alphas).max() < 1e-4
    assert ((fit.gates.values > 0.5) == (alphas > 0.5)).all()
    assert fit.trace.train_rows.tolist() == published.train_rows[name]


def test_a_pair_of_published_gates_and_embedding_has_the_published_accuracy(
    demo: LensModel, published: Published, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    name = published.task.name
    torch.save(torch.tensor(published.mean[:, :, None]), tmp_path / f"{name}.pt")
    torch.save(torch.tensor(published.said["alphas_layer_head"]), tmp_path / "alphas.pt")
    pair = (
        sl.read_published_alphas(tmp_path / "alphas.pt", demo.grid, task=name),
        sl.read_published_embedding(tmp_path / f"{name}.pt", demo.identity, task=name, n_prompts=10, n_shots=5),
    )
    found = sl.evaluate(demo, published.task, {name: pair}, n_shots=5)[name]
    said = published.said["first_token_accuracy"]
    assert found.accuracy("site").value == said["Intervention Accuracy"]
    assert found.accuracy("zero_shot").value == said["Clean Accuracy"]
    assert any("rows that are not known" in note for note in found.notes)
    with pytest.raises(sl.InputError, match="not known"):  # the file does not say which prompts it was made of
        pair[1].replace(task_digest=published.task.digest).prompts(published.task)


def test_a_fit_is_followed_step_by_step_from_what_its_record_holds(demo: LensModel, demo_tasks: Tasks) -> None:
    config = sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=12, batch_size=4, eval_every=6, n_valid=4)
    for shared in (False, True):
        fits = sl.fit_site(demo, demo_tasks, config.replace(seed=5, shared=shared))
        embeddings = {
            name: sl.capture_embeddings(
                demo, demo_tasks[name], n_prompts=4, n_shots=3,
                prompt_rows={name: np.asarray(fit.embedding.prompt_rows).astype(int).tolist()},
            )[name]
            for name, fit in fits.items()
        }  # fmt: skip
        rows = {name: fit.trace.train_rows for name, fit in fits.items()}
        again = sl.fit_site(
            demo, demo_tasks, config.replace(seed=6, shared=shared), embeddings=embeddings, train_rows=rows
        )
        for name, fit in fits.items():
            assert np.abs(embeddings[name].mean - fit.embedding.mean).max() < 1e-6
            assert np.array_equal(again[name].trace.train_rows, fit.trace.train_rows)
            assert np.abs(again[name].gates.values - fit.gates.values).max() < 1e-5, (name, shared)


def test_the_prompts_of_an_embedding_are_those_of_its_own_rows(demo: LensModel, demo_tasks: Tasks) -> None:
    task = demo_tasks["antonym"]
    drawn = sl.capture_embeddings(demo, task, n_prompts=3, n_shots=2, seed=4)["antonym"]
    prompts = drawn.prompts(task)
    assert len(prompts) == 3
    rows = np.asarray(drawn.prompt_rows).astype(int)
    assert [prompt.answer for prompt in prompts] == [f" {task.train[row].output}" for row in rows[:, -1]]
    assert drawn.replace(prompt_rows=None).prompts(task) == prompts  # as of site_lens 0.1, drawn again by the seed
    with pytest.raises(sl.MismatchError):
        drawn.prompts(demo_tasks["english-french"])
