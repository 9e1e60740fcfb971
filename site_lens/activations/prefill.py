"""Prefixes of prompts, computed in large length-sorted batches and kept under a byte budget."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from site_lens.activations.prefix_settings import PrefixDType
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.device import free_memory
from site_lens.models.hooks import Edit
from site_lens.models.kv_cache import Prefix
from site_lens.models.locking import on_model

TOKENS_PER_BATCH = 2048
"""Tokens of one prefill, padding included: enough to fill matrix units. Four times as many took a quarter longer on the
demo model, since they overflow a CPU's caches."""

SPREAD = 1.25
"""Length of the longest prompt of a block of prefixes over that of the shortest, at most; a fifth is padding."""

ROWS_PER_DECODE = 256
"""Rows of one decode at most, unless `rows_per_decode` allows more."""

SMALL_DECODE, SMALL_ROWS = 2**28, 1024
"""Bytes of a decode up to which more rows than these are taken on a CPU, and how many at most: of small models, Python
takes a large share of a decode (on the demo model 1024 rows take .6 of the time of four times 256)."""

GPU_ROWS_PER_DECODE = 4096
"""Rows of one decode at most on a GPU, if its free memory holds as many."""

Indices = NDArray[np.int64]


def length_batches(
    lengths: Sequence[int],
    *,
    max_tokens: float = TOKENS_PER_BATCH,
    max_rows: int | None = None,
    spread: float = float("inf"),
) -> Iterator[list[int]]:
    """Group prompts of similar length, so that little of a batch is padding.

    Args:
        lengths: Tokens of each prompt.
        max_tokens: Tokens of a batch at most, padding included; a longer prompt is a batch of its own.
        max_rows: Prompts of a batch at most.
        spread: How many times as long as the shortest prompt of a batch the longest may be; 1 for equal lengths.

    Yields:
        Indices of the prompts of a batch, each prompt in exactly one batch.
    """
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if group and (
            lengths[i] > spread * lengths[group[0]]
            or (len(group) + 1) * lengths[i] > max_tokens
            or len(group) == max_rows
        ):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def prompt_batches(
    model: LensModel, ids: Sequence[Sequence[int]], *, max_tokens: int = TOKENS_PER_BATCH
) -> Iterator[tuple[list[int], Batch]]:
    """Put prompts of similar length into batches on the model's device; see `length_batches`.

    Yields:
        Indices of the prompts of a batch, and the batch whose rows stand in the same order.
    """
    for group in length_batches([len(row) for row in ids], max_tokens=max_tokens):
        yield group, Batch.of([ids[i] for i in group], pad=model.encoder.pad, device=model.device)


