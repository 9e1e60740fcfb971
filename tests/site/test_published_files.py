"""Files of the published code come in and go out; files that could run code stay shut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.site.published_files import (
    read_published_alphas,
    read_published_embedding,
    write_published_alphas,
    write_published_embedding,
)
from tests.fakes import fake_embedding, fake_fit, fake_identity

MODEL = fake_identity()
GRID = MODEL.grid


class Touch:
    """Pickled, it creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_a_tensor_as_the_published_code_saves_it_becomes_an_embedding(tmp_path: Path) -> None:
    mean = torch.randn(6, 8, 1, 4, generator=torch.Generator().manual_seed(0)).bfloat16()  # as of a model in it
    embedding = read_published_embedding(saved(mean, tmp_path / "antonym.pt"), MODEL, task="antonym")
    assert np.array_equal(embedding.mean, mean[:, :, 0].float().numpy())
    assert (embedding.n_prompts, embedding.n_shots, embedding.labelled_rows) == (50, 10, ())
    assert not embedding.spread.any()


def test_alphas_as_the_published_code_saves_them_become_gates(tmp_path: Path) -> None:
    raw = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)) * 9
    after = read_published_alphas(saved(raw.sigmoid(), tmp_path / "after.pt"), GRID, task="antonym")
    before = read_published_alphas(saved(raw, tmp_path / "raw.pt"), GRID, task="antonym", before_sigmoid=True)
    assert np.array_equal(after.values, raw.sigmoid().numpy())
    assert after == before


def test_records_survive_the_way_out_and_back(tmp_path: Path) -> None:
    fit = fake_fit("antonym")
    write_published_embedding(fit.embedding, tmp_path / "e.pt")
    write_published_alphas(fit.gates, tmp_path / "a.pt")
    assert tuple(torch.load(tmp_path / "e.pt").shape) == (6, 8, 1, 4)
    embedding = read_published_embedding(tmp_path / "e.pt", MODEL, task="antonym")
    assert np.array_equal(embedding.mean, fit.embedding.mean)
    assert read_published_alphas(tmp_path / "a.pt", GRID, task="antonym") == fit.gates


def test_a_file_with_code_is_refused_and_the_code_does_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    path = saved(Touch(trap), tmp_path / "evil.pt")
    for read in (lambda: read_published_alphas(path, GRID), lambda: read_published_embedding(path, MODEL, task="x")):
        with pytest.raises(sl.StorageError, match="could execute code"):
            read()
    assert not trap.exists()
    torch.load(path, weights_only=False)  # the trap is a real one
    assert trap.exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    contents: list[tuple[Any, type[Exception]]] = [
        (torch.zeros(6, 7), sl.MismatchError),
        ({"alphas": torch.zeros(6, 8)}, sl.StorageError),
        (torch.zeros(6, 8, dtype=torch.long), sl.StorageError),
        (torch.zeros(1024, 1024), sl.StorageError),  # larger than what is read
        (torch.full((6, 8), 1.5), sl.InputError),
        (torch.full((6, 8), torch.nan), sl.InputError),
    ]
    for content, error in contents:
        with pytest.raises(error):
            read_published_alphas(saved(content, tmp_path / "a.pt"), GRID)
    for damaged in (b"", b"no tensor at all", b"PK\x03\x04 cut off"):
        (tmp_path / "a.pt").write_bytes(damaged)
        with pytest.raises(sl.StorageError, match=r"a\.pt"):
            read_published_alphas(tmp_path / "a.pt", GRID)
    with pytest.raises(sl.StorageError, match="No such file"):
        read_published_alphas(tmp_path / "b.pt", GRID)
    path = write_published_embedding(fake_embedding("antonym"), tmp_path / "e.pt")
    with pytest.raises(sl.MismatchError, match="raw weights"):
        read_published_embedding(path, fake_identity(processing="folded"), task="antonym")
    with pytest.raises(sl.InputError, match="additive"):
        write_published_alphas(fake_fit("antonym", config=sl.SiteConfig(mix="additive")).gates, tmp_path / "b.pt")
