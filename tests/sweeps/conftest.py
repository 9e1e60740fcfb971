"""A store and a diary for every test of sweeps."""

from pathlib import Path

import pytest

from site_lens.sweeps.store import RunStore


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """An empty run store."""
    return RunStore.create(tmp_path / "store")


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """Where a faulty worker writes what it does."""
    folder = tmp_path / "diary"
    folder.mkdir()
    return folder
