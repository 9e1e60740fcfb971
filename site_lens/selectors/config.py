"""Settings of every selector and method, in one place; defaults are those of the sources."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from site_lens.records.base import Frozen
from site_lens.records.bounds import size
from site_lens.site.fit import MOST_PRICE, SiteConfig
from site_lens.tasks.prompt_template import PromptTemplate


class ComparisonConfig(Frozen):
    """Settings under which selectors and methods are compared."""

    n_prompts: int = size("n_prompts", 50)
    """M: few-shot prompts behind every mean output, whichever method uses it."""
    n_shots: int = size("n_shots", 10)
    """N: demonstrations in each of them, and of the few-shot prompting that is compared with."""
    n_probes: int = size("n_prompts", 25)
    """Few-shot prompts on which causal selectors measure each task (25: Todd et al. 2024)."""
    probe_queries: Literal["valid", "train"] = "valid"
    """Which rows these prompts ask, behind demonstrations of train (valid: the code of Todd et al. 2024)."""
    n_valid: int = size("n_valid", 64)
    """Rows of valid on which every method, SITE among them, chooses what it chooses: a checkpoint, a learning rate, a
    layer, a strength. A sample that depends on the rows alone."""
    rate_factors: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.3, 1.0, 3.0)
    """Learning rates that every trained rival of SITE tries, as multiples of its own; the best on valid is kept. SITE
    keeps its published rate. (1.0,) makes no search."""
    template: PromptTemplate = PromptTemplate()
    site: SiteConfig = SiteConfig()
    """Settings of SITE; its M, N, rows of valid and seed are those given here."""
    knock_out_at: Literal["last", "all"] = "last"
    """Where a head is knocked out: at the last prompt token (through the prefix cache), or at all tokens (each head
    pays for whole prompts)."""
    gim_temperature: float = Field(2.0, gt=0)
    """Temperature of the softmax in GIM's backward pass (2: Edin et al. 2025)."""
    relp_attention: Literal["constant", "gradient"] = "constant"
    """What RelP passes through attention to its scores: nothing (the AH-rule of its table), or the gradient (its
    published example, which leaves that rule out)."""
    sensing_masks: int = size("n_masks", 100)
    """Random sets of heads that compressed sensing knocks out (100: code of Bair et al. 2026)."""
    sensing_share: float = Field(0.5, gt=0, lt=1)
    """Share of the heads in each of them (0.5)."""
    sensing_content: Literal["zero", "mean"] = "zero"
    """What stands in the place of their outputs: zeros, or means over prompts with shuffled labels (zero)."""
    sensing_penalty: float = Field(0.01, gt=0)
    """L1 penalty of the regression on a loss of spread 1 (0.01)."""
    mask_steps: int = size("n_steps", 600)
    """Steps of REINFORCE over Bernoulli masks (600: Huang et al. 2024)."""
    masks_per_step: int = Field(32, ge=2, le=10_000)
    """Masks drawn at each of these steps (32)."""
    mask_lr: float = Field(0.1, gt=0)
    """Learning rate of Adam there (0.1)."""
    mask_prompts: int | None = Field(100, ge=1)
    """Few-shot prompts behind the embedding that masks put in place (100: MTV, Huang et al. 2024); M when None."""
    mask_shots: int | None = Field(4, ge=1)
    """Demonstrations in each of them (4: MTV); N when None."""
    l0_density: float = Field(0.25, gt=0, lt=1)
    """Share of open gates that hard-concrete gates are pushed to."""
    l0_steps: int = size("n_steps", 200)
    """Steps of hard-concrete gates."""
    l0_lr: float = Field(0.2, gt=0)
    """Learning rate of Adam there (0.2: SITE's)."""
    gating_steps: int = size("n_steps", 50)
    """Steps of each of the three fits of causal head gating (500 in the published code); whole prompts cost time."""
    gating_lr: float = Field(0.4, gt=0)
    """Learning rate of Adam there (0.4: that of `SiteConfig.quick`, which takes 50 steps, too; 1 in that code)."""
    gating_price: float = Field(0.1, gt=0, le=MOST_PRICE)
    """Nats per unit of the mean logit of the gates, which push one fit open and one closed (0.1: that code). The fewer
    heads a model has, the more each of them pays; with dozens of heads, interfering ones need a lower price."""
    weight_steps: int = size("n_steps", 200)
    """Steps of the learnable task vector's head weights."""
    weight_lr: float = Field(0.05, gt=0)
    """Learning rate of Adam on these weights."""
    n_vector_heads: int = size("n_heads", 10)
    """Heads summed up in a function vector (10: Todd et al. 2024, for GPT-J); all of a smaller model."""
    vector_heads: Literal["own", "universal"] = "own"
    """Which heads these are: those of highest indirect effect on the task itself (what the code of Todd et al. 2024
    does unless told otherwise), or on the mean over all tasks of the context (their paper's)."""
    vector_bias: bool = True
    """Add the bias of a layer's output projection once a head, where it has one (as their code does)."""
    effect_prompts: int | None = Field(100, ge=1)
    """Few-shot prompts behind the mean outputs of indirect effects and function vectors (100: Todd et al. 2024); M when
    None."""
    context_strengths: Annotated[tuple[float, ...], Field(min_length=1)] = (0.05, 0.1, 0.2, 0.4, 0.8)
    """Strengths of an in-context vector to choose from on valid (0.1: Liu et al. 2024)."""
    context_epochs: int = size("n_steps", 100)
    """Passes over the demonstrations that calibrate I2CL's scalars (100: Li et al. 2025)."""
    context_lr: float = Field(0.01, gt=0)
    """Learning rate of AdamW there (0.01)."""
    content_steps: int = size("n_steps", 200)
    """Steps of learned content."""
    content_lr: float = Field(0.01, gt=0)
    """Learning rate of Adam on its vectors."""
    content_batch: int = size("batch_size", 16)
    """Queries in each of its steps."""
    lora_rank: int = size("rank", 8)
    """Rank of LoRA on the query and value projections (8: the paper's)."""
    lora_steps: int = size("n_steps", 200)
    """Steps of LoRA."""
    lora_lr: float = Field(1e-3, gt=0)
    """Learning rate of AdamW there."""
    lora_batch: int = size("batch_size", 16)
    """Queries in each of its steps."""
    seed: int = size("seed", 0)

    def rates(self, lr: float) -> tuple[float, ...]:
        """Return the learning rates that a rival whose own is `lr` tries."""
        return tuple(lr * factor for factor in self.rate_factors)

    def eval_every(self, n_steps: int) -> int:
        """Return the steps between evaluations of a rival of so many steps: it has as many checkpoints as SITE."""
        return max(1, round(n_steps * self.site.eval_every / self.site.n_steps))

    def evaluates_at(self, step: int, n_steps: int) -> bool:
        """Tell whether a rival is evaluated after `step` steps: before the first, regularly, and after the last."""
        return step % self.eval_every(n_steps) == 0 or step == n_steps

    def site_config(self, **changes: object) -> SiteConfig:
        """Return the settings of SITE with the M, N, rows of valid and seed of the comparison."""
        own = {"n_prompts": self.n_prompts, "n_shots": self.n_shots, "n_valid": self.n_valid, "seed": self.seed}
        return self.site.replace(**own | changes)
