"""Plan of a joint SITE fit: every query, every draw and every batch is known before the first step."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from site_lens.activations.embedding import TaskEmbedding
from site_lens.activations.prefill import Indices as Indices
from site_lens.activations.queries import first_tokens
from site_lens.heads.scores import HeadGates
from site_lens.models.base import LensModel
from site_lens.models.tokenization import Encoder
from site_lens.records.errors import InputError, MismatchError
from site_lens.records.hashing import seed_stream
from site_lens.records.type_checks import checked_methods
from site_lens.site.fit import SiteConfig
from site_lens.tasks.first_tokens import FirstTokens
from site_lens.tasks.prompt_sampling import sample_rows, with_shuffled_answers, zero_shot_prompts
from site_lens.tasks.prompt_template import Prompt, PromptTemplate
from site_lens.tasks.task import Task


@checked_methods
@dataclass(frozen=True, slots=True)
class SiteJob:
    """One fit to be made: the task, the settings, and the embedding that alpha mixes in."""

    task: Task
    config: SiteConfig
    embedding: TaskEmbedding
    warm_start: HeadGates | None = None
    """Alphas to begin with instead of `config.init`."""
    train_rows: tuple[tuple[int, ...], ...] | None = None
    """(step row): rows of train to ask instead of a draw, -1 where a row of the batch is another job's."""
    trouble: str | None = None
    """Why its embedding is not finite, if so: zeros stand in its place, and no step is taken."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Zero-shot queries of all jobs, tokenised. Jobs that ask the same prompt share it, and so its prefix."""

    prompts: list[list[int]] = field(default_factory=list)
    """Token ids of every distinct prompt."""
    prompt_of: list[int] = field(default_factory=list)
    """(question): its prompt."""
    answers: list[list[int]] = field(default_factory=list)
    """(question): the tokens that the loss is taken on."""
    _index: dict[tuple[int, ...], int] = field(default_factory=dict)

    def add(self, encoder: Encoder, prompts: Sequence[Prompt], *, whole_answer: bool) -> tuple[Indices, int]:
        """Add questions; return their numbers and how many first answer tokens span the end of the prompt."""
        texts, targets = [prompt.text for prompt in prompts], [prompt.answer for prompt in prompts]
        rows, answers, merged = encoder.encode_answers(texts, targets, whole=whole_answer)
        first = len(self.answers)
        for ids, answer in zip(rows, answers, strict=True):
            if tuple(ids) not in self._index:
                self._index[tuple(ids)] = len(self.prompts)
                self.prompts.append(ids)
            self.prompt_of.append(self._index[tuple(ids)])
            self.answers.append(answer if whole_answer else answer[:1])
        return np.arange(first, len(self.answers)), merged


