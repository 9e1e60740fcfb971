"""Measuring of head profiles: what heads look at, copy, and do with their share of a task embedding alone."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.activations.injection import injection
from site_lens.activations.prefill import ROWS_PER_DECODE, ordered_prefixes, prompt_batches
from site_lens.activations.queries import Queries
from site_lens.heads.head_set import Head, HeadSet
from site_lens.heads.scores import HeadGates
from site_lens.models.base import LensModel
from site_lens.models.locking import on_model
from site_lens.models.weights import copying_scores, direct_logits
from site_lens.records.base import Float32
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError, ModelError
from site_lens.records.hashing import seed_stream
from site_lens.records.progress import progress_bar
from site_lens.selectors.config import ComparisonConfig
from site_lens.selectors.context import ComparisonContext
from site_lens.selectors.registry import registered_scores
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.studies.head_profiles.prompt_parts import PartedPrompt, parted_prompts
from site_lens.studies.head_profiles.result import PARTS, PATTERNS, HeadProfiles
from site_lens.studies.measure import common_fields, first_fits
from site_lens.tasks.prompt_sampling import zero_shot_prompts
from site_lens.tasks.task import Example, Task, task_list

TOP, MOST = 4, 24
"""By default so many heads of highest alpha of a task whose gates are soft, and so many of all tasks at most."""

N_TOKENS = 8
"""Tokens named of each head and task."""

TOKENS_AT_ONCE = 1024
"""Tokens of prompts whose attention is looked at together: every layer keeps that of all its heads meanwhile."""


@on_model
def head_profiles(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    fits: SiteFits,
    *,
    heads: Iterable[Head | str] | None = None,
    n_prompts: int = 16,
    n_shots: int = 5,
    seed: int = 0,
    progress: bool | None = None,
) -> HeadProfiles:
    """Describe some heads on every task: attention, copying, and what their share of the embedding does.

    Shares of attention are those of the last token of few-shot prompts without any edit. Many heads rest on the first
    token of a prompt where they have nothing to do: BOS, or the frame where the model has none.

    Args:
        model: The model that the fits were made on.
        tasks: The tasks; queries are drawn from their test rows, demonstrations from train.
        fits: One fit a task; of several seeds the lowest counts.
        heads: Which heads; when None the open heads of every task whose gates are rounded, as those of a chosen set
            are, and the four of highest alpha of the others; 24 at most: those of most tasks, and of these those of
            highest mean alpha.
        n_prompts: Queries a task, asked with demonstrations for attention and without for injection.
        n_shots: Demonstrations of each prompt.
        seed: Seed of the draws.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Raises:
        InputError: A task has no fit or too few rows, no fit has a map to choose heads from, a head is not the model's,
            or the tokenizer does not say which characters its tokens stand for.
        MismatchError: A fit belongs to another model.
        ModelError: The model does not show its attention.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["antonym"])
        >>> fits = sl.fit_site(model, tasks, sl.SiteConfig(n_prompts=4, n_shots=3, n_steps=10))
        >>> sl.head_profiles(model, tasks, fits, heads=["L1H6"], n_prompts=4).frame()["head"].item()
        'L1H6'
    """
    check_sizes(n_prompts=n_prompts, n_shots=n_shots, seed=seed)
    listed = task_list(tasks)
    chosen, notes = first_fits(model, listed, fits)
    described = wanted_heads(model, heads) if heads is not None else leading_heads(chosen)
    if not described:
        raise InputError("needs a head at least, got none; fits whose alphas are all alike name none: hand in heads")
    attention, gains, promoted, written = [], [], [], []
    with progress_bar(len(listed), "profiles", unit="task", progress=progress) as bar:
        for task, fit in zip(listed, chosen, strict=True):
            stream = seed_stream(seed, task.digest, "profiles")
            queries = [task.test[i] for i in stream.permutation(len(task.test))[:n_prompts]]
            prompts = parted_prompts(model.encoder, task, queries, fit.template, n_shots=n_shots, stream=stream)
            attention.append(attention_by_part(model, described, prompts))
            gain, change = injected_alone(model, fit, described, queries)
            gains.append(gain.cpu().numpy())
            promoted.append(top_tokens(model, change))
            written.append(top_tokens(model, written_alone(model, fit, described)))
            bar.update()
    return HeadProfiles(
        **common_fields(model, listed, chosen, notes),
        heads=tuple(map(str, described)),
        alphas=[[fit.gates[head] for head in described] for fit in chosen],
        attention=attention,
        patterns=_patterns(model, listed[0], described, seed),
        **copying_fields(model, described),
        answer_gain=gains,
        promoted=[logits for logits, _ in promoted],
        promoted_tokens=tuple(tokens for _, tokens in promoted),
        written=[logits for logits, _ in written],
        written_tokens=tuple(tokens for _, tokens in written),
        n_prompts=min(n_prompts, *(len(task.test) for task in listed)),
        n_shots=n_shots,
        seed=seed,
    )


def leading_heads(fits: Sequence[SiteFit], top: int = TOP, most: int = MOST) -> list[Head]:
    """Return the open heads of rounded gates, and those of highest alpha of soft ones; see `head_profiles`.

    Returns:
        Heads in order of layer, then head.
    """
    counts = Counter(head for fit in fits for head in _leading(fit.gates, top))
    mean = {head: np.mean([fit.gates[head] for fit in fits]) for head in counts}
    return sorted(sorted(counts, key=lambda head: (-counts[head], -mean[head], head))[:most])


def _leading(gates: HeadGates, top: int) -> HeadSet:
    """Return all open heads of rounded gates, which have no order among them; else those of highest alpha."""
    return gates.top(min(top, len(gates.grid))) if gates.undecided(0, 1) else gates.above(0.5)


def wanted_heads(model: LensModel, heads: Iterable[Head | str]) -> list[Head]:
    """Return each head once, in the order in which they came.

    Raises:
        InputError: One is not the model's.
    """
    wanted = list(dict.fromkeys(Head.parse(head) if isinstance(head, str) else head for head in heads))
    HeadSet.of(model.grid, wanted)  # refuses heads that are not the model's
    return wanted


@torch.no_grad()
def attention_by_part(model: LensModel, heads: Sequence[Head], prompts: Sequence[PartedPrompt]) -> Float32:
    """Average over prompts how the last token's attention is shared out over their parts, (head part)."""
    total = torch.zeros(len(heads), len(PARTS), dtype=torch.float64)
    for group, batch in prompt_batches(model, [prompt.ids for prompt in prompts], max_tokens=TOKENS_AT_ONCE):
        width = batch.tokens.shape[1]
        belongs = torch.zeros(len(group), width, len(PARTS), dtype=torch.float64)
        for row, i in enumerate(group):
            places = torch.arange(width - len(prompts[i].ids), width)
            belongs[row, places, torch.tensor([PARTS.index(part) for part in prompts[i].parts])] = 1
        last = model.attention(batch, heads)[:, :, -1].double().cpu()
        shares = torch.einsum("rhk,rkp->rhp", last, belongs)
        total += (shares / shares.sum(-1, keepdim=True)).sum(0)  # sums are 1 up to rounding, or less beside a sink
    return (total / len(prompts)).float().numpy()


