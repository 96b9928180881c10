"""Galleries by path, or by the name boutique: designs of the simulated shop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recsim_gen.datasets.gallery import Gallery, load
from recsim_gen.experiments.subjects.designs import BOUTIQUE, design_gallery, other_designs


def is_boutique(path: Path) -> bool:
    """Return whether the path means the shop's designs; a folder of that name takes precedence."""
    return str(path) == BOUTIQUE and not path.exists()


def open_gallery(path: Path, groups: Sequence[str] = ()) -> Gallery:
    """Return the gallery of images to be found; for the shop only these ``groups`` are drawn."""
    return load(design_gallery(groups) if is_boutique(path) else path)


def open_others(path: Path | None, groups: Sequence[str] = ()) -> Gallery:
    """Return a gallery of subjects other than those to draw, by default the shop's, of these ``groups``."""
    return load(other_designs(groups) if path is None else path)
