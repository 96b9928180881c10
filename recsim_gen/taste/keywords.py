"""Tastes for keywords: what is said of items in words, and what somebody's history tells about each word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from recsim_gen.core.types import Catalog
from recsim_gen.taste.histories import Histories
from recsim_gen.taste.model import TasteModel

ALIGNED = 0.9  # share of items with one number of keywords from which places mean something
WIDTH = 64  # coordinates of keywords, at most
NOISE = 4.0  # σ² of `taste.posterior`

Key = tuple[int, str]


class ItemKeywords:
    """Keywords of every item, names of categories left out: they tell what things are, not how they look.

    Where nearly all items have equally many keywords, the k-th of each names the same attribute; a list of
    another length, as language models give now and then, says nothing there.

    Parameters
    ----------
    catalog
        Whose items are meant.
    keywords
        w_i of every item (RAGAR, Eq. 6).

    ``lists`` has those that are left; ``length`` how many an aligned list has, None where places mean
    nothing; ``names`` and ``category`` (n,) are the categories.
    """

    def __init__(self, catalog: Catalog, keywords: Sequence[Sequence[str]]) -> None:
        self.names, self.category = np.unique(catalog.categories, return_inverse=True)
        skipped = {str(name).strip().lower() for name in self.names}
        self.lists = [[word for word in words if word.lower() not in skipped] for words in keywords]
        (length, count), *_ = Counter(len(words) for words in self.lists).most_common(1)
        self.length = length if length > 0 and count >= ALIGNED * len(self.lists) else None

    @cached_property
    def places(self) -> dict[Key, int]:
        """Column of each word; where places mean something, a word in another place is another one."""
        words = {key for words in self.lists for key in self.keys(words)}
        return {key: column for column, key in enumerate(sorted(words))}

    def vectors(self, lists: Sequence[Sequence[str]]) -> np.ndarray:
        """(B, D) 1 for each word of a list, 0 elsewhere; words that no item has do not count."""
        x = np.zeros((len(lists), len(self.places)))
        for row, words in enumerate(lists):
            columns = [self.places[key] for key in self.keys(words) if key in self.places]
            x[row, columns] = 1
        return x

    def keys(self, words: Sequence[str]) -> list[Key]:
        """Place and word of each keyword; nothing for a list whose places are not known."""
        if self.length is None:
            return [(0, word) for word in words]
        return [*enumerate(words)] if len(words) == self.length else []


class KeywordTaste(ItemKeywords):
    """Tastes for keywords in closed form, by category.

    Parameters
    ----------
    catalog, keywords
        As of `ItemKeywords`.
    histories
        Item rows of each training user, nothing of the valid or test split among them.
    model
        What was learned from histories before.
    """

    def __init__(
        self,
        catalog: Catalog,
        keywords: Sequence[Sequence[str]],
        histories: Histories | Sequence[np.ndarray] = (),
        *,
        model: TasteModel | None = None,
    ) -> None:
        super().__init__(catalog, keywords)
        self.model = model or self._fitted(histories)

    def _fitted(self, histories: Histories | Sequence[np.ndarray]) -> TasteModel:
        """Lists that say nothing stand at the mean of their category."""
        x = self.vectors(self.lists)
        silent = np.array([not self.keys(words) for words in self.lists])
        x[silent] = _means(x[~silent], self.category[~silent], len(self.names))[self.category[silent]]
        return TasteModel.fit(x, self.category, histories, width=WIDTH, noise=NOISE, turned=False)

    def contributions(
        self, histories: Histories | Sequence[np.ndarray], items: np.ndarray
    ) -> list[dict[str, float]]:
        """What each keyword of ``items`` (B,) adds to its worth for people with these histories.

        With w = W·m, the posterior mean of the taste in the item's category by words (`TasteModel`), a word j
        adds w_j less what the category has there on average: Σ w_j'·share_j' over the words j' of its place,
        and w_j·share_j where places mean nothing. Where places do, these sum to the item's worth mᵀz.
        """
        category = self.category[items]
        worth = self.model.tastes(histories, category[:, None]).mean[:, 0] @ self.model.whitening.T
        share, place = self.model.centre, np.array([key[0] for key in self.places], dtype=np.int64)
        found = []
        for item, w, usual in zip(items.tolist(), worth, share[category] * worth, strict=True):
            words = self.lists[item]
            columns = [self.places[key] for key in self.keys(words)]
            average = usual if self.length is None else np.bincount(place, usual)[place]
            found.append({word: float(w[k] - average[k]) for word, k in zip(words, columns, strict=False)})
        return found


def _means(x: np.ndarray, category: np.ndarray, count: int) -> np.ndarray:
    """(C, D) mean of the rows of each category, of all rows where it has none."""
    size = np.bincount(category, minlength=count)
    total = np.zeros((count, x.shape[1]))
    np.add.at(total, category, x)
    return np.where(size[:, None] > 0, total / np.maximum(size, 1)[:, None], x.mean(0))
