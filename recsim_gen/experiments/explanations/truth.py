"""Why people of a known world really like things: what each attribute adds to the utility of an item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsim_gen.core.types import Dataset, Episode
from recsim_gen.datasets.boutique.attributes import GROUP_CODES
from recsim_gen.datasets.boutique.world import Boutique, World


@dataclass(frozen=True, eq=False)
class TrueReasons:
    """What Boutique's people like about things of a category, by the tastes that they were made with.

    The worth of a colour, second colour or pattern is what it adds to V (`boutique.world`) over the average
    value of its kind, which a person's choices within a category cannot tell from anything else. ``top``: how
    many of the 25 values, by their worth, are what a person likes best.
    """

    world: World
    top: int = 5

    @classmethod
    def of(cls, dataset: Dataset, top: int) -> TrueReasons | None:
        """The truth of a data set; None where it is not known."""
        return cls(dataset.world, top) if isinstance(dataset, Boutique) else None

    def worths(self, episode: Episode) -> dict[str, float]:
        """Worth of each attribute of the reference for the person of the episode."""
        look = self.world.attributes(episode.reference)
        _, main, second, pattern = look.codes
        mains, seconds, patterns = self._values(episode)
        return {
            look.main: float(mains[main]),
            look.second: float(seconds[second]),
            look.pattern: float(patterns[pattern]),
        }

    def reason(self, episode: Episode) -> str | None:
        """The attribute of the reference with the largest worth; None where none is worth more than 0."""
        worth = self.worths(episode)
        best = max(worth, key=lambda word: worth[word])
        return best if worth[best] > 0 else None

    def favourites(self, episode: Episode) -> set[str]:
        """Attributes of the reference that are among the ``top`` that the person likes best in its group."""
        least = np.sort(np.concatenate(self._values(episode)))[::-1][: self.top][-1]
        return {word for word, worth in self.worths(episode).items() if worth >= least}

    def _values(self, episode: Episode) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Worths of main colours (10,), second colours (10,) and patterns (5,) in the reference's group."""
        group, person = GROUP_CODES[self.world.codes[episode.reference, 0]], episode.user
        mains, seconds, patterns = (
            tastes[person, group] - tastes[person, group].mean()
            for tastes in (self.world.main, self.world.second, self.world.pattern)
        )
        return mains, seconds, patterns
