"""True reasons in a known world: the contribution of each attribute to the utility of an item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsim_gen.core.types import Dataset, Episode
from recsim_gen.datasets.boutique.attributes import GROUP_CODES
from recsim_gen.datasets.boutique.world import Boutique, World


@dataclass(frozen=True, eq=False)
class TrueReasons:
    """What Boutique's people like about items of a category, by their true preferences.

    The worth of a colour, second colour or pattern is its contribution to V (`boutique.world`) minus the mean
    over the values of its kind, since choices within a category cannot identify that mean. ``top``: number of
    the 25 values that count as a person's favourites.
    """

    world: World
    top: int = 5

    @classmethod
    def of(cls, dataset: Dataset, top: int) -> TrueReasons | None:
        """Return the truth of a data set; None if it is unknown."""
        return cls(dataset.world, top) if isinstance(dataset, Boutique) else None

    def worths(self, episode: Episode) -> dict[str, float]:
        """Return the worth of each attribute of the reference for the person of the episode."""
        look = self.world.attributes(episode.reference)
        _, main, second, pattern = look.codes
        mains, seconds, patterns = self._values(episode)
        return {
            look.main: float(mains[main]),
            look.second: float(seconds[second]),
            look.pattern: float(patterns[pattern]),
        }

    def reason(self, episode: Episode) -> str | None:
        """Return the attribute of the reference with the largest worth; None if none is above 0."""
        worth = self.worths(episode)
        best = max(worth, key=lambda word: worth[word])
        return best if worth[best] > 0 else None

    def favourites(self, episode: Episode) -> set[str]:
        """Return the attributes of the reference among the person's ``top`` favourites in its group."""
        least = np.sort(np.concatenate(self._values(episode)))[::-1][: self.top][-1]
        return {word for word, worth in self.worths(episode).items() if worth >= least}

    def _values(self, episode: Episode) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the worths of main colours (10,), second colours (10,) and patterns (5,) in the group."""
        group, person = GROUP_CODES[self.world.codes[episode.reference, 0]], episode.user
        mains, seconds, patterns = (
            tastes[person, group] - tastes[person, group].mean()
            for tastes in (self.world.main, self.world.second, self.world.pattern)
        )
        return mains, seconds, patterns
