"""Position of a new feature in a catalogue: distance to the nearest item, and in how many items' lists it is.

Every item has a list of its k nearest other items by cosine. For a feature that replaces that of item i: how
far is the nearest other item, and how many other items' lists would it enter? Both are also computed for the
catalogue's own features, as a reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.store import cached_array, fingerprint
from recsim_gen.core.vectors import unit

if TYPE_CHECKING:
    from torch import Tensor

COSINES_HELD = 1 << 24


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The neighbour lists of the items that have an image.

    Parameters
    ----------
    unit
        (p, d) float32 unit features of the p items with an image.
    place
        (n,) their row for each catalogue row, −1 without an image.
    value, index
        (p, k + 1) cosine and row of the nearest others; the first k form the list.
    """

    unit: np.ndarray
    place: np.ndarray
    value: np.ndarray
    index: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, present: np.ndarray, k: int = 9) -> Neighbourhood:
        """Return the neighbourhood of float32 features ``x`` (n, d) where ``present`` (n,); cached.

        O(p²·d) time, O(block·p) memory. ``k`` is the number of neighbours: 9 corresponds to MICRO's 10, which
        include the item itself. Raises DataError for fewer than 3 items.
        """
        rows = unit(x[present])
        if len(rows) < 3:
            raise DataError(f"a neighbourhood needs at least 3 items with a picture, got {len(rows)}")
        k = max(1, min(k, len(rows) - 2))
        place = np.where(present, np.cumsum(present) - 1, -1)
        packed = cached_array("neighbourhoods", fingerprint("others", rows, k), partial(_others, rows, k))
        return cls(rows, place, packed[0], packed[1].astype(np.int64))

    @property
    def k(self) -> int:
        """Length of a list."""
        return self.index.shape[1] - 1

    @cached_property
    def in_degree(self) -> np.ndarray:
        """(p,) number of lists that contain each item."""
        return np.bincount(self.index[:, : self.k].ravel(), minlength=len(self.unit))

    @cached_property
    def own_distance(self) -> np.ndarray:
        """(p,) cosine distances of the items to their nearest other item, sorted ascending."""
        return np.sort(1 - self.value[:, 0])

    def percentile(self, distance: np.ndarray) -> np.ndarray:
        """Return the (B,) shares in [0, 1] of the catalogue's own distances below; ties count half.

        Own distances have mean ½.
        """
        below, upto = (np.searchsorted(self.own_distance, distance, side=s) for s in ("left", "right"))
        return (below + upto) / (2 * len(self.own_distance))

    def look_up(self, x: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance to the nearest other item and the number of lists entered, (B,) each.

        Parameters
        ----------
        x
            (B, d) features.
        items
            (B,) catalogue rows that the features replace; an item is not a neighbour of itself.

        Returns
        -------
        distance, lists
            (B,) cosine distances and (B,) numbers of lists.

        Raises
        ------
        DataError
            If ``x`` has another shape.
        """
        if np.shape(x) != (len(items), self.unit.shape[1]):
            raise DataError(f"features must be ({len(items)}, {self.unit.shape[1]}), got {np.shape(x)}")
        new, own = unit(x), self.place[items]
        size = max(1, COSINES_HELD // len(self.unit))
        parts = [self._block(new[s : s + size], own[s : s + size]) for s in range(0, len(new), size)]
        distance, lists = zip(*parts, strict=True)
        return np.concatenate(distance), np.concatenate(lists)

    def _block(self, new: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Apply `look_up` to a block of unit features ``new`` in place of the rows ``own``."""
        cosine = new @ self.unit.T
        has = np.flatnonzero(own >= 0)
        cosine[has, own[has]] = -np.inf
        last, spare = self.value[:, self.k - 1], self.value[:, self.k]
        lists = (cosine > last).sum(1)
        at, row = self._listed(own)  # an item in a list competes with the next candidate only
        mine = cosine[at, row]
        np.add.at(lists, at, (mine >= spare[row]).astype(int) - (mine > last[row]))
        return 1 - cosine.max(1), lists

    def _listed(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs (position in ``own``, row whose list contains it)."""
        order, start = self._reverse
        first = np.where(own >= 0, start[own], 0)
        count = np.where(own >= 0, start[own + 1] - start[own], 0)
        at = np.repeat(np.arange(len(own)), count)
        offset = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
        return at, order[first[at] + offset] // self.k

    @cached_property
    def _reverse(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the entries of all lists sorted by item, and where each item's entries begin (p + 1,)."""
        order = np.argsort(self.index[:, : self.k].ravel(), kind="stable")
        return order, np.concatenate([[0], np.cumsum(self.in_degree)])


def _others(x: np.ndarray, k: int) -> np.ndarray:
    """Return (2, p, k + 1): cosine and row of the nearest other rows of each row."""
    import torch

    rows = torch.from_numpy(x)
    size = max(1, COSINES_HELD // len(x))
    parts = [_nearest(rows, slice(s, min(s + size, len(x))), k + 1) for s in range(0, len(x), size)]
    return np.concatenate(parts, axis=1)


def _nearest(rows: Tensor, block: slice, k: int) -> np.ndarray:
    """Apply `_others` to a block of rows."""
    import torch

    cosine = rows[block] @ rows.T
    at = torch.arange(block.start, block.stop)
    cosine[at - block.start, at] = -torch.inf
    value, index = cosine.topk(k, dim=1)
    return np.stack([value.double().numpy(), index.double().numpy()])
