"""Matches queries with galleries: one row per query, for whole galleries and smaller ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.metrics.identity.average_precision import average_precision, chance_level, checked_unit
from recsim_gen.metrics.identity.cumulative_match import cumulative_match, match_chance

if TYPE_CHECKING:
    import pandas as pd

Axis = Literal["images", "identities"]
"""What a smaller gallery has fewer of."""

RANKS = (1, 5, 10)
"""Values of k for the cumulative match: columns rank1, rank5, rank10."""

METRICS = (
    "map",
    "chance",
    *(name for k in RANKS for name in (f"rank{k}", f"rank{k}_chance")),
    "similarity",
    "similarity_others",
)

WIDTH = 64  # width of random features
CELLS_HELD = 1 << 22  # pairs of query and image in memory at once


@dataclass(frozen=True, eq=False)
class Labelled:
    """k encoded images: ``x`` (k, d) features, normalised here; ``identity``, ``group`` (k,) str."""

    x: np.ndarray
    identity: np.ndarray
    group: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", checked_unit(self.x))

    def __len__(self) -> int:
        return len(self.identity)

    def at(self, rows: np.ndarray) -> Labelled:
        """Return the images at ``rows``."""
        return Labelled(self.x[rows], self.identity[rows], self.group[rows])


def match(queries: Labelled, gallery: Labelled, *, own: np.ndarray | None = None) -> pd.DataFrame:
    """Rank the gallery images of each query's group; return one row per query, in order.

    Parameters
    ----------
    queries, gallery
        Encoded images.
    own
        (B,) gallery row that is the query itself and does not take part, −1 for none.

    Returns
    -------
    DataFrame
        ``map``, the average precision (its mean is the mAP); ``chance``, that of a random order; ``rank1``,
        ``rank5`` and ``rank10``, whether the first 1, 5, 10 include the query's identity (CMC), with
        ``rank1_chance`` …; ``similarity``, mean cosine to the gallery images of the query's identity, and
        ``similarity_others``, to all others; ``identity`` and ``group``.

    Raises
    ------
    DataError
        If a query has no gallery image of its identity, or none of another.
    """
    import pandas as pd

    out = _empty(len(queries), METRICS)
    for pairs in _blocks(queries, gallery, own):
        for name, values in _measure(pairs, pairs.eligible).items():
            out[name][pairs.rows] = values
    return pd.DataFrame({**out, "identity": queries.identity, "group": queries.group})


def ablate(
    queries: Labelled,
    gallery: Labelled,
    by: Axis,
    sizes: Sequence[int],
    *,
    rng: Rng,
    draws: int = 5,
    own: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the columns of `match` for smaller galleries, for each of ``sizes``, with the column ``size``.

    By ``images``: each identity keeps at most ``size`` random images. By ``identities``: each query's gallery
    has its own identity and ``size`` − 1 random others of its group. Values are means over ``draws``. Raises
    SettingError for a size too small to rank.
    """
    import pandas as pd

    least = 1 if by == "images" else 2
    if min(sizes) < least or draws < 1:
        raise SettingError(
            f"sizes by {by} must be {least} or more and draws 1 or more, got {min(sizes)} and {draws}"
        )
    sums = {size: _empty(len(queries), METRICS) for size in sizes}
    for pairs in bar(list(_blocks(queries, gallery, own)), f"galleries by {by}"):
        for size in sizes:
            for draw in range(draws):
                # Galleries are drawn per group and size, so results do not depend on the blocks.
                stream = rng.for_(by, pairs.group, size, draw)
                eligible = pairs.eligible & _smaller(pairs, by, size, stream)
                for name, values in _measure(pairs, eligible).items():
                    sums[size][name][pairs.rows] += values / draws
    about = {"identity": queries.identity, "group": queries.group}
    return pd.concat([pd.DataFrame({**sums[size], **about, "size": size}) for size in sizes])


def random_features(queries: Labelled, gallery: Labelled, rng: Rng) -> tuple[Labelled, Labelled]:
    """Return the same images with random features: their mAP is the chance level."""
    drawn = rng.for_("random features").numpy().standard_normal((len(queries) + len(gallery), WIDTH))
    return replace(queries, x=drawn[: len(queries)]), replace(gallery, x=drawn[len(queries) :])


