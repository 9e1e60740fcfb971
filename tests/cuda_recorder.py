"""A recorder of CUDA graphs that needs no GPU."""

from collections.abc import Callable

import torch

from site_lens.site.cuda_graphs import Outputs


class Recorder:
    """Stands in for `recorded`: replays by running the function again, on the memory that it was recorded with."""

    def __init__(self) -> None:
        self.n_recorded = self.n_replayed = 0

    def __call__(self, work: Callable[[], Outputs], *where: None) -> tuple[Outputs, Callable[[], None]]:
        self.n_recorded += 1
        outputs = tuple(torch.full_like(output, torch.nan) for output in work())  # recording computes nothing

        def replay() -> None:
            self.n_replayed += 1
            for place, output in zip(outputs, work(), strict=True):
                place.copy_(output)

        return outputs, replay
