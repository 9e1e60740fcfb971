"""Measuring of text profiles: attention of all heads on broad text, layer after layer, in two passes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from site_lens.activations.prefill import prompt_batches
from site_lens.heads.head_set import Head
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.identity import library_versions
from site_lens.models.locking import on_model
from site_lens.models.tokenization import Encoder
from site_lens.records.bounds import check_sizes
from site_lens.records.errors import InputError
from site_lens.records.hashing import digest_bytes, digest_json
from site_lens.records.progress import progress_bar
from site_lens.studies.head_profiles.measure import TOKENS_AT_ONCE, copying_fields, top_tokens, wanted_heads, written_by
from site_lens.studies.text_profiles.result import N_BINS, N_DECILES, N_LINKS, TextProfiles
from site_lens.tasks.rows import read_texts

N_PEAK_TOKENS = 5
"""Tokens named of each piece shown."""

DECIMALS = 4
"""Attention is compared and kept to so many decimals, so that rounding in other batches changes no order."""

SHORTEST = 3
"""Tokens of a piece that has a query with something to look at beside the first token and itself."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text: its tokens, BOS included, its text, and how far into it each token reaches."""

    ids: NDArray[np.int64]
    text: str
    ends: NDArray[np.int64]

    @property
    def digest(self) -> str:
        """Digest of its tokens."""
        return digest_bytes(self.ids.tobytes())

    @property
    def tokens(self) -> tuple[str, ...]:
        """Text of each token; together they are the text."""
        starts = [0, *self.ends[:-1].tolist()]
        return tuple(self.text[start:end] for start, end in zip(starts, self.ends.tolist(), strict=True))


def cut_text(encoder: Encoder, text: str, max_tokens: int) -> Iterator[Piece]:
    """Cut a text into pieces of at most so many tokens, BOS included; none begins inside a character.

    Raises:
        InputError: The tokenizer does not say which characters its tokens stand for.
    """
    ids, spans = encoder.spans(text)
    reach = np.maximum.accumulate([0, *(end for _, end in spans)])
    reach[-1] = len(text)  # spaces at the end of a text, which some tokenizers leave out, belong to its last token
    room, start = max_tokens - len(encoder.begin), 0
    while start < len(ids):
        end = min(start + room, len(ids))
        end = next((i for i in range(end, start, -1) if i == len(ids) or reach[i + 1] > reach[i]), end)
        begin = encoder.missing_begin(ids[start:end])
        opening = "".join(encoder.texts(begin))
        ends = reach[start + 1 : end + 1] - reach[start] + len(opening)
        piece = opening + text[reach[start] : reach[end]]
        yield Piece(np.array([*begin, *ids[start:end]]), piece, np.array([*[len(opening)] * len(begin), *ends]))
        start = end


