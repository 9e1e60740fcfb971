"""Live model of the explorer: accuracy and answers under chosen gates, and attention to any text."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch

from site_lens.activations.attention_patterns import attend
from site_lens.activations.cached_queries import CachedQueries
from site_lens.activations.generation import generate
from site_lens.activations.injection import injection_edits
from site_lens.heads.head_set import Head
from site_lens.heads.scores import HeadGates
from site_lens.methods.evaluate import EvaluationSettings, evaluate_methods
from site_lens.methods.method import prompting, use_notes
from site_lens.methods.names import few_shot_name
from site_lens.models.base import LensModel
from site_lens.records.base import Float32
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.records.hashing import seed_stream
from site_lens.records.type_checks import checked
from site_lens.site.fit import SiteFit
from site_lens.stats.intervals import Interval, wilson
from site_lens.tasks.answer_matching import first_lines
from site_lens.tasks.prompt_sampling import few_shot_prompts, sampled, zero_shot_prompts
from site_lens.tasks.task import Example, Task

INJECTED = "injected"
"""What the answer under the chosen gates is called beside those of prompting."""


class LiveModel:
    """A model with the fits that are looked at, and the rows of their tasks.

    Prefixes of a task's test queries are held, so that other gates cost one token a query; what prompting alone does
    is measured once.

    Args:
        model: The model.
        fits: Every fit that may be asked about.
        tasks: Tasks by name; of a task that is not there accuracies and few-shot prompts cannot be had.
        n_queries: Test rows to ask, a sample; the one that `evaluate` takes.
        n_shots: Demonstrations of few-shot prompting; fewer where a task has fewer rows to show.
        seed: Seed of the demonstrations, as in `evaluate`.

    Raises:
        MismatchError: A fit belongs to another model.
        InputError: There would be no query or no demonstration.
    """

    @checked
    def __init__(
        self,
        model: LensModel,
        fits: Iterable[SiteFit],
        tasks: Mapping[str, Task],
        *,
        n_queries: int = 32,
        n_shots: int = 10,
        seed: int = 0,
    ) -> None:
        check_sizes(n_queries=n_queries, n_shots=n_shots, seed=seed)
        self._model = model
        self._tasks = dict(tasks)
        self._n_queries, self._n_shots, self._seed = n_queries, n_shots, seed
        self._held: tuple[SiteFit, CachedQueries] | None = None
        self._prompted: dict[SiteFit, dict[str, Interval]] = {}
        self._answers: dict[tuple[SiteFit, str], dict[str, str]] = {}
        notes: dict[str, None] = {}
        for fit in fits:
            notes |= dict.fromkeys(use_notes(model, self._tasks.get(fit.task), fit))
        self.notes = tuple(notes)
        """What makes results hard to believe: other weights, other rows."""

    def queries(self, fit: SiteFit) -> tuple[str, ...]:
        """Return the inputs of the task's test rows; none where its rows are not known."""
        task = self._tasks.get(fit.task)
        return () if task is None else tuple(row.input for row in task.test)

    def expected(self, fit: SiteFit, query: str) -> tuple[str, ...]:
        """Return the accepted answers where the query is a row of the task, else none."""
        task = self._tasks.get(fit.task)
        rows = () if task is None else (*task.test, *task.valid, *task.train)
        return next((row.outputs for row in rows if row.input == query), ())

    def accuracies(self, fit: SiteFit, gates: HeadGates) -> dict[str, Interval]:
        """Measure prompting and the injection on the same test queries: first-token accuracy with Wilson's interval.

        Args:
            fit: The fit whose embedding is mixed in.
            gates: Alpha of every head.

        Returns:
            `zero_shot`, few-shot prompting and `injected`; nothing where the rows of the task are not known.
        """
        task = self._tasks.get(fit.task)
        if task is None:
            return {}
        with self._model.locked():
            if fit not in self._prompted:
                n_shots = self._n_shown(task, sampled(task.test, self._n_queries))
                methods = [prompting(n) for n in dict.fromkeys((0, n_shots))]
                settings = EvaluationSettings(fit.template, max(n_shots, 1), self._n_queries, seed=self._seed)
                measured = evaluate_methods(self._model, task, methods, settings)
                self._prompted[fit] = {method: measured.accuracy(method) for method in measured.methods}
            queries = self._held_prompts(fit, task)
            answers = queries.answers(
                torch.tensor(gates.values)[None], torch.tensor(fit.embedding.mean)[None], rule=gates.mix
            )
        return self._prompted[fit] | {INJECTED: wilson(int(answers.right.sum()), len(queries))}

    def _held_prompts(self, fit: SiteFit, task: Task) -> CachedQueries:
        """Hold the queries of one fit at a time: prefixes of many tasks would fill the memory."""
        if self._held is None or self._held[0] != fit:
            prompts = zero_shot_prompts(sampled(task.test, self._n_queries), fit.template)
            self._held = None  # lets go of the last one's before the next one's are made
            self._held = (fit, CachedQueries(self._model, prompts))
        return self._held[1]

    def prompts(self, fit: SiteFit, query: str) -> dict[str, str]:
        """Write a query as a prompt, zero-shot and, where rows of the task are known, with demonstrations.

        Raises:
            InputError: The query is blank.
        """
        if not query.strip():
            raise InputError("the query is blank; type an input of the task, such as one of its test rows")
        query_rows = [Example(query, ("?",))]  # the answer is not known, and a prompt does not show it
        prompts = {"zero_shot": zero_shot_prompts(query_rows, fit.template)[0].text}
        task = self._tasks.get(fit.task)
        n_shots = 0 if task is None else self._n_shown(task, query_rows)
        if task is not None and n_shots:
            stream = seed_stream(self._seed, task.digest, "explorer", n_shots)
            shown = few_shot_prompts(task, query_rows, fit.template, n_shots=n_shots, stream=stream)
            prompts[few_shot_name(n_shots)] = shown.prompts[0].text
        return prompts

    def _n_shown(self, task: Task, queries: Sequence[Example]) -> int:
        """Return how many demonstrations a prompt can show: fewer than were asked for where train is short."""
        n_rows = Counter(row.input for row in task.train)
        return min(self._n_shots, *(len(task.train) - n_rows[query.input] for query in queries))

    def answers(self, fit: SiteFit, query: str, gates: HeadGates) -> dict[str, str]:
        """Answer a query by prompting and under injection: the first line that is generated greedily.

        Raises:
            InputError: The query is blank, or a prompt exceeds the context.
        """
        prompts = self.prompts(fit, query)
        if (fit, query) not in self._answers:
            made = generate(self._model, list(prompts.values()))
            self._answers[fit, query] = dict(zip(prompts, map(first_lines, made), strict=True))
        edits = injection_edits(self._model, gates, fit.embedding)
        (injected,) = generate(self._model, [prompts["zero_shot"]], edits)
        return self._answers[fit, query] | {INJECTED: first_lines(injected)}

    def attention(self, text: str, head: Head) -> tuple[tuple[str, ...], Float32]:
        """Return the tokens of a text and what a head attends to in it, (query key), without any edit.

        Raises:
            InputError: The text has no tokens, or more than the context holds.
            ModelError: The model does not show its attention.
        """
        tokens, pattern = attend(self._model, text, [head])
        only: Float32 = pattern[0]
        return tokens, only
