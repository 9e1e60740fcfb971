"""What a joint SITE fit will do: every question, every draw and every pass is known before the first step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from site_lens.activations.embedding import TaskEmbedding
from site_lens.activations.prefill import Indices as Indices
from site_lens.activations.queries import first_tokens
from site_lens.heads.scores import HeadGates
from site_lens.models.base import LensModel
from site_lens.records.errors import InputError, MismatchError
from site_lens.records.hashing import seed_stream
from site_lens.records.type_checks import checked_methods
from site_lens.site.fit import SiteConfig
from site_lens.tasks.first_tokens import FirstTokens
from site_lens.tasks.prompt_sampling import sampled, with_shuffled_answers, zero_shot_prompts
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
    """Zero-shot queries of all jobs. Jobs that ask the same prompt share it, and so its prefix."""

    prompts: list[list[int]]
    """Token ids of every distinct prompt."""
    prompt_of: Indices
    """(question): its prompt."""
    answers: list[list[int]]
    """(question): the tokens that the loss is taken on."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One alpha map, and what it is trained on: one job, or all jobs that share it."""

    jobs: tuple[int, ...]
    config: SiteConfig
    train_questions: Indices
    """(step row): questions drawn for each step."""
    train_jobs: Indices
    """(step row): the job that each of them belongs to."""
    valid_questions: Indices
    valid_jobs: Indices
    train_rows: Indices
    """(step row): the row of train that each of them is."""

    def rows_of(self, job: int) -> Indices:
        """(step row): the rows of train drawn for a job; -1 where a row of the batch belongs to another job."""
        return np.where(self.train_jobs == job, self.train_rows, -1)

    def evaluates_at(self, step: int) -> bool:
        """Tell whether the unit is evaluated after `step` steps: before the first, regularly, and after the last."""
        return step <= self.config.n_steps and (step % self.config.eval_every == 0 or step == self.config.n_steps)


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass through the model: which questions, for which jobs and units."""

    step: int
    training: bool
    questions: Indices
    jobs: Indices
    units: Indices


@dataclass(frozen=True, slots=True)
class Plan:
    """A joint fit, laid out."""

    jobs: Sequence[SiteJob]
    questions: Questions
    units: tuple[Unit, ...]
    passes: tuple[Pass, ...]
    merged: tuple[int, ...]
    """(job): answers whose first token spans the end of the prompt."""
    whole_because: tuple[str | None, ...]
    """(job): why the loss is taken on the whole answer where the settings left that open."""


def make_plan(model: LensModel, jobs: Sequence[SiteJob], sets: Sequence[object] | None = None) -> Plan:
    """Lay out a joint fit: tokenise every question, draw every batch, list every pass.

    What a job draws depends on its own seed and task alone.

    Args:
        model: The model.
        jobs: The fits to be made.
        sets: Which set each job belongs to; jobs of different sets never share an alpha map. One set when None.

    Raises:
        InputError: A prompt exceeds the context.
        MismatchError: An embedding or a warm start does not belong to this model.
    """
    jobs, whole_because = _with_losses(model, jobs)
    for job in jobs:
        model.identity.check_use(job.embedding.model, f"the embedding of {job.embedding.task!r}")
        if job.warm_start is not None and job.warm_start.grid != model.grid:
            raise MismatchError(f"the warm start is over {job.warm_start.grid}, the model has {model.grid}")
    book = _QuestionBook(model)
    pools = [_Pool.of(job, book) for job in jobs]
    units = tuple(_unit(group, jobs, pools) for group in _groups(jobs, sets or [None] * len(jobs)))
    merged = tuple(pool.merged for pool in pools)
    return Plan(jobs, book.questions(), units, tuple(_passes(units)), merged, whole_because)


def _with_losses(model: LensModel, jobs: Sequence[SiteJob]) -> tuple[list[SiteJob], tuple[str | None, ...]]:
    """Choose the loss of jobs whose settings leave it open, by the first tokens of the answers of train.

    Tasks that share an alpha map share the loss: the whole answer, where one of them needs it.
    """
    measured: dict[tuple[str, PromptTemplate], FirstTokens] = {}
    whole: dict[object, str] = {}
    for i, job in enumerate(jobs):
        key = (job.task.digest, job.embedding.template)
        if job.config.loss == "auto" and key not in measured:
            measured[key] = first_tokens(model, job.task.train, job.embedding.template)
        if job.config.loss == "auto" and not measured[key].tell_apart:
            why = f"first tokens do not tell the answers of {job.task.name!r} apart: {measured[key]}"
            whole.setdefault(job.config if job.config.shared else i, why)
    because = [whole.get(job.config if job.config.shared else i) for i, job in enumerate(jobs)]
    return [
        job if job.config.loss != "auto"
        else replace(job, config=job.config.replace(loss="first_token" if why is None else "answer"))
        for job, why in zip(jobs, because, strict=True)
    ], tuple(because)  # fmt: skip


class _QuestionBook:
    """Collects questions, each distinct prompt once."""

    def __init__(self, model: LensModel) -> None:
        self._model = model
        self._place: dict[tuple[int, ...], int] = {}
        self._prompt_of: list[int] = []
        self._answers: list[list[int]] = []

    def add(self, prompts: Sequence[Prompt], *, whole_answer: bool) -> tuple[Indices, int]:
        """Add questions; return their numbers and how many first answer tokens span the end of the prompt."""
        encoder = self._model.encoder
        ids, answers, merged = encoder.encode_answers(
            [p.text for p in prompts], [p.answer for p in prompts], whole=whole_answer
        )
        first = len(self._answers)
        self._prompt_of += [self._place.setdefault(tuple(row), len(self._place)) for row in ids]
        self._answers += answers if whole_answer else [answer[:1] for answer in answers]
        return np.arange(first, len(self._answers)), merged

    def questions(self) -> Questions:
        return Questions([list(row) for row in self._place], np.array(self._prompt_of), self._answers)


@dataclass(frozen=True, slots=True)
class _Pool:
    """The questions a job draws from, and the rows of train they are."""

    train: Indices
    rows: Indices
    valid: Indices
    merged: int

    @classmethod
    def of(cls, job: SiteJob, book: _QuestionBook) -> "_Pool":
        config, task = job.config, job.task
        if job.train_rows is not None and config.n_queries is not None:
            raise InputError(f"train_rows of {task.name!r} came with n_queries, which draws rows; leave out one")
        stream = seed_stream(config.seed, task.digest, "queries")
        n = min(config.n_queries or len(task.train), len(task.train))
        rows = np.sort(stream.choice(len(task.train), n, replace=False))
        train, valid = [task.train[i] for i in rows], list(sampled(task.valid, config.n_valid))
        if config.null == "shuffled_answers":
            train, valid = (with_shuffled_answers(split, stream) for split in (train, valid))
        template, whole = job.embedding.template, config.loss == "answer"
        asked, merged = book.add(zero_shot_prompts(train, template), whole_answer=whole)
        checked, also_merged = book.add(zero_shot_prompts(valid, template), whole_answer=whole)
        return cls(asked, rows.astype(np.int64), checked, merged + also_merged)


def _groups(jobs: Sequence[SiteJob], sets: Sequence[object]) -> list[tuple[int, ...]]:
    """Group the jobs that share an alpha map: those of a set with equal settings that say so; others stand alone."""
    shared: dict[tuple[object, SiteConfig], list[int]] = {}
    groups: list[tuple[int, ...]] = []
    for i, (job, own) in enumerate(zip(jobs, sets, strict=True)):
        if job.config.shared:
            shared.setdefault((own, job.config), []).append(i)
        else:
            groups.append((i,))
    for members in shared.values():
        names = [jobs[i].task.name for i in members]
        if len(set(names)) < len(names):
            raise InputError(f"one shared alpha map was asked for, but a task comes twice: {names}")
        if len({jobs[i].warm_start for i in members}) > 1:
            raise InputError("one shared alpha map was asked for, but the tasks bring different warm starts; give one")
    return groups + [tuple(members) for members in shared.values()]


def _drawn(group: tuple[int, ...], jobs: Sequence[SiteJob], pools: Sequence[_Pool]) -> list[Indices]:
    """(step row) of each job of a unit: places in its pool, -1 where a row of the batch is another job's."""
    config = jobs[group[0]].config
    shape = (config.n_steps, config.batch_size)
    stream = seed_stream(config.seed, *(jobs[i].task.digest for i in group), "batches")
    # Reference: one task a step at random when alphas are shared; here each row of a batch draws its own.
    member = stream.integers(len(group), size=shape) if len(group) > 1 else np.zeros(shape, dtype=np.int64)
    drawn = stream.random(shape)
    return [
        np.where(member == place, (drawn * len(pools[job].train)).astype(np.int64), -1)
        for place, job in enumerate(group)
    ]


