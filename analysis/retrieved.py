"""Contact sheet of queries with the nearest real images; those of the query's identity are framed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.sheets import contact_sheet
from recsim_gen.metrics.identity.matching import nearest

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.metrics.identity.evaluation import EncodedImages


def retrieved_sheet(
    queries: Mapping[str, EncodedImages],
    gallery: EncodedImages,
    path: str | Path,
    *,
    most: int = 9,
    nearby: int = 7,
) -> Path:
    """Write a PNG with one row per query: the image itself, then the ``nearby`` nearest images of its group.

    ``most`` rows in total, equally many per method, spread over identities. Images of the query's own
    identity have a frame. Returns the path.
    """
    images: list[Image.Image | None] = []
    labels: list[str] = []
    headings, marked = {}, set()
    lines = 0
    for method, one in queries.items():
        headings[lines] = f"{method}: query, then what it found (framed: its identity)"
        for k in _spread(one, max(1, most // len(queries))).tolist():
            identity = one.points.identity[k]
            images.append(one.reader.read(one.rows[k]))
            labels.append(str(identity))
            own = -1 if one.own is None else one.own[k]
            rows = np.flatnonzero((gallery.points.group == one.points.group[k]) & (gallery.rows != own))
            hits = nearest(one.points.x[k], gallery.points, rows, nearby).tolist()
            for row in hits:
                if gallery.points.identity[row] == identity:
                    marked.add(len(images))
                images.append(gallery.reader.read(gallery.rows[row]))
                labels.append(str(gallery.points.identity[row]))
            images += [None] * (nearby - len(hits))
            labels += [""] * (nearby - len(hits))
            lines += 1
    return contact_sheet(images, labels, nearby + 1, path, side=112, headings=headings, marked=marked)


def _spread(one: EncodedImages, count: int) -> np.ndarray:
    """Return at most ``count`` positions: the first image of each identity, spread evenly over identities."""
    _, first = np.unique(one.points.identity, return_index=True)
    return np.sort(first)[np.unique(np.linspace(0, len(first) - 1, count).astype(int))]
