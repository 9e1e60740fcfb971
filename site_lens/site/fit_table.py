"""Fits as they are put to work: which gates and which embedding each prompt gets."""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import torch

from site_lens.activations.embedding import TaskEmbedding
from site_lens.heads.scores import HeadGates, MixRule
from site_lens.records.errors import InputError, MismatchError
from site_lens.site.fit import SiteFit

Fitted = SiteFit | tuple[HeadGates, TaskEmbedding]
"""What can be put to work: a fit, or gates and an embedding that belong together, such as `fit.gates.hard()`; gates
bring the rule by which they mix."""


class FitTable:
    """Alphas and embeddings of the distinct fits, and which of them each prompt uses."""

    def __init__(self, fits: Fitted | Sequence[Fitted | None], device: torch.device) -> None:
        self.one_for_all = isinstance(fits, SiteFit) or _is_pair(fits) or not isinstance(fits, Sequence)
        of_prompt: list[Any] = [fits] if self.one_for_all else list(fits)
        distinct = {id(fit): fit for fit in of_prompt if fit is not None}
        if not distinct:
            raise InputError("there is no fit to put to work; give a fit, or a list with one fit or None per prompt")
        self.parts = [_part(fit) for fit in distinct.values()]
        place = {key: index for index, key in enumerate(distinct)}
        means = np.stack([embedding.mean for _, embedding in self.parts])
        zeros = np.zeros_like(self.parts[0][0].values)
        by_rule: dict[MixRule, np.ndarray] = {
            rule: np.stack([*(gates.values if gates.mix == rule else zeros for gates, _ in self.parts), zeros])
            for rule in dict.fromkeys(gates.mix for gates, _ in self.parts)
        }
        with torch.inference_mode(False):  # what is made in inference mode cannot take part in gradients later
            # Index -1, for prompts without a fit, meets the zeros below the last fit's alphas: they change nothing.
            self.fit_of_prompt = torch.tensor([place.get(id(fit), -1) for fit in of_prompt], device=device)
            self.embeddings = torch.tensor(means, device=device)
            """(fit layer head d_head)."""
            self.alphas = {rule: torch.tensor(gates, device=device) for rule, gates in by_rule.items()}
            """(fit+1 layer head) by mix rule: zeros for the fits of another rule, and below the last."""


def _part(fit: object) -> tuple[HeadGates, TaskEmbedding]:
    if isinstance(fit, SiteFit):
        return fit.gates, fit.embedding
    if not _is_pair(fit):
        raise InputError(f"cannot put a {type(fit).__name__} to work; give a SiteFit, or (HeadGates, TaskEmbedding)")
    gates, embedding = fit
    if gates.grid != embedding.model.grid:
        raise MismatchError(f"gates over {gates.grid} do not fit an embedding over {embedding.model.grid}")
    return gates, embedding


def _is_pair(fit: object) -> TypeGuard[tuple[HeadGates, TaskEmbedding]]:
    return isinstance(fit, tuple) and list(map(type, fit)) == [HeadGates, TaskEmbedding]
