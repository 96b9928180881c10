"""Galleries by path, or by the name boutique: designs of the simulated shop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recsim_gen.datasets.gallery import Gallery, load
from recsim_gen.experiments.subjects.designs import BOUTIQUE, design_gallery, other_designs


def is_boutique(path: Path) -> bool:
    """Whether it names the shop's designs; a folder of that name is what it is."""
    return str(path) == BOUTIQUE and not path.exists()


def open_gallery(path: Path, groups: Sequence[str] = ()) -> Gallery:
    """The gallery of pictures to be found; of the shop these ``groups`` alone are drawn."""
    return load(design_gallery(groups) if is_boutique(path) else path)


def open_others(path: Path | None, groups: Sequence[str] = ()) -> Gallery:
    """A gallery of other subjects than those to be drawn, by default the shop's of these ``groups``."""
    return load(other_designs(groups) if path is None else path)
