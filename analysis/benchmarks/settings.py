"""What a run of the benchmarks is asked to do."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import site_lens as sl
from analysis.benchmarks.subjects import subjects
from site_lens.models.base import LensModel


@dataclass(frozen=True)
class Settings:
    """Where to measure, and how often."""

    ag_news: Path
    """A folder of the paper's tasks."""
    device: str = "cpu"
    size: str = "100M"
    pairs: int = 5
    """Pairs of a ratio; two where a pair takes minutes."""

    @cached_property
    def subjects(self) -> tuple[sl.Task, LensModel, Any]:
        """The AG-News task, the model as site_lens loads it, and the same as a plain Hugging Face module."""
        return subjects(self.ag_news, size=self.size, device=self.device)
