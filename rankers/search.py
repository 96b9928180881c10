"""Where a ranker's settings are searched: ranges that stand beside each config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.random import Generator


class Domain(Protocol):
    """Values that a setting may be given."""

    def draw(self, rng: Generator) -> Any:
        """One of them at random."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, whole ones where both are; ``log``: each order of magnitude alike."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: Generator) -> float | int:
        """One at random, of three digits."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return int(rng.integers(self.low, self.high + 1))
        if self.log:
            return float(f"{math.exp(rng.uniform(math.log(self.low), math.log(self.high))):.3g}")
        return float(f"{rng.uniform(self.low, self.high):.3g}")


@dataclass(frozen=True)
class OneOf:
    """Any of these values."""

    values: tuple[Any, ...]

    def draw(self, rng: Generator) -> Any:
        """One at random."""
        return self.values[int(rng.integers(len(self.values)))]


Space = Mapping[str, Domain]
"""What is searched of a config: the domain of each setting."""
