"""Text profiles: where heads look on broad text, what they write there, and the texts that move them most."""

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from site_lens.heads.head_set import Head
from site_lens.records.base import Axes, Count, Float32, Lengths
from site_lens.records.lazy_pandas import pd
from site_lens.studies.base import ModelStudy, index_of
from site_lens.studies.head_profiles.result import raised_tokens

N_DECILES = 10
N_LINKS = 4
"""Largest attention weights of each query that are kept: on the first token, on itself, and two others at least."""
N_BINS = 20
"""Bins of the distribution of activations, in [0, 1]."""
FIRST, OTHER = 0, 1
"""Places of the axis `target`: the first token of a piece, and all others."""
QUANTILES = (0.1, 0.5, 0.9)

Tokens = tuple[tuple[str, ...], ...]
Float64 = NDArray[np.float64]


def distance_edges(width: int) -> list[int]:
    """Return where bins of distances begin that double from 2 on, 0, 1, 2, 4, ..., and the end of the last one."""
    return [0, 1, *(2**power for power in range(1, max(width - 1, 1).bit_length() + 1))]


def distance_moments(share: Float64) -> tuple[Float64, Float64]:
    """Return mean and variance of distances, (head) each, from the share of attention at each, (head distance)."""
    places = np.arange(share.shape[1])
    mean = share @ places
    return mean, (share * (places - mean[:, None]) ** 2).sum(1)


