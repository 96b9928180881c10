"""Where a new feature lies in a catalogue: how far from its nearest item, in how many items' lists.

Every item has a list of its k nearest others by cosine. Two questions of a feature put in place of
item i: how far is the nearest other item, and how many other items' lists would it enter? Both are
answered for the catalogue's own features too, so a new one can be told from them.
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
    """The lists of the items that have a picture.

    ``unit`` (p, d) float32 unit features; ``place`` (n,) their row for each catalogue row, −1
    without picture; ``value`` and ``index`` (p, k + 1): the nearest others, the first k the list.
    """

    unit: np.ndarray
    place: np.ndarray
    value: np.ndarray
    index: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, present: np.ndarray, k: int = 9) -> Neighbourhood:
        """Of float32 features ``x`` (n, d) where ``present`` (n,); kept by content.

        O(p²·d) time, O(block·p) memory. ``k`` others: 9 is MICRO's 10 with the item itself. Raises
        DataError for fewer than 3 items.
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
        """(p,) in how many lists each item stands."""
        return np.bincount(self.index[:, : self.k].ravel(), minlength=len(self.unit))

    @cached_property
    def own_distance(self) -> np.ndarray:
        """(p,) rising: cosine distance of each item to the nearest other."""
        return np.sort(1 - self.value[:, 0])

    def percentile(self, distance: np.ndarray) -> np.ndarray:
        """(B,) in [0, 1]: share of the catalogue's own distances below, ties half; its own have mean ½."""
        below, upto = (np.searchsorted(self.own_distance, distance, side=s) for s in ("left", "right"))
        return (below + upto) / (2 * len(self.own_distance))

    def look_up(self, x: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosine distance to the nearest other item and number of lists entered (B,), of ``x`` (B, d).

        ``items`` (B,) catalogue rows that the features stand for: they are no neighbours of themselves.
        """
        if np.shape(x) != (len(items), self.unit.shape[1]):
            raise DataError(f"features must be ({len(items)}, {self.unit.shape[1]}), got {np.shape(x)}")
        new, own = unit(x), self.place[items]
        size = max(1, COSINES_HELD // len(self.unit))
        parts = [self._block(new[s : s + size], own[s : s + size]) for s in range(0, len(new), size)]
        distance, lists = zip(*parts, strict=True)
        return np.concatenate(distance), np.concatenate(lists)

    def _block(self, new: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cosine = new @ self.unit.T
        has = np.flatnonzero(own >= 0)
        cosine[has, own[has]] = -np.inf
        last, spare = self.value[:, self.k - 1], self.value[:, self.k]
        lists = (cosine > last).sum(1)
        at, row = self._listed(own)  # where the item holds a place, it keeps it against the next in line
        mine = cosine[at, row]
        np.add.at(lists, at, (mine >= spare[row]).astype(int) - (mine > last[row]))
        return 1 - cosine.max(1), lists

    def _listed(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (position in ``own``, row whose list holds it)."""
        order, start = self._reverse
        first = np.where(own >= 0, start[own], 0)
        count = np.where(own >= 0, start[own + 1] - start[own], 0)
        at = np.repeat(np.arange(len(own)), count)
        offset = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
        return at, order[first[at] + offset] // self.k

    @cached_property
    def _reverse(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of the lists by the item they hold, and where each item begins (p + 1,)."""
        order = np.argsort(self.index[:, : self.k].ravel(), kind="stable")
        return order, np.concatenate([[0], np.cumsum(self.in_degree)])


def _others(x: np.ndarray, k: int) -> np.ndarray:
    """(2, p, k + 1): cosine and row of the nearest others of each row, itself left out."""
    import torch

    rows = torch.from_numpy(x)
    size = max(1, COSINES_HELD // len(x))
    parts = [_nearest(rows, slice(s, min(s + size, len(x))), k + 1) for s in range(0, len(x), size)]
    return np.concatenate(parts, axis=1)


def _nearest(rows: Tensor, block: slice, k: int) -> np.ndarray:
    import torch

    cosine = rows[block] @ rows.T
    at = torch.arange(block.start, block.stop)
    cosine[at - block.start, at] = -torch.inf
    value, index = cosine.topk(k, dim=1)
    return np.stack([value.double().numpy(), index.double().numpy()])
