"""Captions from files beside the images, and substitutes for items that have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_gen.datasets.files.json_files import Fields, read_json
from recsim_gen.datasets.files.paths import first_existing

LONGEST = 600  # characters: twice what CLIP reads; a column is as wide as its longest text


@dataclass(frozen=True, eq=False)
class Described:
    """``captions`` (n,) str, none empty; ``told``: number of items with a caption of their own; notes."""

    captions: np.ndarray
    told: int
    notes: tuple[str, ...]


def captions_beside(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return {item id: caption} from the first of the JSON files ``names`` in the folder, or an empty dict.

    Raises DataError for a file that is not an object of texts.
    """
    file = first_existing(folder, names)
    if file is None:
        return {}
    return Fields.of(read_json(file), file, "top level").texts()


def described(own: Sequence[str], otherwise: np.ndarray, *, longest: int = LONGEST) -> Described:
    """Return each item's own caption, or ``otherwise`` (n,) if it is empty; cut at ``longest``."""
    given = np.array([bool(caption) for caption in own], dtype=bool)
    notes = []
    if long := sum(len(caption) > longest for caption in own):
        notes.append(f"{long:,} captions cut at {longest:,} characters")
    if given.any() and not given.all():
        notes.append(f"{(~given).sum():,} of {len(given):,} items without caption: other words stand for it")
    cut = np.array([caption[:longest] for caption in own], dtype=str)
    return Described(np.where(given, cut, otherwise), int(given.sum()), tuple(notes))


def missing_images(present: np.ndarray, what: str = "items") -> tuple[str, ...]:
    """Return a note with the number of rows without an image, if there are any. ``present`` (n,) bool."""
    missing = int((~present).sum())
    return (f"{missing:,} {what} without picture: mean image feature, flagged as absent",) if missing else ()
