"""Taste for keywords: keywords of items, and what a person's history implies about each word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from recsim_gen.core.types import Catalog
from recsim_gen.taste.histories import Histories
from recsim_gen.taste.model import TasteModel

ALIGNED = 0.9  # minimal share of items with the same number of keywords for positions to be meaningful
WIDTH = 64  # maximal number of keyword coordinates
NOISE = 4.0  # σ² of `taste.posterior`

Key = tuple[int, str]


class ItemKeywords:
    """Keywords of every item, without names of categories, which say what an item is, not how it looks.

    If nearly all items have equally many keywords, the k-th keyword of each item names the same attribute; a
    list of another length, as language models occasionally produce, is then ignored.

    Parameters
    ----------
    catalog
        The items.
    keywords
        w_i of every item (RAGAR, Eq. 6).

    Attributes
    ----------
    lists
        The remaining keywords of every item.
    length
        Length of an aligned list; None if positions are not meaningful.
    names, category
        Names of the categories, and (n,) category of each item.
    """

    def __init__(self, catalog: Catalog, keywords: Sequence[Sequence[str]]) -> None:
        self.names, self.category = np.unique(catalog.categories, return_inverse=True)
        skipped = {str(name).strip().lower() for name in self.names}
        self.lists = [[word for word in words if word.lower() not in skipped] for words in keywords]
        (length, count), *_ = Counter(len(words) for words in self.lists).most_common(1)
        self.length = length if length > 0 and count >= ALIGNED * len(self.lists) else None

    @cached_property
    def places(self) -> dict[Key, int]:
        """Column of each word; if positions are meaningful, a word at another position has another column."""
        words = {key for words in self.lists for key in self.keys(words)}
        return {key: column for column, key in enumerate(sorted(words))}

    def vectors(self, lists: Sequence[Sequence[str]]) -> np.ndarray:
        """Return (B, D): 1 for each word of a list, else 0; words that no item has are ignored."""
        x = np.zeros((len(lists), len(self.places)))
        for row, words in enumerate(lists):
            columns = [self.places[key] for key in self.keys(words) if key in self.places]
            x[row, columns] = 1
        return x

    def keys(self, words: Sequence[str]) -> list[Key]:
        """Return position and word of each keyword; empty for a list of another length."""
        if self.length is None:
            return [(0, word) for word in words]
        return [*enumerate(words)] if len(words) == self.length else []


class KeywordTaste(ItemKeywords):
    """Taste for keywords in closed form, by category.

    Parameters
    ----------
    catalog, keywords
        As for `ItemKeywords`.
    histories
        Item rows of each training user; must not contain choices of the valid or test split.
    model
        A model fitted before, used instead of fitting to ``histories``.
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
        """Fit the model; items whose list is ignored are placed at the mean of their category."""
        x = self.vectors(self.lists)
        silent = np.array([not self.keys(words) for words in self.lists])
        x[silent] = _means(x[~silent], self.category[~silent], len(self.names))[self.category[silent]]
        return TasteModel.fit(x, self.category, histories, width=WIDTH, noise=NOISE, turned=False)

    def contributions(
        self, histories: Histories | Sequence[np.ndarray], items: np.ndarray
    ) -> list[dict[str, float]]:
        """Return how much each keyword of ``items`` (B,) adds to its worth for people with these histories.

        With w = W·m, the posterior mean of the taste in the item's category in terms of words (`TasteModel`),
        a word j adds w_j minus the category's average at its position: Σ w_j'·share_j' over the words j' of
        that position, or w_j·share_j if positions are not meaningful. If they are, the contributions sum to
        the item's worth mᵀz.
        """
        category = self.category[items]
        worth = self.model.tastes(histories, category[:, None]).mean[:, 0] @ self.model.whitening.T
        share, place = self.model.centre, np.array([key[0] for key in self.places], dtype=np.int64)
        parts = []
        for item, w, usual in zip(items.tolist(), worth, share[category] * worth, strict=True):
            words = self.lists[item]
            columns = [self.places[key] for key in self.keys(words)]
            average = usual if self.length is None else np.bincount(place, usual)[place]
            parts.append({word: float(w[k] - average[k]) for word, k in zip(words, columns, strict=False)})
        return parts


def _means(x: np.ndarray, category: np.ndarray, count: int) -> np.ndarray:
    """Return (C, D) the mean of the rows of each category; of all rows if it has none."""
    size = np.bincount(category, minlength=count)
    total = np.zeros((count, x.shape[1]))
    np.add.at(total, category, x)
    return np.where(size[:, None] > 0, total / np.maximum(size, 1)[:, None], x.mean(0))