@on_model
@torch.no_grad()
def text_profiles(
    model: LensModel,
    texts: Iterable[str] | Path,
    heads: Iterable[Head | str] | None = None,
    *,
    max_tokens: int = 128,
    n_top: int = 8,
    n_others: int = 2,
    progress: bool | None = None,
) -> TextProfiles:
    r"""Profiles of heads on broad text: attention distances, first, previous and repeated tokens, copying, top texts.

    `head_profiles` asks what heads do on a task; this asks what the same heads do elsewhere. `TextProfiles` defines
    piece, query and activation. The first pass over the text measures attention; pieces are then sorted into deciles by
    activation, head by head, and a second pass reads those that are shown. What a head writes at the peak of a piece is
    passed through the final norm and the unembedding alone (`models.weights.direct_logits`).

    Memory beside the model: the tokens, a number for each head and piece, the record, and the attention of one layer on
    a thousand tokens, or one piece. Results do not depend on the order of the texts, nor, up to rounding, on how they
    are batched.

    Args:
        model: The model.
        texts: Texts, or a file of texts: between empty lines, or the column `text` of a `.csv`, `.tsv`, `.json`,
            `.jsonl` or `.parquet`. They should be of many kinds; a head does nothing on text that never calls for it.
        heads: Which heads; all when None.
        max_tokens: Tokens of a piece, BOS included, and at most what the model's context holds. Longer texts are cut
            into pieces, each read by itself; pieces of less than three tokens are left out, and counted in the notes.
        n_top: Pieces of the highest decile that are kept of each head, highest first.
        n_others: Pieces of each other decile that are kept, drawn by a digest of their tokens.
        progress: Show a progress bar; on a terminal and in notebooks only when None.

    Raises:
        InputError: There is no piece of three tokens, a head is not the model's, or the tokenizer does not say which
            characters its tokens stand for.
        TaskFileError: The file cannot be read.
        ModelError: The model does not show its attention, or has no final norm and unembedding that can be called.

    Reference: Luger, Kamath et al. 2026, "Visualizing Attention Heads" (HeadVis), for deciles of the largest attention;
    Olsson et al. 2022, "In-context Learning and Induction Heads", for previous-token and induction attention.

    Example:
        >>> import site_lens as sl
        >>> model = sl.load_model("demo")
        >>> profiles = sl.text_profiles(model, ["Q: hot\nA: cold\n\nQ: hot\nA: cold", "one two one two"], ["L1H6"])
        >>> profiles.frame()["head"].item()
        'L1H6'
    """
    check_sizes(max_tokens=max_tokens, n_top=n_top, n_others=n_others)
    chosen = sorted(wanted_heads(model, model.grid if heads is None else heads))
    if not chosen:
        raise InputError("text_profiles needs at least one head, got none")
    max_tokens = min(max_tokens, model.encoder.n_ctx)
    pieces, notes = _pieces(model.encoder, texts, max_tokens)
    totals = _Totals(chosen, len(pieces), max(len(piece.ids) for piece in pieces))
    with progress_bar(2 * len(pieces), "text profiles", unit="piece", progress=progress) as bar:
        for group, batch in _batches(model, pieces):
            totals.add(model, group, batch)
            bar.update(len(group))
        deciles, shown = shown_pieces(totals.activations, n_top=n_top, n_others=n_others)
        kept, places = np.unique(shown, return_inverse=True)
        reading = _Reading(chosen, [pieces[i] for i in kept], places.reshape(shown.shape))
        for group, batch in _batches(model, reading.pieces):
            reading.add(model, group, batch)
            bar.update(len(group))
        bar.update(len(pieces) - len(kept))
    return TextProfiles(
        heads=tuple(map(str, chosen)),
        pieces=tuple(piece.tokens for piece in reading.pieces),
        deciles=deciles,
        **reading.fields(model, deciles.count(N_DECILES)),
        **totals.fields(),
        **copying_fields(model, chosen),
        n_pieces=len(pieces),
        max_tokens=max_tokens,
        text_digest=digest_json([piece.digest for piece in pieces]),
        model=model.identity,
        versions=library_versions(),
        notes=notes,
    )


def _pieces(encoder: Encoder, texts: Iterable[str] | Path, max_tokens: int) -> tuple[list[Piece], tuple[str, ...]]:
    """Return the pieces by their digests, an order that has nothing to do with their text or length, and notes."""
    texts = read_texts(texts) if isinstance(texts, Path) else texts
    found = [piece for text in texts for piece in cut_text(encoder, text, max_tokens)]
    pieces = sorted((piece for piece in found if len(piece.ids) >= SHORTEST), key=lambda piece: piece.digest)
    if not pieces:
        raise InputError(f"no text has {SHORTEST} tokens, so there is no attention to measure; give longer texts")
    n_short = len(found) - len(pieces)
    return pieces, (f"{n_short} pieces of less than {SHORTEST} tokens were left out",) if n_short else ()


def _batches(model: LensModel, pieces: Sequence[Piece]) -> Iterator[tuple[list[int], Batch]]:
    return prompt_batches(model, [piece.ids.tolist() for piece in pieces], max_tokens=TOKENS_AT_ONCE)


def _by_layer(heads: Sequence[Head]) -> dict[int, list[int]]:
    """Return the indices of some heads by their layer."""
    layers = [head.layer for head in heads]
    return {layer: [i for i, of_head in enumerate(layers) if of_head == layer] for layer in dict.fromkeys(layers)}