def nearest(query: np.ndarray, gallery: Labelled, rows: np.ndarray, k: int) -> np.ndarray:
    """Return (≤ k,) of the gallery's ``rows``: those nearest to ``query`` (d,), nearest first."""
    similarity = gallery.x[rows] @ checked_unit(query[None])[0]
    return rows[np.argsort(-similarity, kind="stable")[:k]]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Queries ``rows`` (b,) of one group with its whole gallery of n images.

    ``cosine`` and ``relevant`` (b, n), ``eligible`` (b, n) bool; ``query`` (b,) and ``gallery`` (n,) are
    identity codes.
    """

    group: str
    rows: np.ndarray
    cosine: np.ndarray
    eligible: np.ndarray
    query: np.ndarray
    gallery: np.ndarray

    @property
    def relevant(self) -> np.ndarray:
        return self.query[:, None] == self.gallery


def refuse_one_identity(identity: np.ndarray, group: np.ndarray) -> None:
    """Raise DataError for a group with a single identity: every order of its images would be perfect."""
    for name in np.unique(group).tolist():
        inside = np.unique(identity[group == name])
        if len(inside) < 2:
            raise DataError(
                f"2 or more identities are wanted in each gallery, group {name!r} has {str(inside[0])!r} "
                "alone: every order of its pictures would be perfect",
                remedy="Add pictures of others, or leave the group out (groups)",
            )


def _blocks(queries: Labelled, gallery: Labelled, own: np.ndarray | None) -> Iterator[_Pairs]:
    refuse_one_identity(gallery.identity, gallery.group)
    for group in np.unique(queries.group).tolist():
        columns = np.flatnonzero(gallery.group == group)
        names, codes = np.unique(gallery.identity[columns], return_inverse=True)
        everybody = np.flatnonzero(queries.group == group)
        block = max(1, CELLS_HELD // len(columns))
        for start in range(0, len(everybody), block):
            rows = everybody[start : start + block]
            query = np.searchsorted(names, queries.identity[rows])
            query = np.where(names[np.minimum(query, len(names) - 1)] == queries.identity[rows], query, -1)
            itself = np.full(len(rows), -1) if own is None else own[rows]
            eligible = columns != itself[:, None]
            cosine = queries.x[rows] @ gallery.x[columns].T
            pairs = _Pairs(group, rows, cosine, eligible, query, codes)
            _refuse_lonely(queries, pairs)
            yield pairs


def _refuse_lonely(queries: Labelled, pairs: _Pairs) -> None:
    """Raise DataError for a query without an eligible gallery image of its identity."""
    lonely = ~(pairs.relevant & pairs.eligible).any(1)
    if lonely.any():
        identity = queries.identity[pairs.rows[lonely.argmax()]]
        raise DataError(
            f"the gallery has no picture of {str(identity)!r} to be found",
            remedy="Add pictures of this identity, or leave its queries out",
        )


def _measure(pairs: _Pairs, eligible: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics of these pairs."""
    relevant = pairs.relevant & eligible
    others = eligible & ~relevant
    same, size = relevant.sum(1), eligible.sum(1)
    distance = 1 - pairs.cosine
    curve = cumulative_match(distance, relevant, RANKS, eligible)
    by_chance = match_chance(same, np.broadcast_to(size, same.shape), RANKS)
    return {
        "map": average_precision(distance, relevant, eligible),
        "chance": chance_level(same, size),
        **{f"rank{k}": curve[:, place] for place, k in enumerate(RANKS)},
        **{f"rank{k}_chance": by_chance[:, place] for place, k in enumerate(RANKS)},
        "similarity": (pairs.cosine * relevant).sum(1) / np.maximum(same, 1),
        "similarity_others": (pairs.cosine * others).sum(1) / np.maximum(size - same, 1),
    }


def _smaller(pairs: _Pairs, by: Axis, size: int, rng: Rng) -> np.ndarray:
    """Return (b, n) or (n,) bool: the images in one random gallery of this size."""
    generator = rng.numpy()
    count = int(pairs.gallery.max()) + 1
    if by == "images":
        order = np.lexsort((generator.random(len(pairs.gallery)), pairs.gallery))
        sizes = np.bincount(pairs.gallery)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return place < size
    key = generator.random((count, count))
    np.fill_diagonal(key, -1)  # the query's own identity is always included
    chosen = key.argsort(axis=1).argsort(axis=1) < size
    return chosen[pairs.query][:, pairs.gallery]


def _empty(n: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: np.zeros(n) for name in names}