def _given(group: tuple[int, ...], jobs: Sequence[SiteJob]) -> list[Indices] | None:
    """(step row) of each job of a unit: rows of train that were given, which are places in its pool; None of none."""
    config, given = jobs[group[0]].config, [jobs[i].train_rows for i in group]
    if all(rows is None for rows in given):
        return None
    shape = (config.n_steps, config.batch_size)
    found = [np.array(rows if rows is not None else (), dtype=np.int64) for rows in given]
    names = ", ".join(jobs[i].task.name for i in group)
    if any(rows.shape != shape for rows in found):
        raise InputError(
            f"train_rows of {names} must be (step row) = (n_steps, batch_size) = {shape}, got {found[0].shape}"
        )
    if not (np.sum([rows >= 0 for rows in found], axis=0) == 1).all():
        raise InputError(f"every row of a step of train_rows must be a row of one task, of {names}, and -1 for others")
    return found


def _unit(group: tuple[int, ...], jobs: Sequence[SiteJob], pools: Sequence[_Pool]) -> Unit:
    config = jobs[group[0]].config
    places = _given(group, jobs) or _drawn(group, jobs, pools)
    questions, rows, owners = (np.empty((config.n_steps, config.batch_size), dtype=np.int64) for _ in range(3))
    for job, index in zip(group, places, strict=True):
        mine = index >= 0
        index = index[mine]
        questions[mine], rows[mine], owners[mine] = pools[job].train[index], pools[job].rows[index], job
    return Unit(
        jobs=group,
        config=config,
        train_questions=questions,
        train_jobs=owners,
        valid_questions=np.concatenate([pools[job].valid for job in group]),
        valid_jobs=np.concatenate([np.full(len(pools[job].valid), job) for job in group]),
        train_rows=rows,
    )


def _passes(units: Sequence[Unit]) -> list[Pass]:
    """List every pass: after each number of steps first the evaluations, then the next training step."""
    passes = []
    for step in range(max(unit.config.n_steps for unit in units) + 1):
        for training in (False, True):
            parts = [
                (unit.train_questions[step], unit.train_jobs[step], i)
                if training
                else (unit.valid_questions, unit.valid_jobs, i)
                for i, unit in enumerate(units)
                if (step < unit.config.n_steps if training else unit.evaluates_at(step))
            ]
            if parts:
                questions, jobs, owners = zip(*parts, strict=True)
                whose = np.repeat(np.array(owners), [len(part) for part in questions])
                passes.append(Pass(step, training, np.concatenate(questions), np.concatenate(jobs), whose))
    return passes
