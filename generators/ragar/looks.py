"""What a reference could look like to please somebody: keywords by their posterior (`evidence: taste`).

A `TasteModel` of keywords learns from the histories of training how tastes of categories agree. Somebody's
history and the reference itself, which is evidence as well, give the posterior of their taste for the
reference's category, and so of every list of keywords in it: a mean gain over the reference's own look,
and how uncertain that gain is. The own look is always among the candidates, with gain 0 and no doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from recsim_gen.core.types import Catalog, Episode
from recsim_gen.taste.model import TasteModel

ALIGNED = 0.9  # share of items with one number of keywords from which places mean something
PER_PLACE = 5  # words a place that looks are composed of
WIDTH = 64  # coordinates of keywords, at most
NOISE = 4.0  # σ² of `taste.posterior`


@dataclass(frozen=True, eq=False)
class Looks:
    """C lists of keywords for one episode's reference, the most promising first.

    ``keywords`` without the category; ``gain`` (C,) posterior mean of their worth over that of the
    reference's own look; ``sd`` (C,) of that gain; ``changed`` (C,) places that differ from the own look.
    """

    keywords: list[list[str]]
    gain: np.ndarray
    sd: np.ndarray
    changed: np.ndarray

    def take(self, order: Sequence[int]) -> Looks:
        """The looks at these places, in this order."""
        at = list(order)
        return Looks([self.keywords[k] for k in at], self.gain[at], self.sd[at], self.changed[at])


class KeywordTaste:
    """Tastes for keywords, and looks composed by them.

    Where nearly all items have equally many keywords, the k-th of each names the same attribute and looks
    are composed place by place; a list of another length, as language models give now and then, says
    nothing. Elsewhere the candidates are the lists that items of the category have.

    Parameters
    ----------
    catalog
        Whose items are drawn.
    keywords
        w_i of every item (Eq. 6).
    histories
        Item rows of each training user, nothing of the valid or test split among them.
    model
        What was learned from histories before.
    """

    def __init__(
        self,
        catalog: Catalog,
        keywords: Sequence[Sequence[str]],
        histories: Sequence[np.ndarray] = (),
        *,
        model: TasteModel | None = None,
    ) -> None:
        self.names, self.category = np.unique(catalog.categories, return_inverse=True)
        skipped = {str(name).strip().lower() for name in self.names}
        self.lists = [[word for word in words if word.lower() not in skipped] for words in keywords]
        (length, count), *_ = Counter(len(words) for words in self.lists).most_common(1)
        self.length = length if length > 0 and count >= ALIGNED * len(self.lists) else None
        self.model = model or self._fitted(histories)

    def _fitted(self, histories: Sequence[np.ndarray]) -> TasteModel:
        """Lists that say nothing stand at the mean of their category."""
        x = self.vectors(self.lists)
        silent = np.array([not self._keys(words) for words in self.lists])
        x[silent] = _means(x[~silent], self.category[~silent], len(self.names))[self.category[silent]]
        return TasteModel.fit(x, self.category, histories, width=WIDTH, noise=NOISE, turned=False)

    @cached_property
    def places(self) -> dict[tuple[int, str], int]:
        """Column of each word; where places mean something, a word in another place is another one."""
        words = {key for words in self.lists for key in self._keys(words)}
        return {key: column for column, key in enumerate(sorted(words))}

    def vectors(self, lists: Sequence[Sequence[str]]) -> np.ndarray:
        """(B, D) 1 for each word of a list, 0 elsewhere; words that no item has do not count."""
        x = np.zeros((len(lists), len(self.places)))
        for row, words in enumerate(lists):
            columns = [self.places[key] for key in self._keys(words) if key in self.places]
            x[row, columns] = 1
        return x

    def looks(self, episodes: Sequence[Episode], *, most: int, caution: float) -> list[Looks]:
        """``most`` looks of each episode's reference by gain − ``caution``·sd, its own look among them."""
        rows = [np.array([*e.history, e.reference]) for e in episodes]
        references = np.array([e.reference for e in episodes], dtype=np.int64)
        taste = self.model.tastes(rows, self.category[references][:, None])
        return [
            self._looks(int(reference), mean, variance, most, caution)
            for reference, mean, variance in zip(
                references, taste.mean[:, 0], taste.variance[:, 0], strict=True
            )
        ]

    def _looks(
        self, reference: int, mean: np.ndarray, variance: np.ndarray, most: int, caution: float
    ) -> Looks:
        own, category = self.lists[reference], self.category[[reference]]
        lists = [own, *(words for words in self._candidates(reference, mean) if words != own)]
        z = self.model.coordinates(self.vectors(lists), np.repeat(category, len(lists)))
        moved = z - self.model.features[reference]
        gain, sd = moved @ mean, np.sqrt(moved**2 @ variance)
        order = np.argsort(caution * sd - gain, kind="stable")[:most]  # where all are equal, the own stays
        if 0 not in order:
            order[-1] = 0
        changed = np.array([len(set(self._keys(own)) - set(self._keys(words))) for words in lists])
        return Looks([lists[k] for k in order], gain[order], sd[order], changed[order])

    def _candidates(self, reference: int, mean: np.ndarray) -> list[list[str]]:
        """Lists of keywords that things of the reference's category could have."""
        rows = np.flatnonzero(self.category == self.category[reference])
        if self.length is None:
            return [list(words) for words in dict.fromkeys(tuple(self.lists[row]) for row in rows)]
        worth = self.model.whitening @ mean
        best = []
        full = [self.lists[row] for row in rows if self._keys(self.lists[row])]
        for place, column in enumerate(zip(*full, strict=True)):
            words = {word: worth[self.places[place, word]] for word in column}
            best.append(sorted(words, key=lambda word: -words[word])[:PER_PLACE])
        return [list(words) for words in product(*best) if len(set(words)) == len(words)]

    def _keys(self, words: Sequence[str]) -> list[tuple[int, str]]:
        """Place and word of each keyword; nothing for a list whose places are not known."""
        if self.length is None:
            return [(0, word) for word in words]
        return [*enumerate(words)] if len(words) == self.length else []


def training_choices(episodes: Sequence[Episode]) -> list[np.ndarray]:
    """Items of each user of training episodes, references among them: all are choices of training."""
    items: dict[int, dict[int, None]] = {}
    for episode in episodes:
        items.setdefault(episode.user, {}).update(dict.fromkeys([*episode.history, episode.reference]))
    return [np.array([*rows]) for _, rows in sorted(items.items())]


def _means(x: np.ndarray, category: np.ndarray, count: int) -> np.ndarray:
    """(C, D) mean of the rows of each category, of all rows where it has none."""
    size = np.bincount(category, minlength=count)
    total = np.zeros((count, x.shape[1]))
    np.add.at(total, category, x)
    return np.where(size[:, None] > 0, total / np.maximum(size, 1)[:, None], x.mean(0))
