"""Every method on the same test queries of a task."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.core.digests import seed_stream
from site_lens.core.errors import InputError
from site_lens.core.evaluation import Evaluation, Evaluations
from site_lens.core.fits import SiteFits
from site_lens.core.matching import exact_match, prefix_match
from site_lens.core.prompts import Prompt, PromptTemplate
from site_lens.core.provenance import library_versions
from site_lens.core.sampling import few_shot_prompts
from site_lens.core.tasks import Example, Task, task_list
from site_lens.interventions.generating import generate
from site_lens.interventions.methods import Method, methods_for
from site_lens.interventions.prefixes import length_batches, prefill_prompts
from site_lens.interventions.progress import progress_bar
from site_lens.models.protocol import LensModel


def evaluate(
    model: LensModel,
    tasks: Task | Mapping[str, Task] | Iterable[Task],
    fits: SiteFits | None = None,
    *,
    controls: Mapping[str, SiteFits] | None = None,
    n_shots: int = 10,
    max_queries: int | None = None,
    generated: bool = False,
    template: PromptTemplate | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Evaluations:
    """Measure zero-shot, few-shot and SITE (soft, hard, controls) on the same test queries.

    Args:
        model: The model.
        tasks: The tasks; queries are their test rows, demonstrations their train rows.
        fits: Fits by task; without them only prompting is measured.
        controls: Further fits by the name of their method, such as `{"site_zero_embedding": fits}`.
        n_shots: Demonstrations of few-shot prompting.
        max_queries: Test rows to use, the first ones; all when None.
        generated: Generate answers too, for exact and prefix match; several times slower.
        template: How examples become text; the fits' own, or the paper's, when None.
        seed: Seed of the demonstrations.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Returns:
        One evaluation a task.

    Raises:
        MismatchError: A fit belongs to another model.
        InputError: A task has no fit or too few rows, or a prompt exceeds the context.
    """
    wanted = task_list(tasks)
    if n_shots < 1 or (max_queries is not None and max_queries < 1):
        raise InputError(f"n_shots and max_queries must be at least 1, got {n_shots} and {max_queries}")
    found = []
    with progress_bar(len(wanted), "evaluating", unit="task", progress=progress) as bar:
        for task in wanted:
            methods = methods_for(model, task, fits, controls or {}, n_shots=n_shots)
            own = fits.of(task.name)[0].template if fits is not None else PromptTemplate()
            chosen = template or own
            settings = _Settings(chosen, n_shots, max_queries, generated, seed)
            found.append(_evaluate_task(model, task, methods, settings))
            bar.update()
    return Evaluations(found)


@dataclass(frozen=True, slots=True)
class _Settings:
    template: PromptTemplate
    n_shots: int
    max_queries: int | None
    generated: bool
    seed: int


def _evaluate_task(model: LensModel, task: Task, methods: Sequence[Method], settings: _Settings) -> Evaluation:
    queries = task.test[: settings.max_queries]
    found: dict[str, dict[str, np.ndarray]] = {}
    notes: dict[str, None] = {}
    for n_shots in dict.fromkeys(method.n_shots for method in methods):
        stream = seed_stream(settings.seed, task.digest, "evaluation", n_shots)
        prompts = few_shot_prompts(task, queries, settings.template, n_shots=n_shots, stream=stream).prompts
        sharing = [method for method in methods if method.n_shots == n_shots]
        scores, merged = _score(model, prompts, sharing)
        for method in sharing:
            found[method.name] = scores[method.name]
            if settings.generated:
                texts = generate(model, [prompt.text for prompt in prompts], method.edits(model))
                found[method.name] |= _matches(texts, task.name, queries)
            notes |= dict.fromkeys((*method.notes, *merged))
    metrics = next(iter(found.values()))
    return Evaluation(
        task=task.name,
        methods=tuple(method.name for method in methods),
        **{metric: np.stack([found[method.name][metric] for method in methods]) for metric in metrics},
        labelled_rows=tuple(method.n_labelled for method in methods),
        queries=tuple(query.input for query in queries),
        targets=tuple(query.output for query in queries),
        n_shots=settings.n_shots,
        seed=settings.seed,
        template=settings.template,
        task_digest=task.digest,
        model=model.identity,
        family=task.family,
        versions=library_versions(),
        notes=tuple(notes),
    )


def _matches(texts: Sequence[str], task: str, queries: Sequence[Example]) -> dict[str, np.ndarray]:
    pairs = list(zip(texts, queries, strict=True))
    return {
        "exact": np.array([exact_match(text, query.outputs) for text, query in pairs]),
        "prefix": np.array([prefix_match(text, query.output, task=task) for text, query in pairs]),
    }


@torch.no_grad()
def _score(
    model: LensModel, prompts: Sequence[Prompt], methods: Sequence[Method]
) -> tuple[dict[str, dict[str, np.ndarray]], tuple[str, ...]]:
    """Score methods that ask the same prompts; a group of prompts is prefilled once, and dropped before the next.

    Returns:
        By method: first_token, rank and log_prob, each (query); and what a reader should know of the answers.
    """
    ids = model.encoder.encode([prompt.text for prompt in prompts])
    accepted, merged = _first_tokens(model, prompts)
    scores = {m.name: {name: np.zeros(len(prompts)) for name in ("first_token", "rank", "log_prob")} for m in methods}
    edits = {method.name: method.edits(model) for method in methods}
    for group in length_batches([len(row) for row in ids]):
        prefix, row_of = prefill_prompts(model, [ids[i] for i in group])
        prefix = prefix.rows(torch.tensor(row_of, device=model.device))
        tail = torch.tensor([[ids[i][-1]] for i in group], device=model.device)
        targets = torch.tensor([accepted[i][0] for i in group], device=model.device)
        for name, found in scores.items():
            logits = model.decode(prefix, tail, edits[name])[0][:, -1]
            best = logits.argmax(-1).tolist()
            found["first_token"][group] = [token in accepted[i] for token, i in zip(best, group, strict=True)]
            found["rank"][group] = target_rank(logits, targets).cpu().numpy()
            found["log_prob"][group] = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].cpu().numpy()
    return scores, merged


def _first_tokens(model: LensModel, prompts: Sequence[Prompt]) -> tuple[list[list[int]], tuple[str, ...]]:
    """Return the first tokens of every accepted answer of each prompt, and a note on those that are approximate."""
    pairs = [(prompt.text, answer) for prompt in prompts for answer in prompt.answers]
    tokens, merged = model.encoder.answers([text for text, _ in pairs], [answer for _, answer in pairs])
    firsts = iter(token[0] for token in tokens)
    accepted = [[next(firsts) for _ in prompt.answers] for prompt in prompts]
    notes = []
    if merged:
        notes.append(f"{merged} answers share a token with the end of their prompt; first tokens are approximate")
    begun_by: dict[int, set[str]] = {}
    for prompt, tokens_of in zip(prompts, accepted, strict=True):
        begun_by.setdefault(tokens_of[0], set()).add(prompt.answer)
    alike = sum(len(answers) for answers in begun_by.values() if len(answers) > 1)
    if alike:
        notes.append(f"{alike} answers begin with the token of a different answer: first_token takes one for the other")
    return accepted, tuple(notes)


def target_rank(logits: Float[Tensor, "row vocab"], targets: Tensor) -> Tensor:
    """Return the rank of each row's target, 1 = most probable; equal logits count as better."""
    own = logits.gather(1, targets[:, None])
    return (logits >= own).sum(-1)