def _patterns(model: LensModel, task: Task, heads: Sequence[Head], seed: int) -> Float32:
    """Return pattern scores, (score head); they belong to the model, whatever the task."""
    context = ComparisonContext(model, task, ComparisonConfig(seed=seed))
    scores = [registered_scores(context, name)[task.name] for name in PATTERNS]
    return np.array([[pattern[head] for head in heads] for pattern in scores], dtype=np.float32)


def copying_fields(model: LensModel, heads: Sequence[Head]) -> dict[str, Any]:
    """Return what a record of profiles says of copying: scores, or why there are none."""
    try:
        return {"copying": copying_scores(model, heads)}
    except ModelError as error:
        return {"copying": None, "copying_missing": str(error)}


@torch.no_grad()
def injected_alone(
    model: LensModel, fit: SiteFit, heads: Sequence[Head], queries: Sequence[Example]
) -> tuple[Float[Tensor, " head"], Float[Tensor, "head vocab"]]:
    """Inject each head's share of a task embedding alone, alpha 1, into zero-shot queries.

    Returns:
        Mean change of the right answer's log-probability, in nats, and mean change of every logit, less its mean over
        the vocabulary.
    """
    prompts = Queries.of(model, zero_shot_prompts(queries, fit.template))
    prefix = ordered_prefixes(model, prompts.ids)
    targets = prompts.targets(model.device)
    embedding = torch.tensor(fit.embedding.mean, device=model.device)[None]

    def means(gates: Float[Tensor, "variant layer head"]) -> tuple[Tensor, Tensor]:
        """Return log-probabilities of the answers, (variant), and logits, (variant vocab); means over queries."""
        n = len(gates)
        rows = gates.repeat_interleave(len(prompts), 0).to(model.device)
        owners = torch.zeros(len(rows), dtype=torch.long, device=model.device)
        edits = injection(rows, embedding, owners, heads_per_layer=model.grid.heads_per_layer, rule=fit.config.mix)
        logits = model.decode(prefix.repeated(n), prompts.tail(model.device).repeat(n, 1), edits)[0][:, -1]
        log_prob = logits.log_softmax(-1).gather(1, targets.repeat(n)[:, None])
        centred = logits - logits.mean(-1, keepdim=True)
        return log_prob.view(n, -1).mean(1), centred.view(n, len(prompts), -1).mean(1)

    clean = means(torch.zeros(1, *model.grid.shape))
    alone = torch.tensor(np.stack([HeadSet.of(model.grid, [head]).mask() for head in heads])).float()
    parts = [means(gates) for gates in torch.split(alone, max(1, ROWS_PER_DECODE // len(prompts)))]
    log_prob, logits = (torch.cat(part) for part in zip(*parts, strict=True))
    return log_prob - clean[0], logits - clean[1]


@torch.no_grad()
def written_alone(model: LensModel, fit: SiteFit, heads: Sequence[Head]) -> Float[Tensor, "head vocab"]:
    """Return the direct logits of each head's share of a task embedding, less their mean over the vocabulary."""
    shares = [torch.tensor(fit.embedding.mean[head.layer, head.head])[None] for head in heads]
    return torch.cat([written_by(model, head, share) for head, share in zip(heads, shares, strict=True)])


def written_by(model: LensModel, head: Head, z: Float[Tensor, "row d_head"]) -> Float[Tensor, "row vocab"]:
    """Return the direct logits of one head's outputs, less their mean over the vocabulary."""
    alone = torch.zeros(len(z), model.grid.heads_per_layer[head.layer], z.shape[1], device=model.device)
    alone[:, head.head] = z
    logits = direct_logits(model, head.layer, alone)
    return logits - logits.mean(1, keepdim=True)


def top_tokens(
    model: LensModel, logits: Float[Tensor, "row vocab"], n: int = N_TOKENS
) -> tuple[Float32, tuple[tuple[str, ...], ...]]:
    """Return the highest logits, falling, (row token), and which tokens they are."""
    top = logits.topk(min(n, logits.shape[1]))
    return top.values.cpu().numpy(), tuple(tuple(model.encoder.texts(row)) for row in top.indices.tolist())