class TextProfiles(ModelStudy):
    """Some heads, each described on pieces of text, with the pieces on which it does most.

    A *piece* is a text, or a part of one that is longer than `max_tokens`; it begins with BOS where the model has one.
    A *query* is a token of a piece but the first. The *activation* of a query is the largest attention that it pays to
    a token that is neither the first of the piece nor itself; that of a piece is its largest, rounded to four decimals.
    So a head that rests on the first token has an activation of 0 there, however much it writes.
    """

    kind: ClassVar[str] = "text_profiles"
    lengths: ClassVar[Lengths] = {"target": 2, "deciles": "shown", "bin": N_BINS}

    heads: tuple[str, ...]
    pieces: Tokens
    """(piece token): text of each token of the pieces that are shown, BOS included; put together they are the piece. Of
    tokens that stand for the same characters, such as the bytes of an emoji, all but the first are empty."""
    deciles: tuple[Count, ...]
    """(shown): decile of activation of each piece that is shown of a head, 10 highest, and falling; all heads have the
    same ones."""
    shown: Annotated[Float32, Axes(("head", "shown"), 0)]
    """(head shown): which piece it is, as an index into `pieces`; activations fall."""
    keys: Annotated[Float32, Axes(("head", "shown", "query", "link"), 0)]
    """(head shown query link): the tokens of the piece with the largest attention weights, as places in the piece; 0
    behind its end."""
    weights: Annotated[Float32, Axes(("head", "shown", "query", "link"), 0, 1)]
    """(head shown query link): these weights, falling, rounded to four decimals; 0 behind the end of the piece."""
    peak_written: Annotated[Float32, Axes(("head", "shown", "token"))]
    """(head shown token): the largest direct logits of what the head writes at the peak, falling, less their mean over
    the vocabulary."""
    peak_tokens: tuple[Tokens, ...]
    """(head shown token): which tokens these are."""
    attended_logit: Annotated[Float32, Axes(("head", "shown"))]
    """(head shown): direct logit of the token attended to at the peak, in standard deviations over the vocabulary: high
    where the head writes what it looks at."""
    written: Annotated[Float32, Axes(("head", "top"))]
    """(head top): the largest direct logits, falling, mean over the peaks of the pieces of decile 10."""
    written_tokens: Tokens
    """Which tokens these are."""
    attention: Annotated[Float32, Axes(("head", "target", "distance"), 0, 1)]
    """(head target distance): attention by distance in tokens, mean over all queries; on the first token of the piece,
    then on all others. The sum is 1, or less beside a learned sink."""
    entropy: Annotated[Float32, Axes(("head",), 0)]
    """(head): mean entropy of a query's attention, in nats."""
    to_duplicate: Annotated[Float32, Axes(("head",), 0, 1, missing=True)]
    """(head): attention on earlier occurrences of the same token, mean over queries that have one; the first token of a
    piece is none."""
    to_induction: Annotated[Float32, Axes(("head",), 0, 1, missing=True)]
    """(head): attention on the tokens that followed these, mean over queries for which there is one before them."""
    activations: Annotated[Float32, Axes(("head", "bin"), 0)]
    """(head bin): pieces by activation, in 20 equal bins from 0 to 1."""
    copying: Annotated[Float32, Axes(("head",))] | None
    """(head): in [-1, 1], read off the weights; see `models.weights.copying_scores`. None where they cannot be read."""
    copying_missing: str = ""
    """Why there is none."""
    n_pieces: Count
    n_queries: Count
    n_duplicate: Count
    """Queries with an earlier occurrence of their token."""
    n_induction: Count
    """Queries with a token that followed one."""
    max_tokens: Count
    text_digest: str
    """Digest of the tokens of all pieces, in whichever order."""

    def share(self, target: int, distance: int | None = None) -> Float32:
        """(head): mean attention on the first token (0) or all others (1), at one distance or at all."""
        part = self.attention[:, target]
        return part.sum(1) if distance is None else part[:, min(distance, part.shape[1] - 1)]

    def previous(self) -> Float32:
        """(head): mean attention on the token before, which may be the first of the piece."""
        return self.share(FIRST, 1) + self.share(OTHER, 1)

    def distances(self) -> Float64:
        """(head statistic): mean, variance and quantiles 0.1, 0.5, 0.9 of the distance, first token left out.

        Distances are in tokens and weighted by attention: 0 is the query itself. NaN where all attention is on the
        first token.
        """
        mass = self.attention[:, OTHER].astype(np.float64)
        total = mass.sum(1, keepdims=True)
        share = np.divide(mass, total, out=np.full_like(mass, np.nan), where=total > 0)
        mean, variance = distance_moments(share)
        quantiles = [np.where(total[:, 0] > 0, (share.cumsum(1) < q - 1e-6).sum(1), np.nan) for q in QUANTILES]
        return np.stack([mean, variance, *quantiles], axis=1)

    def query_activations(self) -> Float32:
        """(head shown query): activation of each query of the pieces shown; 0 at the first token."""
        return self._counted().max(-1).clip(0)

    def peaks(self) -> NDArray[np.int64]:
        """(head shown place): query and key of the largest activation of each piece shown, as places in it."""
        n_heads, n_shown, _, n_links = self.keys.shape
        query, link = np.divmod(self._counted().reshape(n_heads, n_shown, -1).argmax(-1), n_links)
        query = np.maximum(query, 1)  # where nothing is counted
        key = self.keys[np.arange(n_heads)[:, None], np.arange(n_shown), query, link]
        return np.stack([query, key.astype(np.int64)], axis=-1)

    def _counted(self) -> Float32:
        """(head shown query link): weights on tokens that are neither the first of the piece nor the query; else -1."""
        places = np.arange(self.keys.shape[2])[:, None]
        return np.where((self.keys > 0) & (self.keys < places), self.weights, -1)

    def raised(self, head: str) -> tuple[str, ...]:
        """Return the tokens whose direct logit a head raises most, decile 10.

        Raises:
            UnknownNameError: There is no such head.
        """
        i = index_of("head", head, self.heads)
        return raised_tokens(self.written_tokens[i], self.written[i])

    def frame(self) -> "pd.DataFrame":
        """One row per head: shares of attention, distances, entropy, copying, and tokens promoted."""
        mean, _, *quantiles = self.distances().T
        return pd.DataFrame(
            {
                "head": self.heads,
                "layer": [Head.parse(head).layer for head in self.heads],
                "to_first": self.share(FIRST),
                "to_itself": self.share(OTHER, 0),
                "to_previous": self.previous(),
                "to_duplicate": self.to_duplicate,
                "to_induction": self.to_induction,
                "distance": mean,
                **{f"distance_{q}": values for q, values in zip(QUANTILES, quantiles, strict=True)},
                "entropy": self.entropy,
                "activation": self.query_activations().max((1, 2)),
                "copying": np.nan if self.copying is None else self.copying,
                "attended_logit": self.attended_logit[:, : self.deciles.count(N_DECILES)].mean(1),
                "written": [self.raised(head) for head in self.heads],
            }
        )

    def pieces_frame(self) -> "pd.DataFrame":
        """One row per head and piece shown: head, decile, activation, query, key, tokens written there, text."""
        active, peaks = self.query_activations().max(-1), self.peaks()
        rows = [
            (head, decile, float(active[h, s]), piece[peaks[h, s, 0]], piece[peaks[h, s, 1]], self.peak_tokens[h][s],
             "".join(piece))
            for h, head in enumerate(self.heads)
            for s, decile in enumerate(self.deciles)
            for piece in [self.pieces[int(self.shown[h, s])]]
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["head", "decile", "activation", "query", "key", "written", "text"])
