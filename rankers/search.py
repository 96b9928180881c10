"""Where a ranker's settings are searched: ranges that stand beside each config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from numpy.random import Generator

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Domain(Protocol):
    """Values that a setting may be given."""

    def draw(self, rng: Generator) -> Any:
        """One of them at random."""

    def distribution(self) -> BaseDistribution:
        """The same values as Optuna has them."""

    def written(self, value: Any) -> Any:
        """A value of the distribution as it is set: more than three digits mean nothing."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, whole ones where both are; ``log``: each order of magnitude alike."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether both ends are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, rng: Generator) -> float | int:
        """One at random, of three digits."""
        if self.whole:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        if self.log:
            return self.written(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return self.written(rng.uniform(self.low, self.high))

    def distribution(self) -> BaseDistribution:
        """Whole numbers or others, by the ends."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def written(self, value: float) -> float | int:
        """Three digits of it; all of a whole number."""
        return value if self.whole else float(f"{value:.3g}")


@dataclass(frozen=True)
class OneOf:
    """Any of these values."""

    values: tuple[Any, ...]

    def draw(self, rng: Generator) -> Any:
        """One at random."""
        return self.values[int(rng.integers(len(self.values)))]

    def distribution(self) -> BaseDistribution:
        """Values without an order."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def written(self, value: Any) -> Any:
        """The value."""
        return value


Space = Mapping[str, Domain]
"""What is searched of a config: the domain of each setting."""
