"""What queries found: each with the real pictures nearest to it, those of its identity framed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.sheets import contact_sheet
from recsim_gen.metrics.identity.matching import nearest

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.metrics.identity.evaluation import Asked


def retrieved_sheet(
    asked: Mapping[str, Asked], gallery: Asked, path: str | Path, *, queries: int = 9, found: int = 7
) -> Path:
    """A PNG with a line per query: the image itself, then the ``found`` nearest pictures of its group.

    ``queries`` lines in all, the methods in equal parts, each over as many identities as it can.
    Pictures of the query's own identity have a frame. Returns the path.
    """
    images: list[Image.Image | None] = []
    labels: list[str] = []
    headings, marked = {}, set()
    lines = 0
    for method, one in asked.items():
        headings[lines] = f"{method}: query, then what it found (framed: its identity)"
        for k in _spread(one, max(1, queries // len(asked))).tolist():
            identity = one.points.identity[k]
            images.append(one.reader.read(one.rows[k]))
            labels.append(str(identity))
            own = -1 if one.own is None else one.own[k]
            rows = np.flatnonzero((gallery.points.group == one.points.group[k]) & (gallery.rows != own))
            hits = nearest(one.points.x[k], gallery.points, rows, found).tolist()
            for row in hits:
                if gallery.points.identity[row] == identity:
                    marked.add(len(images))
                images.append(gallery.reader.read(gallery.rows[row]))
                labels.append(str(gallery.points.identity[row]))
            images += [None] * (found - len(hits))
            labels += [""] * (found - len(hits))
            lines += 1
    return contact_sheet(images, labels, found + 1, path, side=112, headings=headings, marked=marked)


def _spread(one: Asked, count: int) -> np.ndarray:
    """At most ``count`` places: the first picture of each identity, spread evenly over identities."""
    _, first = np.unique(one.points.identity, return_index=True)
    return np.sort(first)[np.unique(np.linspace(0, len(first) - 1, count).astype(int))]
