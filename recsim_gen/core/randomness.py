"""Randomness as an argument: named, independent sub-streams of one seed.

A stream is named by its purpose, not by the time of drawing, so results do not depend on batch size, order or
number of workers: ``rng.for_("noise", episode.id).numpy()``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Rng:
    """A seed and a path of names that identify one random stream."""

    seed: int
    path: tuple[str, ...] = ()

    def for_(self, *names: str | int) -> Rng:
        """Return the sub-stream of these names; equal names (also numpy scalars) give equal streams."""
        plain = [n.item() if isinstance(n, np.generic) else n for n in names]
        return Rng(self.seed, self.path + tuple(f"{type(n).__name__}:{n}" for n in plain))

    def entropy(self) -> int:
        """Return the 128-bit integer that identifies this stream."""
        text = "\x1f".join((str(self.seed), *self.path))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")

    def integer(self) -> int:
        """Return a seed in [0, 2³¹) for libraries that take a single number."""
        return self.entropy() % 2**31

    def numpy(self) -> np.random.Generator:
        """Return a new numpy generator at the start of this stream."""
        return np.random.default_rng(self.entropy())

    def torch(self, device: str = "cpu") -> torch.Generator:
        """Return a new torch generator at the start of this stream."""
        import torch

        return torch.Generator(device=device).manual_seed(self.entropy() % 2**63)