class _Totals:
    """Sums over all queries, and the activation of each head on each piece."""

    def __init__(self, heads: Sequence[Head], n_pieces: int, width: int) -> None:
        self.heads, self.by_layer = heads, _by_layer(heads)
        self.mass = torch.zeros(len(heads), 2, width, dtype=torch.float64)
        self.sums = torch.zeros(3, len(heads), dtype=torch.float64)  # entropy, duplicate, induction
        self.counts = torch.zeros(3, dtype=torch.long)  # queries, and those that have the two
        self.activations = np.zeros((n_pieces, len(heads)), dtype=np.float32)

    def add(self, model: LensModel, group: Sequence[int], batch: Batch) -> None:
        tokens, width = batch.tokens, batch.tokens.shape[1]
        columns = torch.arange(width, device=tokens.device)
        first = width - batch.lengths  # column of the first token of each row
        inside = columns > first[:, None]  # (row pos): queries, and the keys that are not the first token
        earlier = columns[None, :] < columns[:, None]  # (query key)
        others = earlier & inside[:, :, None] & inside[:, None, :]  # (row query key)
        duplicate = others & (tokens[:, :, None] == tokens[:, None, :])
        follows = torch.zeros_like(duplicate)
        follows[..., 1:] = duplicate[..., :-1]
        follows &= others
        distance = (columns[:, None] - columns[None, :]).clamp(min=0).flatten().cpu()
        to_first = (columns - first[:, None]).clamp(min=0).flatten().cpu()
        self.counts += torch.stack([inside.sum(), duplicate.any(-1).sum(), follows.any(-1).sum()]).cpu()

        def visit(layer: int, pattern: Tensor, z: Tensor) -> None:
            own = self.by_layer[layer]
            a = pattern[:, [self.heads[i].head for i in own]] * inside[:, None, :, None]
            on_first = a.gather(3, first[:, None, None, None].expand(*a.shape[:3], 1))[..., 0]
            on_others = (a * inside[:, None, None, :]).sum(0).flatten(1)
            mass = torch.zeros(len(own), 2, self.mass.shape[2], dtype=torch.float64)
            mass[:, 0].index_add_(1, to_first, on_first.transpose(0, 1).flatten(1).cpu().double())
            mass[:, 1].index_add_(1, distance, on_others.cpu().double())
            self.mass[own] += mass
            parts = [torch.special.entr(a), a * duplicate[:, None], a * follows[:, None]]
            self.sums[:, own] += torch.stack([part.sum((2, 3)).cpu().double().sum(0) for part in parts])
            self.activations[np.ix_(group, own)] = (a * others[:, None]).amax((2, 3)).cpu().numpy()

        model.read_attention(batch, self.by_layer.keys(), visit)
        self.activations[group] = self.activations[group].round(DECIMALS)

    def fields(self) -> dict[str, object]:
        n_queries, n_duplicate, n_induction = self.counts.tolist()
        entropy, duplicate, induction = self.sums.numpy()
        bins = np.minimum((self.activations * N_BINS).astype(int), N_BINS - 1)
        return {
            "attention": (self.mass / n_queries).numpy(),
            "entropy": entropy / n_queries,
            "to_duplicate": duplicate / n_duplicate if n_duplicate else np.full(len(duplicate), np.nan),
            "to_induction": induction / n_induction if n_induction else np.full(len(induction), np.nan),
            "activations": np.stack([np.bincount(column, minlength=N_BINS) for column in bins.T]),
            "n_queries": n_queries,
            "n_duplicate": n_duplicate,
            "n_induction": n_induction,
        }


