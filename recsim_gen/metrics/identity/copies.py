"""Copies among images of identities: within the gallery, and queries that are images of the gallery.

An image that occurs twice in a gallery retrieves itself, and a query copied from the gallery is found
regardless of identity. Both are counted, and results without copies are reported too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsim_gen.encoders.features import encode_reader
from recsim_gen.metrics.copies import NO, THUMBNAILS, CopyFinder
from recsim_gen.metrics.identity.evaluation import OVERALL, EncodedImages, add_rows
from recsim_gen.metrics.identity.matching import Labelled, match
from recsim_gen.metrics.identity.queries import REAL

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.gallery import Gallery
    from recsim_gen.metrics.identity.queries import Split

SUFFIX = "_without_copies"


@dataclass(frozen=True, eq=False)
class IdentityCopies:
    """Copies in a gallery of n images.

    ``group`` (n,), in 0…g − 1: equal for copies of each other; ``again`` (n,) bool: images to be found that
    are copies of an earlier one; ``finder`` is None for a gallery of one image.
    """

    finder: CopyFinder | None
    group: np.ndarray
    again: np.ndarray

    @classmethod
    def of(cls, gallery: Gallery, split: Split) -> IdentityCopies:
        """Find the copies in a gallery whose images at ``split.gallery`` are to be found."""
        images, shown = gallery.catalog.images, split.gallery
        finder = None if images is None else CopyFinder.of(images)
        group = np.arange(len(gallery.identity)) if finder is None else finder.groups()
        again = np.zeros(len(group), dtype=bool)
        again[shown] = True
        again[shown[np.unique(group[shown], return_index=True)[1]]] = False
        return cls(finder, group, again)

    def note(self, gallery: Gallery, results: Results) -> None:
        """Note how many images of the gallery are duplicates, under the same identity or another."""
        if self.finder is None or not self.again.any():
            return
        first = gallery.identity[np.unique(self.group, return_index=True)[1]]
        others = int((gallery.identity != first[self.group])[self.again].sum())
        results.note(
            f"{int(self.again.sum()):,} pictures of the gallery are there before under another name, "
            f"{others:,} of them under another identity; map{SUFFIX} is without them; {self.finder.rule}"
        )

    def measure_without(
        self,
        queries: Mapping[str, EncodedImages],
        gallery: EncodedImages,
        results: Results,
        *,
        encoder: str,
        rng: Rng,
    ) -> None:
        """Add rows ``map_without_copies`` etc., and a verdict, for each method affected by copies.

        Duplicates in ``gallery`` are left out, and so are queries that are copies of it.
        """
        kept = ~self.again[gallery.rows]
        for method, one in queries.items():
            copied = self._copied(method, one, gallery)
            if kept.all() and not copied.any():
                continue
            table = _match_without(one, gallery.points, kept, copied)
            text = f"{int(copied.sum()):,} of {len(one):,} are a picture of the gallery; "
            if table is None:
                text += "without copies nothing is left that could ask"
            else:
                precision, chance, *_ = add_rows(
                    results, method, table, rng, SUFFIX, encoder=encoder, group=OVERALL
                )
                before = _value(results, method, encoder)
                text += (
                    f"mAP {before:.4f}, without copies {precision.value:.4f} (n = {precision.n:,}, chance "
                    f"{chance.value:.4f})"
                )
            results.verdict(f"{method}, copies ({encoder})", text)

    def _copied(self, method: str, one: EncodedImages, gallery: EncodedImages) -> np.ndarray:
        """Return (B,) bool: queries that copy an image of the gallery; real ones, another than themselves."""
        if self.finder is None:
            return np.zeros(len(one), dtype=bool)
        if method != REAL:
            return self.finder.find(encode_reader(one.reader, THUMBNAILS)[one.rows]).row != NO
        held_out = one.own is None or (one.own < 0).all()
        return np.isin(self.group[one.rows], self.group[gallery.rows]) if held_out else self.again[one.rows]


def _match_without(
    one: EncodedImages, gallery: Labelled, kept: np.ndarray, copied: np.ndarray
) -> pd.DataFrame | None:
    """Apply `match` to the queries that are not copies and the images ``kept``; None if nothing is left.

    Groups with only one identity left, and queries without an image of their identity, are left out.
    """
    shown = gallery.at(kept)
    pairs = np.unique(np.stack([shown.group, shown.identity]), axis=1)
    groups, identities = np.unique(pairs[0], return_counts=True)
    kept = kept & np.isin(gallery.group, groups[identities > 1])
    shown, place = gallery.at(kept), np.cumsum(kept) - 1
    own = np.full(len(one), -1) if one.own is None else one.own
    names, count = np.unique(shown.identity, return_counts=True)
    found = dict(zip(names.tolist(), count.tolist(), strict=True))
    number = np.array([found.get(name, 0) for name in one.points.identity.tolist()])
    others: NDArray[np.int64] = number - (own >= 0)
    rows = np.flatnonzero(~copied & (others > 0))
    if not len(rows):
        return None
    itself = np.where(own[rows] >= 0, place[own[rows]], -1)
    return match(one.points.at(rows), shown, own=itself)


def _value(results: Results, method: str, encoder: str) -> float:
    """Return the mAP measured with copies."""
    (row,) = [
        r
        for r in results.rows
        if (r["variant"], r["metric"], r["encoder"], r["group"]) == (method, "map", encoder, OVERALL)
    ]
    return float(row["value"])
