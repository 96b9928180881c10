"""Contact sheet of a dataset: some items, and some episodes with their history and reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.sheets import contact_sheet

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Dataset, Episode

COLUMNS = 10
SIDE, LINES = 140, 4


def data_sheet(dataset: Dataset, path: str | Path, *, items: int, episodes: int, rng: Rng) -> Path:
    """Write a PNG of ``items`` random items and ``episodes`` random episodes, with captions.

    An episode is a row: the end of its history, oldest first, and the reference in a frame. Returns the path.
    Raises DataError for an image that cannot be decoded.
    """
    catalog = dataset.catalog
    shown = _drawn(len(catalog), items, rng.for_("items"))
    chosen = [dataset.episodes[k] for k in _drawn(len(dataset.episodes), episodes, rng.for_("episodes"))]
    cells: list[int] = [*shown, *[_NOTHING] * (-len(shown) % COLUMNS)]
    headings = {0: f"{dataset.name}: {len(shown):,} of {len(catalog):,} items"} if shown else {}
    marked = []
    for episode in chosen:
        headings[len(cells) // COLUMNS] = _heading(episode)
        history = episode.history[-(COLUMNS - 1) :]
        cells += [*history, episode.reference]
        marked.append(len(cells) - 1)
        cells += [_NOTHING] * (-len(cells) % COLUMNS)
    return contact_sheet(
        [_picture(catalog, row) for row in cells],
        [_words(catalog, row) for row in cells],
        COLUMNS,
        path,
        side=SIDE,
        lines=LINES,
        headings=headings,
        marked=marked,
    )


_NOTHING = -1


def _drawn(n: int, count: int, rng: Rng) -> Sequence[int]:
    """Return a random sample, sorted."""
    draw: list[int] = np.sort(rng.numpy().permutation(n)[:count]).tolist()
    return draw


def _heading(episode: Episode) -> str:
    n = len(episode.history)
    which = f"all {n}" if n < COLUMNS else f"the last {COLUMNS - 1} of {n}"
    return f"episode {episode.id} (person {episode.source_user}): {which} chosen, then, framed, the reference"


def _picture(catalog: Catalog, row: int) -> Image.Image | None:
    if row == _NOTHING or catalog.images is None or not catalog.images.present[row]:
        return None
    return catalog.images.read(row)


def _words(catalog: Catalog, row: int) -> str:
    if row == _NOTHING:
        return ""
    texts = (catalog.captions[row], catalog.titles[row], catalog.item_ids[row])
    return next(str(text).strip() for text in texts if str(text).strip())
