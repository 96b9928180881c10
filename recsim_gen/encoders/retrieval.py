"""Retrieval of the history items that resemble the reference (paper Eq. 1–5).

Captions are encoded elsewhere (Eq. 1–2); here: cosine with the reference (Eq. 3), the order of the history,
and the weighted visual preference (Eq. 4–5). Ling et al., RAGAR, Sec. 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import Episode
from recsim_gen.core.vectors import unit

SIMILARITIES_HELD = 1 << 24


@dataclass(frozen=True)
class Retrieved:
    """Histories sorted by descending similarity with a reference.

    ``items`` (B, H) catalogue rows and ``similarity`` (B, H) cosines in [−1, 1]; histories shorter than H are
    padded with row −1 and similarity −inf. ``length`` (B,).
    """

    items: np.ndarray
    similarity: np.ndarray
    length: np.ndarray

    def between(self, start: int, stop: int) -> list[np.ndarray]:
        """Return the rows at places (start, stop] of each history: (0, k] is Ret, (k, 2k] is Exp-Ret."""
        return [row[start : min(stop, n)] for row, n in zip(self.items, self.length, strict=True)]


def retrieve(
    episodes: Sequence[Episode], text: np.ndarray, references: np.ndarray | None = None
) -> Retrieved:
    """Sort each history by cosine of ``text`` (n, d) with the reference (Eq. 3); ties: the later item first.

    ``references`` (B,) rows replace the episodes' own references (for the Ret-wrong control).
    """
    if references is None:
        references = np.array([e.reference for e in episodes])
    rows, length = padded(episodes)
    x = unit(text)
    similarity = np.full(rows.shape, -np.inf, dtype=np.float32)
    block = max(1, SIMILARITIES_HELD // (rows.shape[1] * text.shape[1]))
    for s in range(0, len(rows), block):
        part = slice(s, s + block)
        similarity[part] = np.einsum("bhd,bd->bh", x[rows[part]], x[references[part]])
    return ordered(rows, similarity, length)


def padded(episodes: Sequence[Episode]) -> tuple[np.ndarray, np.ndarray]:
    """Return histories as rows (B, H), padded with −1, and their lengths (B,)."""
    length = np.array([len(e.history) for e in episodes])
    rows = np.full((len(episodes), length.max()), -1)
    rows[np.arange(rows.shape[1]) < length[:, None]] = np.concatenate([e.history for e in episodes])
    return rows, length


def ordered(rows: np.ndarray, similarity: np.ndarray, length: np.ndarray) -> Retrieved:
    """Sort histories ``rows`` (B, H) by descending ``similarity`` (B, H); ties: the later item first."""
    similarity = np.where(rows < 0, -np.inf, similarity)
    recent_first = np.arange(rows.shape[1])[::-1]
    order = recent_first[np.argsort(-similarity[:, recent_first], axis=1, kind="stable")]
    return Retrieved(np.take_along_axis(rows, order, 1), np.take_along_axis(similarity, order, 1), length)


def weights(
    similarity: np.ndarray, k: int, *, rule: Literal["clamp", "softmax"] = "clamp", temperature: float = 0.1
) -> np.ndarray:
    """Return s′ (B, k) ≥ 0 of the k most similar items, with rows that sum to 1 (Eq. 5).

    "Normalized similarity scores". ``clamp``: max(s, 0) / Σ max(s, 0), equal weights if nothing is positive.
    ``softmax``: softmax(s / temperature). Padding (−inf) has weight 0.
    """
    if k < 1:
        raise SettingError(f"k must be at least 1 to weigh retrieved items, got {k}")
    s = np.asarray(similarity, dtype=np.float64)[:, :k]
    present = np.isfinite(s)
    if not present.any(axis=1).all():
        raise DataError(
            "every history must have an item, got an empty one", row=int((~present.any(1)).argmax())
        )
    if rule == "softmax":
        raw = np.exp((s - s.max(1, keepdims=True)) / temperature)
    else:
        raw = np.where(present, np.maximum(s, 0), 0)
        raw = np.where(raw.sum(1, keepdims=True) > 0, raw, present)
    return raw / raw.sum(1, keepdims=True)


def preference(visual: np.ndarray, items: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return P_ret (B, d) = Σ_i s′_i · E_vis,i (Eq. 5) for rows ``items`` (B, k) of ``visual`` (n, d)."""
    return np.einsum("bk,bkd->bd", s, visual[np.maximum(items[:, : s.shape[1]], 0)])


def other_references(episodes: Sequence[Episode], generator: np.random.Generator) -> np.ndarray:
    """Return (B,) references of other episodes, none in the episode's own history or equal to its reference.

    A random permutation; the few invalid entries are drawn again. Raises DataError if there is no other
    reference.
    """
    own = np.array([e.reference for e in episodes])
    wrong = generator.permutation(own)
    for place, episode in enumerate(episodes):
        taken = {*episode.history, episode.reference}
        tries = 0
        while int(wrong[place]) in taken:
            tries += 1
            if tries > 1000:
                raise DataError(f"episode {episode.id}: no reference of another episode outside its history")
            wrong[place] = generator.choice(own)
    return wrong
