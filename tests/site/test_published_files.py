"""Files of the published code come in and go out; files that could run code stay shut."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

import site_lens as sl
from tests.fakes import fake_fit, fake_identity

MODEL = fake_identity()
GRID = MODEL.grid


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_a_tensor_as_the_published_code_saves_it_becomes_an_embedding(tmp_path: Path) -> None:
    mean = torch.randn(6, 8, 1, 4, generator=torch.Generator().manual_seed(0)).bfloat16()  # as of a model in it
    embedding = sl.read_published_embedding(saved(mean, tmp_path / "antonym.pt"), MODEL, task="antonym")
    assert np.array_equal(embedding.mean, mean[:, :, 0].float().numpy())
    assert (embedding.n_prompts, embedding.n_shots, embedding.labelled_rows) == (50, 10, ())
    assert not embedding.spread.any()


def test_alphas_as_the_published_code_saves_them_become_gates(tmp_path: Path) -> None:
    raw = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)) * 9
    after = sl.read_published_alphas(saved(raw.sigmoid(), tmp_path / "after.pt"), GRID, task="antonym")
    before = sl.read_published_alphas(saved(raw, tmp_path / "raw.pt"), GRID, task="antonym", before_sigmoid=True)
    assert np.array_equal(after.values, raw.sigmoid().numpy())
    assert after == before


def test_records_survive_the_way_out_and_back(tmp_path: Path) -> None:
    fit = fake_fit("antonym")
    sl.write_published_embedding(fit.embedding, tmp_path / "e.pt")
    sl.write_published_alphas(fit.gates, tmp_path / "a.pt")
    assert tuple(torch.load(tmp_path / "e.pt").shape) == (6, 8, 1, 4)
    embedding = sl.read_published_embedding(tmp_path / "e.pt", MODEL, task="antonym")
    assert np.array_equal(embedding.mean, fit.embedding.mean)
    assert sl.read_published_alphas(tmp_path / "a.pt", GRID, task="antonym") == fit.gates