def rows_per_decode(model: LensModel) -> int:
    """Return how many rows to decode at once: on a GPU as many as half of its free memory holds with their gradients.

    A row takes about eight numbers of float32 for each token of the vocabulary (logits, log probabilities, their
    gradients), and in each layer 24 numbers for each dimension of the residual stream. Where that is too few, the batch
    is halved (`in_halves`).
    """
    config, free = model.host.cfg, free_memory(model.device)
    bytes_per_row = 4 * (8 * config.d_vocab + 24 * config.n_layers * config.d_model)
    if free is None:
        return max(ROWS_PER_DECODE, min(SMALL_ROWS, SMALL_DECODE // bytes_per_row))
    return max(1, min(GPU_ROWS_PER_DECODE, free // 2 // bytes_per_row))


def bytes_per_token(model: LensModel, ids: Sequence[Sequence[int]]) -> float:
    """Measure what a token of a prefix takes at most, on the beginning of the shortest of some prompts.

    States of layers without attention take the same room however long a prompt is, so a token of a short one takes
    more. The beginning is a power of two long: a call measures once for prompts of like length, and never too little.
    """
    shortest = min(ids, key=len)[:-1]
    beginning = shortest[: 1 << max(len(shortest).bit_length() - 1, 0)]
    kept, name = model.kept, f"bytes of a token of {len(beginning)} or more"
    if name not in kept:
        probe = model.prefill(Batch.of([beginning], pad=model.encoder.pad, device=model.device))
        kept[name] = probe.n_bytes / probe.width
    return float(kept[name])


@on_model
def prefill_prompts(
    model: LensModel, ids: Sequence[Sequence[int]], edits: Sequence[Edit] = (), *, dtype: PrefixDType = "model"
) -> tuple[Prefix, Indices]:
    """Compute the prefixes (all tokens but the last) of many prompts.

    What several prompts begin with alike, such as the same demonstrations, is computed once (`shared_beginnings`).

    Args:
        model: The model.
        ids: Token ids of every prompt.
        edits: Edits of all their tokens, the same for every row.
        dtype: Arithmetic to compute them in.

    Returns:
        The prefixes, and the row in which each prompt stands.
    """
    prompts = [list(row[:-1]) for row in ids]
    shared = shared_beginnings(prompts)
    beginning_of = np.empty(len(ids), dtype=np.int64)
    for beginning, (_, members) in enumerate(shared):
        beginning_of[members] = beginning
    beginnings = [prompts[members[0]][:length] for length, members in shared]
    # Under autocast a row of padding has no finite score left to attend to, and what comes out is no number.
    groups = list(length_batches([len(row) + 1 for row in beginnings], spread=float("inf") if dtype == "model" else 1))
    batches = [Batch.of([beginnings[i] for i in group], pad=model.encoder.pad, device=model.device) for group in groups]
    with torch.autocast(model.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        prefix, row_of = model.prefill(*batches, edits=edits), _places(groups)[beginning_of]
        if len(shared) == len(ids):
            return prefix, row_of
        rests = [prompt[shared[i][0] :] for prompt, i in zip(prompts, beginning_of, strict=True)]
        groups = list(length_batches([len(rest) for rest in rests], spread=1))
        parts = []
        for group in groups:
            part = prefix.rows(row_of[group])
            if rests[group[0]]:
                part = model.extend(part, torch.tensor([rests[i] for i in group], device=model.device), edits)
            parts.append(part)
        return Prefix.concat(parts), _places(groups)


def ordered_prefixes(model: LensModel, ids: Sequence[Sequence[int]], edits: Sequence[Edit] = ()) -> Prefix:
    """Compute the prefixes of many prompts as `prefill_prompts` does, one row a prompt in the order of the prompts."""
    prefix, row_of = prefill_prompts(model, ids, edits)
    return prefix.rows(row_of)


class PrefixPool:
    """Cache of prefixes without edits: each is computed once, whoever asks the same prompt.

    Prompts of similar length lie in one block, padded to the longest of them. A pool lives as long as the outermost
    call on the model (`LensModel.kept`): between calls the model may change.

    Args:
        model: The model.
        dtype: Arithmetic to compute them in.
    """

    def __init__(self, model: LensModel, dtype: PrefixDType) -> None:
        self._model, self._dtype = model, dtype
        self._blocks: list[Prefix] = []
        self._place_of: dict[tuple[int, ...], tuple[int, int]] = {}
        """Block and row of each prompt."""

    @classmethod
    def of(cls, model: LensModel, dtype: PrefixDType = "model") -> "PrefixPool":
        """Return the pool of the call that the model is in."""
        pool: PrefixPool = model.kept.setdefault(f"prefixes in {dtype}", cls(model, dtype))
        return pool

    def hold(self, ids: Sequence[Sequence[int]], max_tokens: float) -> int:
        """Compute the prefixes of some prompts, but those that are there, and keep them.

        Args:
            ids: Token ids of every prompt.
            max_tokens: Tokens to keep at most, padding included; what is asked at once may exceed them. Where the pool
                would hold more, it gives up all that it holds first.

        Returns:
            How many were computed.
        """
        wanted = dict.fromkeys(map(tuple, ids))
        missing = [row for row in wanted if row not in self._place_of]
        n_held = sum(len(block.lengths) * block.width for block in self._blocks)
        if missing and n_held + SPREAD * sum(map(len, missing)) > max_tokens:
            self._blocks, self._place_of, missing = [], {}, list(wanted)
        for group in length_batches([len(row) for row in missing], max_tokens=float("inf"), spread=SPREAD):
            prefix, rows = prefill_prompts(self._model, [missing[i] for i in group], dtype=self._dtype)
            block = len(self._blocks)
            self._place_of |= {missing[i]: (block, row) for i, row in zip(group, rows.tolist(), strict=True)}
            self._blocks.append(prefix)
        return len(missing)

    def rows(self, ids: Sequence[Sequence[int]]) -> tuple[Prefix, Indices]:
        """Return a copy of the prefixes of prompts that it holds, and the row in which each of them stands."""
        members: dict[int, list[int]] = {}
        rows = np.empty(len(ids), dtype=np.int64)
        for i, prompt in enumerate(ids):
            block, rows[i] = self._place_of[tuple(prompt)]
            members.setdefault(block, []).append(i)
        parts = [self._blocks[block].rows(rows[of_block]) for block, of_block in members.items()]
        return Prefix.concat(parts), _places(list(members.values()))


def in_halves(rows: Indices, work: Callable[[Indices], object]) -> int:
    """Out-of-memory guard: work on all rows, or where the accelerator's memory runs out, on one half after the other.

    Args:
        rows: The rows.
        work: Takes all of them, or some; it must leave nothing behind where memory runs out.

    Returns:
        How many rows were worked on at once, at most.

    Raises:
        OutOfMemoryError: A single row is too much.
    """
    try:
        work(rows)
        return len(rows)
    except torch.OutOfMemoryError:
        if len(rows) == 1:
            raise
    # After the exception is gone, and with it the tensors that its frames hold.
    return max(in_halves(half, work) for half in np.array_split(rows, 2))


def _places(groups: Sequence[Sequence[int]]) -> Indices:
    """Return the place of each index in the groups, counted through."""
    return np.argsort(np.concatenate(groups))


def shared_beginnings(prompts: Sequence[list[int]]) -> list[tuple[int, list[int]]]:
    """Group prompts that have at least half of their tokens, the first ones, in common.

    Args:
        prompts: Token ids of every prompt.

    Returns:
        Of each group how many tokens its prompts begin with alike, and their indices. A prompt that shares its
        beginning with no other is a group by itself, with all of its tokens; so is every prompt where sharing would
        save less than half of all tokens, and rounding would change for little.
    """
    groups: list[tuple[int, list[int]]] = []
    longest = 0
    for i in sorted(range(len(prompts)), key=lambda i: tuple(prompts[i])):
        if groups:
            length, members = groups[-1]
            pairs = zip(prompts[members[0]][:length], prompts[i], strict=False)
            common = next((n for n, (one, other) in enumerate(pairs) if one != other), min(length, len(prompts[i])))
            if 2 * common >= max(longest, len(prompts[i])):
                groups[-1], longest = (common, [*members, i]), max(longest, len(prompts[i]))
                continue
        groups.append((len(prompts[i]), [i]))
        longest = len(prompts[i])
    n_saved = sum(length * (len(members) - 1) for length, members in groups)
    alone = [(len(prompt), [i]) for i, prompt in enumerate(prompts)]
    return groups if 2 * n_saved >= sum(map(len, prompts)) else alone


def _rounds(places: Indices, prompts: Indices) -> Indices:
    """Sort places into rounds, (round prompt), that ask the same prompts in the same order.

    One round, in the given order, where some prompt is asked more often than another.
    """
    _, place_of, counts = np.unique(prompts, return_inverse=True, return_counts=True)
    if set(counts.tolist()) <= {1} or (counts != counts[0]).any():
        return places[None]
    return places[np.argsort(place_of, kind="stable")].reshape(len(counts), -1).T


class PrefixSchedule:
    """Serves the prefixes of a known sequence of accesses, computing each window of accesses at once.

    A window is the longest run of upcoming accesses whose distinct prompts fit into the byte budget. When everything
    fits there is one window and every prompt is computed once; else memory stays bounded and prompts that later
    windows need again are computed again. What was computed before in the same call is taken from its `PrefixPool`.

    Args:
        model: The model.
        ids: Token ids of every prompt.
        accesses: Which prompts each access needs, as indices into `ids`.
        budget_bytes: Bytes of prefixes to hold at a time.
        dtype: Arithmetic to compute them in.
        multiple: Columns of what is taken are padded to a multiple of this.
    """

    def __init__(
        self,
        model: LensModel,
        ids: Sequence[Sequence[int]],
        accesses: Sequence[Indices],
        *,
        budget_bytes: int,
        dtype: PrefixDType = "model",
        multiple: int = 1,
    ) -> None:
        self._model, self._ids, self._accesses, self._dtype = model, ids, accesses, dtype
        self._multiple = multiple
        self._max_tokens, self._most_rows = budget_bytes / bytes_per_token(model, ids), rows_per_decode(model)
        self._pool = PrefixPool.of(model, dtype)
        self._window = range(0)
        self.n_prefilled = 0
        """Prompts whose prefix it has computed so far, repeats counted."""

    def take(self, access: int, chosen: Indices | None = None) -> Iterator[tuple[Indices, Prefix]]:
        """Yield the prefixes of an access in chunks small enough to decode.

        Where every prompt of an access is asked equally often, its rows share one prefix; see `Prefix.repeated`.

        Args:
            access: Which access; accesses are taken in order.
            chosen: Places within the access to keep; all when None.

        Yields:
            Places within the access, and the prefix whose rows stand in the same order.
        """
        places = np.arange(len(self._accesses[access])) if chosen is None else chosen
        rounds = _rounds(places, self._accesses[access][places])
        asked = self._accesses[access].tolist()
        # A chunk is a copy of its prefixes: it may take half as much again as the budget, but not more.
        n_rows = max(1, min(self._most_rows, int(self._max_tokens / 2 / max(len(self._ids[i]) for i in asked))))
        is_held = self._n_tokens(set(asked)) <= self._max_tokens
        if is_held:
            self._load(access)
        rounds = rounds if len(rounds) <= n_rows else places[None]
        n_prompts = n_rows // len(rounds)
        for start in range(0, rounds.shape[1], n_prompts):
            part = rounds[:, start : start + n_prompts]
            ids = [self._ids[asked[place]] for place in part[0]]
            if is_held:
                self.n_prefilled += self._pool.hold(ids, self._max_tokens)  # others may have filled the pool meanwhile
                prefix, rows = self._pool.rows(ids)
            else:  # an access that exceeds the budget by itself is computed chunk by chunk, and nothing is kept
                prefix, rows = prefill_prompts(self._model, ids, dtype=self._dtype)
                self.n_prefilled += len(ids)
            yield part[:, np.argsort(rows)].flatten(), prefix.widened(self._multiple).repeated(len(part))

    def each(self, access: int, chosen: Indices | None, work: Callable[[Indices, Prefix], object]) -> None:
        """Do some work on every chunk of an access (see `take`), and on parts of chunks for which memory runs out."""
        for places, prefix in self.take(access, chosen):

            def on_part(part: Indices, places: Indices = places, prefix: Prefix = prefix) -> None:
                work(places[part], prefix if len(part) == len(places) else prefix.rows(part))

            n_rows = in_halves(np.arange(len(places)), on_part)
            if n_rows < len(places):
                self._most_rows = n_rows  # later chunks are made no larger

    def _n_tokens(self, prompts: Iterable[int]) -> float:
        """Return how many tokens some prompts take in the pool at most, padding included."""
        return SPREAD * sum(len(self._ids[i]) for i in prompts)

    def _load(self, first: int) -> None:
        """Compute the prefixes of the window that an access begins, unless it lies in the one that is there."""
        if first in self._window:
            return
        prompts: dict[int, None] = {}
        n_tokens, last = 0.0, first
        for last in range(first, len(self._accesses)):
            new = [i for i in dict.fromkeys(self._accesses[last].tolist()) if i not in prompts]
            n_tokens += self._n_tokens(new)
            if last > first and n_tokens > self._max_tokens:
                last -= 1
                break
            prompts |= dict.fromkeys(new)
        self.n_prefilled += self._pool.hold([self._ids[i] for i in prompts], self._max_tokens)
        self._window = range(first, last + 1)
