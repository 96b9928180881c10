"""Galleries by path, or by the name boutique: designs of the simulated shop."""

from __future__ import annotations

from pathlib import Path

from recsim_gen.datasets.gallery import Gallery, load
from recsim_gen.experiments.subjects.designs import BOUTIQUE, design_gallery, other_designs


def is_boutique(path: Path) -> bool:
    """Whether it names the shop's designs; a folder of that name is what it is."""
    return str(path) == BOUTIQUE and not path.exists()


def open_gallery(path: Path) -> Gallery:
    """The gallery of pictures to be found."""
    return load(design_gallery() if is_boutique(path) else path)


def open_others(path: Path | None) -> Gallery:
    """A gallery of other subjects than those to be drawn, by default the shop's."""
    return load(other_designs() if path is None else path)
