"""Candidate looks of a reference that would please a person: keywords by their posterior (`evidence: taste`).

A `KeywordTaste` learns from the training histories how tastes of categories correlate. A person's history and
the reference itself, which is also evidence, give the posterior of their taste for the reference's category,
and so for every list of keywords in it: a mean gain over the reference's own look, and its uncertainty. The
own look is always among the candidates, with gain 0 and no uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from recsim_gen.core.types import Episode
from recsim_gen.taste.keywords import KeywordTaste

PER_PLACE = 5  # words per place to compose looks of


@dataclass(frozen=True, eq=False)
class Looks:
    """C lists of keywords for one episode's reference, the most promising first.

    ``keywords`` without the category; ``gain`` (C,) posterior mean of their worth minus that of the
    reference's own look; ``sd`` (C,) of that gain; ``changed`` (C,) number of places that differ from the own
    look.
    """

    keywords: list[list[str]]
    gain: np.ndarray
    sd: np.ndarray
    changed: np.ndarray

    def take(self, order: Sequence[int]) -> Looks:
        """Return the looks at these positions, in this order."""
        at = list(order)
        return Looks([self.keywords[k] for k in at], self.gain[at], self.sd[at], self.changed[at])


class KeywordLooks(KeywordTaste):
    """Composes looks from tastes for keywords.

    If positions of keywords are meaningful, looks are composed position by position; otherwise the candidates
    are the lists of the category's items.
    """

    def looks(self, episodes: Sequence[Episode], *, most: int, caution: float) -> list[Looks]:
        """Return ``most`` looks of each reference by gain − ``caution``·sd, including its own look."""
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
        order = np.argsort(caution * sd - gain, kind="stable")[
            :most
        ]  # the own look comes first if all are equal
        if 0 not in order:
            order[-1] = 0
        changed = np.array([len(set(self.keys(own)) - set(self.keys(words))) for words in lists])
        return Looks([lists[k] for k in order], gain[order], sd[order], changed[order])

    def _candidates(self, reference: int, mean: np.ndarray) -> list[list[str]]:
        """Return lists of keywords that items of the reference's category could have."""
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
    """Return the items of each user of training episodes, references included: all are training choices."""
    items: dict[int, dict[int, None]] = {}
    for episode in episodes:
        items.setdefault(episode.user, {}).update(dict.fromkeys([*episode.history, episode.reference]))
    return [np.array([*rows]) for _, rows in sorted(items.items())]
