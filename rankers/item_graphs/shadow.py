"""Shadows of rows: few numbers whose products are bounds of cosines.

An orthonormal basis V (d, r) splits a row x into its shadow Vᵀx and a rest of norm ρ. Rests have a product of
at most ρ_x·ρ_y in size (Cauchy–Schwarz), so that (Vᵀx, ρ_x)·(Vᵀy, ρ_y) is at least x·y, and at most 2·ρ_x·ρ_y
above it. Where rows lie near r directions, that tells nearly as much as x·y, in r/d of the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rankers.item_graphs.knn import Directions

TRIED = 4096  # rows from which the basis and its width are chosen
ASKING = 64  # one of so many of them stands for a new row
EACH = 16  # widths that are tried are multiples of it
DECIDED = 128  # numbers multiplied in the time that one of an exact cosine takes, whose row is looked up


@dataclass(frozen=True)
class Basis:
    """Orthonormal columns ``v`` (d, r) float64; None: all rows are their own shadows."""

    v: Tensor | None = None

    @classmethod
    @torch.no_grad()
    def of(cls, unit: Directions, lowest: Tensor) -> Basis:
        """Return the basis of leading directions with which a search is quickest, by trial on some rows.

        A row is near another from a cosine of ``lowest`` (n,) on. A search multiplies all shadows, and
        decides exactly what may be near.
        """
        at = torch.arange(0, len(unit), max(1, len(unit) // TRIED), device=lowest.device)
        some, low = unit[at], lowest[at].double()
        v = torch.linalg.eigh(some.T @ some).eigenvectors.flip(1)
        turned = some @ v
        rest = (turned.square().flip(1).cumsum(1).flip(1) - turned.square()).clamp_min_(0).sqrt_()
        d, ask = v.shape[1], slice(None, None, ASKING)
        cost = {d: d * (1 + DECIDED * _near(turned[ask], turned, low[ask], low))}
        for r in range(EACH, d - EACH, EACH):
            shadow = torch.cat([turned[:, :r], rest[:, r - 1 : r]], dim=1)
            slack = 2 * rest[ask, r - 1 : r] * rest[:, r - 1]
            cost[r] = r + d * DECIDED * _near(shadow[ask], shadow, low[ask], low, slack)
        width = min(cost, key=lambda r: cost[r])
        return cls(None if width == d else v[:, :width].contiguous())

    def shadow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, r + 1) shadows of ``x`` (B, d), and the norms (B,) of the rests: 0 without a basis."""
        if self.v is None:
            return x, x.new_zeros(len(x))
        part = x @ self.v
        rest = (x.square().sum(1) - part.square().sum(1)).clamp_min_(0).sqrt_()
        return torch.cat([part, rest[:, None]], dim=1), rest

    def width(self, d: int) -> int:
        """Return the numbers of a shadow of a row of ``d``."""
        return d if self.v is None else self.v.shape[1] + 1


def _near(asking: Tensor, x: Tensor, mine: Tensor, low: Tensor, slack: Tensor | float = 0.0) -> float:
    """Return the share of rows ``x`` that may be near one of ``asking``, whose own bar is ``mine``."""
    product = asking @ x.T
    return float(((product >= low) | (product >= mine[:, None] - slack)).double().mean())
