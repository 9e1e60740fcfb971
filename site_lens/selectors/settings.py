"""The numbers of every way to find heads and to inject a task, in one place; defaults are those of the sources."""

from typing import Literal

from pydantic import Field

from site_lens.core.fits import SiteConfig
from site_lens.core.prompts import PromptTemplate
from site_lens.core.records import Frozen
from site_lens.core.sizes import size


class ComparisonConfig(Frozen):
    """Settings under which selectors and methods are compared."""

    n_prompts: int = size("n_prompts", 50)
    """M: few-shot prompts behind every mean output, whichever method uses it."""
    n_shots: int = size("n_shots", 10)
    """N: demonstrations in each of them, and of the few-shot prompting that is compared with."""
    n_probes: int = size("n_prompts", 25)
    """Few-shot prompts on which causal selectors measure each task (25: Todd et al. 2024)."""
    n_valid: int = size("n_valid", 64)
    """Rows of valid on which methods choose a layer, a strength or a mask."""
    template: PromptTemplate = PromptTemplate()
    site: SiteConfig = SiteConfig()
    """Settings of SITE; its M, N and seed are those given here."""
    knock_out_at: Literal["last", "all"] = "last"
    """Where a head is knocked out: at the last prompt token (through the prefix cache), or at all tokens (each head
    pays for whole prompts)."""
    mask_steps: int = size("n_steps", 600)
    """Steps of REINFORCE over Bernoulli masks (600: Huang et al. 2024)."""
    masks_per_step: int = Field(32, ge=2, le=10_000)
    """Masks drawn at each of these steps (32)."""
    mask_lr: float = Field(0.1, gt=0)
    """Learning rate of Adam there (0.1)."""
    l0_density: float = Field(0.25, gt=0, lt=1)
    """Share of open gates that hard-concrete gates are pushed to."""
    l0_steps: int = size("n_steps", 200)
    """Steps of hard-concrete gates."""
    weight_steps: int = size("n_steps", 200)
    """Steps of the learnable task vector's head weights."""
    weight_lr: float = Field(0.05, gt=0)
    """Learning rate of Adam on these weights."""
    n_vector_heads: int = size("n_heads", 10)
    """Heads summed up in a function vector (10: Todd et al. 2024, for GPT-J); all of a smaller model."""
    context_strengths: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8)
    """Strengths of an in-context vector to choose from on valid (0.1: Liu et al. 2024)."""
    context_epochs: int = size("n_steps", 100)
    """Passes over the demonstrations that calibrate I2CL's scalars (100: Li et al. 2025)."""
    context_lr: float = Field(0.01, gt=0)
    """Learning rate of AdamW there (0.01)."""
    lora_rank: int = size("rank", 8)
    """Rank of LoRA on the query and value projections (8: the paper's)."""
    lora_steps: int = size("n_steps", 200)
    """Steps of LoRA."""
    lora_lr: float = Field(1e-3, gt=0)
    """Learning rate of AdamW there."""
    lora_batch: int = size("batch_size", 16)
    """Queries in each of its steps."""
    seed: int = size("seed", 0)

    def site_config(self, **changes: object) -> SiteConfig:
        """Return the settings of SITE with the M, N and seed of the comparison."""
        shared = {"n_prompts": self.n_prompts, "n_shots": self.n_shots, "seed": self.seed}
        return self.site.replace(**shared | changes)