def shown_pieces(
    activations: NDArray[np.float32], *, n_top: int, n_others: int
) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """Choose pieces by decile of activation: the highest of decile 10, and of the others those that come first.

    Args:
        activations: Activation of each head on each piece, (piece head); of equal ones the first counts as higher.
        n_top: Pieces of decile 10.
        n_others: Pieces of each other decile.

    Returns:
        Deciles, falling, and the pieces of each head in the order of falling activation, (head shown).
    """
    n = len(activations)
    decile_of = N_DECILES - np.arange(n) * N_DECILES // n
    deciles, shown = range(N_DECILES, 0, -1), []
    for values in activations.T:
        order = np.argsort(-values, kind="stable")
        top, *others = (order[decile_of == decile] for decile in deciles)
        chosen = [top[:n_top], *(among[np.sort(np.argsort(among)[:n_others])] for among in others)]
        shown.append(np.concatenate(chosen))
    return tuple(np.repeat(deciles, [len(part) for part in chosen]).tolist()), np.stack(shown)


class _Reading:
    """Largest attention weights of the pieces shown, and z at their peaks."""

    def __init__(self, heads: Sequence[Head], pieces: Sequence[Piece], shown: NDArray[np.int64]) -> None:
        self.heads, self.pieces, self.shown, self.by_layer = heads, pieces, shown, _by_layer(heads)
        width = max(len(piece.ids) for piece in pieces)
        self.keys = np.zeros((*shown.shape, width, N_LINKS), dtype=np.float32)
        self.weights = np.zeros_like(self.keys)
        self.attended = np.zeros(shown.shape, dtype=np.int64)
        self.z: dict[int, Tensor] = {}

    def add(self, model: LensModel, group: Sequence[int], batch: Batch) -> None:
        row_of = {piece: row for row, piece in enumerate(group)}
        first = (batch.tokens.shape[1] - batch.lengths).tolist()

        def visit(layer: int, pattern: Tensor, z: Tensor) -> None:
            for i in self.by_layer[layer]:
                head = self.heads[i].head
                at_peaks = self.z.setdefault(i, torch.zeros(self.shown.shape[1], z.shape[-1]))
                for s in np.flatnonzero(np.isin(self.shown[i], group)):
                    piece = int(self.shown[i, s])
                    row, start = row_of[piece], first[row_of[piece]]
                    query, key = self._keep(i, int(s), pattern[row, head, start:, start:])
                    self.attended[i, s] = self.pieces[piece].ids[key]
                    at_peaks[s] = z[row, start + query, head].cpu()

        model.read_attention(batch, self.by_layer.keys(), visit)

    def _keep(self, i: int, s: int, pattern: Float[Tensor, "query key"]) -> tuple[int, int]:
        """Keep the largest weights of each query; return query and key of the peak."""
        n, rounded = len(pattern), pattern.cpu().double().round(decimals=DECIMALS)
        weights, keys = (part[:, :N_LINKS] for part in rounded.sort(dim=1, descending=True, stable=True))
        self.keys[i, s, :n, : keys.shape[1]] = np.where(weights > 0, keys, 0)
        self.weights[i, s, :n, : keys.shape[1]] = weights
        active = rounded.tril(-1)
        active[:, 0] = active[0] = -1
        active[1, 1:] = -1
        query, key = divmod(int(active.argmax()), n)
        return query, key

    def fields(self, model: LensModel, n_highest: int) -> dict[str, object]:
        peaks, written, attended = [], [], []
        for i, head in enumerate(self.heads):
            direct = written_by(model, head, self.z[i])
            spread = direct.std(1).clamp(min=1e-12)
            of_key = direct.gather(1, torch.tensor(self.attended[i], device=direct.device)[:, None])[:, 0]
            attended.append((of_key / spread).cpu().numpy())
            peaks.append(top_tokens(model, direct, N_PEAK_TOKENS))
            written.append(top_tokens(model, direct[:n_highest].mean(0, keepdim=True)))
        return {
            "shown": self.shown,
            "keys": self.keys,
            "weights": self.weights,
            "peak_written": np.stack([logits for logits, _ in peaks]),
            "peak_tokens": tuple(tokens for _, tokens in peaks),
            "attended_logit": np.stack(attended),
            "written": np.concatenate([logits for logits, _ in written]),
            "written_tokens": tuple(tokens[0] for _, tokens in written),
        }
