"""Every method on the same test queries of a task."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from site_lens.core.digests import seed_stream
from site_lens.core.evaluation import Evaluation, Evaluations
from site_lens.core.fits import SiteFits
from site_lens.core.matching import exact_match, prefix_match
from site_lens.core.prompts import Prompt, PromptTemplate
from site_lens.core.provenance import library_versions
from site_lens.core.sampling import few_shot_prompts
from site_lens.core.tasks import Task, task_list
from site_lens.interventions.generating import generate
from site_lens.interventions.methods import Method, methods_for
from site_lens.interventions.prefixes import length_batches, prefill_prompts
from site_lens.interventions.progress import progress_bar
from site_lens.models.protocol import LensModel, Prefix


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
        progress: Show a progress bar; on a terminal only when None.

    Returns:
        One evaluation a task.

    Raises:
        MismatchError: A fit belongs to another model.
        InputError: A task has no fit or too few rows, or a prompt exceeds the context.
    """
    wanted = task_list(tasks)
    found = []
    with progress_bar(len(wanted), "evaluating", unit="task", progress=progress) as bar:
        for task in wanted:
            methods = methods_for(task, fits, controls or {}, n_shots=n_shots)
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
    rows: dict[str, list[np.ndarray]] = {"first_token": [], "rank": [], "log_prob": [], "exact": [], "prefix": []}
    notes: dict[str, None] = {}
    asked: dict[int, _Asked] = {}
    for method in methods:
        if method.n_shots not in asked:
            stream = seed_stream(settings.seed, task.digest, "evaluation", method.n_shots)
            prompts = few_shot_prompts(task, queries, settings.template, n_shots=method.n_shots, stream=stream).prompts
            asked[method.n_shots] = _Asked(model, prompts)
        for name, values in asked[method.n_shots].score(method).items():
            rows[name].append(values)
        if settings.generated:
            texts = generate(model, [p.text for p in asked[method.n_shots].prompts], method.edits(model))
            pairs = list(zip(texts, queries, strict=True))
            rows["exact"].append(np.array([exact_match(text, query.outputs) for text, query in pairs]))
            rows["prefix"].append(np.array([prefix_match(text, query.output, task=task.name) for text, query in pairs]))
        notes |= dict.fromkeys((*method.notes, *asked[method.n_shots].notes))
    return Evaluation(
        task=task.name,
        methods=tuple(method.name for method in methods),
        **{name: np.stack(values) for name, values in rows.items() if values},
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


class _Asked:
    """Prompts of one task, their accepted first tokens, and their prefixes, which all methods share."""

    def __init__(self, model: LensModel, prompts: Sequence[Prompt]) -> None:
        self.prompts = prompts
        self._model = model
        texts = [prompt.text for prompt in prompts]
        ids = model.encoder.encode(texts)
        pairs = [(text, answer) for text, prompt in zip(texts, prompts, strict=True) for answer in prompt.answers]
        tokens, merged = model.encoder.answers([text for text, _ in pairs], [answer for _, answer in pairs])
        firsts = iter(token[0] for token in tokens)
        self._accepted = [[next(firsts) for _ in prompt.answers] for prompt in prompts]
        merging = f"{merged} answers share a token with the end of their prompt; first tokens are approximate"
        self.notes = (merging,) if merged else ()
        self._parts: list[tuple[list[int], Prefix, Tensor]] = []
        for group in length_batches([len(row) for row in ids]):
            prefix, row_of = prefill_prompts(model, [ids[i] for i in group])
            order = torch.tensor(row_of, device=model.device)
            tail = torch.tensor([[ids[i][-1]] for i in group], device=model.device)
            self._parts.append((group, prefix.rows(order), tail))

    @torch.no_grad()
    def score(self, method: Method) -> dict[str, np.ndarray]:
        """Return first_token, rank and log_prob, each (query)."""
        edits = method.edits(self._model)
        first_token, rank, log_prob = (np.zeros(len(self.prompts)) for _ in range(3))
        for group, prefix, tail in self._parts:
            logits = self._model.decode(prefix, tail, edits)[0][:, -1]
            targets = torch.tensor([self._accepted[i][0] for i in group], device=logits.device)
            best = logits.argmax(-1).tolist()
            first_token[group] = [token in self._accepted[i] for token, i in zip(best, group, strict=True)]
            rank[group] = target_rank(logits, targets).cpu().numpy()
            log_prob[group] = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].cpu().numpy()
        return {"first_token": first_token, "rank": rank, "log_prob": log_prob}


def target_rank(logits: Float[Tensor, "row vocab"], targets: Tensor) -> Tensor:
    """Return the rank of each row's target, 1 = most probable; equal logits count as better."""
    own = logits.gather(1, targets[:, None])
    return (logits >= own).sum(-1)