class Asked(NamedTuple):
    """Questions that are asked; the arrays have one shape."""

    questions: Indices
    jobs: Indices
    """The job that each question belongs to."""
    rows: Indices
    """The row of train or valid that each question is."""

    @classmethod
    def joined(cls, parts: Sequence["Asked"]) -> "Asked":
        """Join the questions of several parts, in order."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


@dataclass(frozen=True, slots=True)
class AlphaMap:
    """One alpha map to be learned, and what it is trained on: the queries of one job, or of all jobs that share it."""

    jobs: tuple[int, ...]
    config: SiteConfig
    train: Asked
    """(step row): what is drawn for each step."""
    valid: Asked
    """(row): what it is evaluated on: the rows of valid of all its jobs."""

    def rows_of(self, job: int) -> Indices:
        """(step row): the rows of train drawn for a job; -1 where a row of the batch belongs to another job."""
        return np.where(self.train.jobs == job, self.train.rows, -1)

    def evaluates_at(self, step: int) -> bool:
        """Tell whether the map is evaluated after `step` steps: before the first, regularly, and after the last."""
        return step <= self.config.n_steps and (step % self.config.eval_every == 0 or step == self.config.n_steps)


@dataclass(frozen=True, slots=True)
class BatchStep:
    """One training step, or one evaluation, of all alpha maps that take it; every array is over rows of the batch."""

    step: int
    training: bool
    questions: Indices
    jobs: Indices
    rows: Indices
    """The row of train or valid that each question is."""
    maps: Indices
    """The alpha map under which each question is asked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A joint fit, laid out."""

    jobs: Sequence[SiteJob]
    questions: Questions
    alpha_maps: tuple[AlphaMap, ...]
    steps: tuple[BatchStep, ...]
    merged: tuple[int, ...]
    """(job): answers whose first token spans the end of the prompt."""
    whole_because: tuple[str | None, ...]
    """(job): why the loss is taken on the whole answer where the settings left that open."""


def make_plan(model: LensModel, jobs: Sequence[SiteJob], sets: Sequence[object] | None = None) -> Plan:
    """Lay out a joint fit: tokenise every query once, draw every batch, list every step.

    What a job draws depends on its own seed and task alone.

    Args:
        model: The model.
        jobs: The fits to be made.
        sets: Which set each job belongs to; jobs of different sets never share an alpha map. One set when None.

    Raises:
        InputError: A prompt exceeds the context.
        MismatchError: An embedding or a warm start does not belong to this model.
    """
    sets = sets or [None] * len(jobs)
    jobs, whole_because = _with_losses(model, jobs, sets)
    for job in jobs:
        model.identity.check_use(job.embedding.model, f"the embedding of {job.embedding.task!r}")
        if job.warm_start is not None and job.warm_start.grid != model.grid:
            raise MismatchError(f"the warm start is over {job.warm_start.grid}, the model has {model.grid}")
    questions = Questions()
    pools = [_Pool.of(i, job, questions, model.encoder) for i, job in enumerate(jobs)]
    alpha_maps = tuple(_alpha_map(group, jobs, pools) for group in _groups(jobs, sets))
    merged = tuple(pool.merged for pool in pools)
    return Plan(jobs, questions, alpha_maps, tuple(_steps(alpha_maps)), merged, whole_because)


def _with_losses(
    model: LensModel, jobs: Sequence[SiteJob], sets: Sequence[object]
) -> tuple[list[SiteJob], tuple[str | None, ...]]:
    """Choose the loss of jobs whose settings leave it open, by the first tokens of the answers of train.

    Tasks that share an alpha map share the loss: the whole answer, where one of them needs it.
    """
    measured: dict[tuple[str, PromptTemplate], FirstTokens] = {}
    whole: dict[object, str] = {}
    shares = [
        (of_set, job.config) if job.config.shared else i for i, (job, of_set) in enumerate(zip(jobs, sets, strict=True))
    ]
    for share, job in zip(shares, jobs, strict=True):
        key = (job.task.digest, job.embedding.template)
        if job.config.loss == "auto" and key not in measured:
            measured[key] = first_tokens(model, job.task.train, job.embedding.template)
        if job.config.loss == "auto" and not measured[key].tell_apart:
            whole.setdefault(share, f"first tokens do not tell the answers of {job.task.name!r} apart: {measured[key]}")
    chosen = []
    for share, job in zip(shares, jobs, strict=True):
        if job.config.loss == "auto":
            job = replace(job, config=job.config.replace(loss="answer" if share in whole else "first_token"))
        chosen.append(job)
    return chosen, tuple(whole.get(share) for share in shares)


@dataclass(frozen=True, slots=True)
class _Pool:
    """The questions a job draws from and is evaluated on."""

    train: Asked
    valid: Asked
    merged: int

    @classmethod
    def of(cls, index: int, job: SiteJob, questions: Questions, encoder: Encoder) -> "_Pool":
        config, task = job.config, job.task
        if job.train_rows is not None and config.n_queries is not None:
            raise InputError(f"train_rows of {task.name!r} came with n_queries, which draws rows; leave out one")
        stream = seed_stream(config.seed, task.digest, "queries")
        n = min(config.n_queries or len(task.train), len(task.train))
        drawn = np.sort(stream.choice(len(task.train), n, replace=False))
        asked, merged = [], 0
        for split, rows in ((task.train, drawn), (task.valid, sample_rows(task.valid, config.n_valid))):
            examples = [split[i] for i in rows]
            if config.null == "shuffled_answers":
                examples = with_shuffled_answers(examples, stream)
            prompts = zero_shot_prompts(examples, job.embedding.template)
            numbers, n_merged = questions.add(encoder, prompts, whole_answer=config.loss == "answer")
            asked.append(Asked(numbers, np.full(len(numbers), index), np.array(rows, dtype=np.int64)))
            merged += n_merged
        train, valid = asked
        return cls(train, valid, merged)


def _groups(jobs: Sequence[SiteJob], sets: Sequence[object]) -> list[tuple[int, ...]]:
    """Group the jobs that share an alpha map: those of a set with equal settings that say so; others stand alone."""
    shared: dict[tuple[object, SiteConfig], list[int]] = {}
    for i, (job, of_set) in enumerate(zip(jobs, sets, strict=True)):
        if job.config.shared:
            shared.setdefault((of_set, job.config), []).append(i)
    for members in shared.values():
        names = [jobs[i].task.name for i in members]
        if len(set(names)) < len(names):
            raise InputError(f"one shared alpha map was asked for, but a task comes twice: {names}")
        if len({jobs[i].warm_start for i in members}) > 1:
            raise InputError("one shared alpha map was asked for, but the tasks bring different warm starts; give one")
    return [(i,) for i, job in enumerate(jobs) if not job.config.shared] + [tuple(group) for group in shared.values()]


def _drawn(group: tuple[int, ...], jobs: Sequence[SiteJob], pools: Sequence[_Pool]) -> list[Indices]:
    """(step row) of each job of a map: places in its pool, -1 where a row of the batch is another job's."""
    config = jobs[group[0]].config
    shape = (config.n_steps, config.batch_size)
    stream = seed_stream(config.seed, *(jobs[i].task.digest for i in group), "batches")
    # Reference: one task a step at random when alphas are shared; here each row of a batch draws its own.
    member = stream.integers(len(group), size=shape) if len(group) > 1 else np.zeros(shape, dtype=np.int64)
    uniform = stream.random(shape)
    return [
        np.where(member == place, (uniform * len(pools[job].train.rows)).astype(np.int64), -1)
        for place, job in enumerate(group)
    ]


