"""Rows put into cells, and which cells a row asks for its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rankers.item_graphs.k_means import by_cell, centres_of, chained, closest
from rankers.item_graphs.mapped_rows import ROWS, UnitRows

RECALL = 0.998  # on a sample; a target of 0.995 left 0.989 of all in one of four tables of 100,000 rows
WITHIN = 0.9995  # of a sample: in the cells near a row's cell, among which it has its own order
EACH = 25  # rows per cell in k-means; the cells need not be optimal
STEP = 64  # rows of a product, a multiple of it: of every other shape the first product takes milliseconds


@dataclass(frozen=True)
class Cells:
    """Rows in the order of their cells, in which a row has a *place*.

    Parameters
    ----------
    rows
        (n,) row at each place.
    start
        (m + 1,) where each cell starts.
    centre
        (m, d) float32 centre of each cell, followed by a near one.
    near
        (m, m) all cells by decreasing similarity to each cell, itself first.
    """

    rows: Tensor
    start: Tensor
    centre: Tensor
    near: Tensor

    @classmethod
    def of(cls, unit: UnitRows) -> Cells:
        """Return about 2·√n cells of ``unit`` (n, d); the same for any number of threads."""
        m = max(1, int(2 * len(unit) ** 0.5))
        centre = chained(centres_of(unit[drawn(len(unit), EACH * m, seed=2)], m))
        start, rows = by_cell(torch.cat([closest(part, centre) for part in unit.split(ROWS)]), m)
        nearness = (centre @ centre.T).fill_diagonal_(2.0)  # more than any cosine
        return cls(rows, start, centre, nearness.argsort(dim=1, descending=True, stable=True))

    def places(self, cell: int) -> slice:
        """Return the places of a cell."""
        return slice(int(self.start[cell]), int(self.start[cell + 1]))

    def holding(self, places: Tensor) -> Tensor:
        """Return the cells that hold ``places``."""
        return torch.searchsorted(self.start, places, right=True) - 1

    def reach(self, fast: Tensor | UnitRows, places: Tensor, neighbours: Tensor) -> Reach:
        """Return how many cells contain `RECALL` of the ``neighbours`` (r, k) of ``places`` (r,)."""
        mine = self.holding(places)
        place = self.near.argsort(dim=1)[mine[:, None], self.holding(neighbours)]
        within = _quantile(place, WITHIN)
        similarity = (fast[places] @ self.centre.T).gather(1, self.near[mine, :within])
        own = similarity.argsort(dim=1, descending=True).argsort(dim=1)
        asked = own.gather(1, place.clamp_max(within - 1)).masked_fill(place >= within, len(self.near))
        return Reach(within, min(_quantile(asked, RECALL), within))

    def nearest_to(self, fast: Tensor | UnitRows, cell: int, reach: Reach) -> Tensor:
        """Return (r, ``reach.asked``) the cells nearest to each row of a cell, by decreasing similarity.

        In int16, which is sorted in a third of the time and numbers the cells of 268 million rows.
        """
        among, mine = self.near[cell][: reach.within], self.places(cell)
        similarity = (fast[filled(mine)] @ self.centre[among].T)[: mine.stop - mine.start]
        return among.short()[similarity.topk(reach.asked, dim=1).indices]


@dataclass(frozen=True)
class Reach:
    """A row asks the ``asked`` cells nearest to it, of the ``within`` nearest to its cell."""

    within: int
    asked: int


def filled(places: slice) -> slice:
    """Return ``places`` and those after them, up to a multiple of `STEP`, if there are as many."""
    return slice(places.start, places.stop + (places.start - places.stop) % STEP)


def drawn(n: int, count: int, seed: int) -> Tensor:
    """Return ``count`` of n numbers at random; n if there are fewer."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:count]


def _quantile(place: Tensor, share: float) -> int:
    """Return the least number of places that contain this share of ``place``."""
    return 1 + int(place.reshape(-1).kthvalue(max(1, int(share * place.numel()))).values)
