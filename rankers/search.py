"""Search spaces of rankers' settings; each is given beside its config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from numpy.random import Generator

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Domain(Protocol):
    """Values that a setting may take."""

    def draw(self, rng: Generator) -> Any:
        """Return a random value."""

    def distribution(self) -> BaseDistribution:
        """Return the values as an Optuna distribution."""

    def written(self, value: Any) -> Any:
        """Return ``value`` as it is set; floats are rounded to three significant digits."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, integers if both are; ``log``: uniform on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether both ends are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, rng: Generator) -> float | int:
        """Return a random integer, or a random float of three significant digits."""
        if self.whole and self.log:
            return int(math.exp(rng.uniform(math.log(self.low), math.log(self.high + 1))))
        if self.whole:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        if self.log:
            return self.written(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return self.written(rng.uniform(self.low, self.high))

    def distribution(self) -> BaseDistribution:
        """Return a distribution of integers or of floats, depending on the ends."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def written(self, value: float) -> float | int:
        """Return ``value`` rounded to three significant digits; an integer unchanged."""
        return value if self.whole else float(f"{value:.3g}")


@dataclass(frozen=True)
class OneOf:
    """Any of these values."""

    values: tuple[Any, ...]

    def draw(self, rng: Generator) -> Any:
        """Return one of the values at random."""
        return self.values[int(rng.integers(len(self.values)))]

    def distribution(self) -> BaseDistribution:
        """Return a categorical distribution."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def written(self, value: Any) -> Any:
        """Return ``value`` unchanged."""
        return value


Space = Mapping[str, Domain]
"""Search space of a config: the domain of each setting that is searched."""
