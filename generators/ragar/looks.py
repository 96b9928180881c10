"""What a reference could look like to please somebody: keywords by their posterior (`evidence: taste`).

A `KeywordTaste` learns from the histories of training how tastes of categories agree. Somebody's
history and the reference itself, which is evidence as well, give the posterior of their taste for the
reference's category, and so of every list of keywords in it: a mean gain over the reference's own look,
and how uncertain that gain is. The own look is always among the candidates, with gain 0 and no doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from recsim_gen.core.types import Episode
from recsim_gen.taste.keywords import KeywordTaste

PER_PLACE = 5  # words a place that looks are composed of


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


class KeywordLooks(KeywordTaste):
    """Looks composed by tastes for keywords.

    Where places of keywords mean something, looks are composed place by place; elsewhere the candidates are
    the lists that items of the category have.
    """

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
        changed = np.array([len(set(self.keys(own)) - set(self.keys(words))) for words in lists])
        return Looks([lists[k] for k in order], gain[order], sd[order], changed[order])

    def _candidates(self, reference: int, mean: np.ndarray) -> list[list[str]]:
        """Lists of keywords that things of the reference's category could have."""
        rows = np.flatnonzero(self.category == self.category[reference])
        if self.length is None:
            return [list(words) for words in dict.fromkeys(tuple(self.lists[row]) for row in rows)]
        worth = self.model.whitening @ mean
        best = []
        full = [self.lists[row] for row in rows if self.keys(self.lists[row])]
        for place, column in enumerate(zip(*full, strict=True)):
            words = {word: worth[self.places[place, word]] for word in column}
            best.append(sorted(words, key=lambda word: -words[word])[:PER_PLACE])
        return [list(words) for words in product(*best) if len(set(words)) == len(words)]


def training_choices(episodes: Sequence[Episode]) -> list[np.ndarray]:
    """Items of each user of training episodes, references among them: all are choices of training."""
    items: dict[int, dict[int, None]] = {}
    for episode in episodes:
        items.setdefault(episode.user, {}).update(dict.fromkeys([*episode.history, episode.reference]))
    return [np.array([*rows]) for _, rows in sorted(items.items())]