def _given(group: tuple[int, ...], jobs: Sequence[SiteJob]) -> list[Indices] | None:
    """(step row) of each job of a map: rows of train that were given, which are places in its pool; None of none."""
    given = [jobs[i].train_rows for i in group]
    if all(rows is None for rows in given):
        return None
    config, names = jobs[group[0]].config, ", ".join(jobs[i].task.name for i in group)
    shape = (config.n_steps, config.batch_size)
    places = [np.array(rows if rows is not None else (), dtype=np.int64) for rows in given]
    if any(rows.shape != shape for rows in places):
        raise InputError(
            f"train_rows of {names} must be (step row) = (n_steps, batch_size) = {shape}, got {places[0].shape}"
        )
    if not (np.sum([rows >= 0 for rows in places], axis=0) == 1).all():
        raise InputError(f"every row of a step of train_rows must be a row of one task, of {names}, and -1 for others")
    return places


def _alpha_map(group: tuple[int, ...], jobs: Sequence[SiteJob], pools: Sequence[_Pool]) -> AlphaMap:
    config = jobs[group[0]].config
    train = Asked(*(np.empty((config.n_steps, config.batch_size), dtype=np.int64) for _ in range(3)))
    for job, places in zip(group, _given(group, jobs) or _drawn(group, jobs, pools), strict=True):
        mine = places >= 0
        for array, of_pool in zip(train, pools[job].train, strict=True):
            array[mine] = of_pool[places[mine]]
    return AlphaMap(group, config, train, Asked.joined([pools[job].valid for job in group]))


def _steps(alpha_maps: Sequence[AlphaMap]) -> list[BatchStep]:
    """List every step: after each number of training steps first the evaluations, then the next training step."""
    steps = []
    for step in range(max(m.config.n_steps for m in alpha_maps) + 1):
        evaluated = [i for i, m in enumerate(alpha_maps) if m.evaluates_at(step)]
        trained = [i for i, m in enumerate(alpha_maps) if step < m.config.n_steps]
        for training, indices in ((False, evaluated), (True, trained)):
            maps = [alpha_maps[i] for i in indices]
            parts = [Asked(*(array[step] for array in m.train)) if training else m.valid for m in maps]
            if parts:
                map_of_row = np.repeat(indices, [len(part.rows) for part in parts])
                steps.append(BatchStep(step, training, *Asked.joined(parts), map_of_row))
    return steps
