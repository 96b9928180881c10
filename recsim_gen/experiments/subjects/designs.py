"""Galleries of Boutique: a design is a subject, and what the shop's code draws of it are its pictures.

A group is a category, so that what has to be told apart is colours and pattern. Subjects are looks that the
models that ship never saw in training; the others, which adapters learn from, are looks that they did.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic, cache_dir, fingerprint
from recsim_gen.datasets.boutique.attributes import CATEGORIES, Attributes
from recsim_gen.datasets.boutique.drawing import render
from recsim_gen.datasets.boutique.images import DRAWING
from recsim_gen.pretraining.source import looks_by_split

BOUTIQUE = "boutique"
SUBJECTS, PICTURES = 10, 25  # designs of a category, and pictures of each
OTHERS, PICTURES_OF_OTHERS = 20, 4


def design_gallery() -> Path:
    """A folder ``<category>/<design>/<k>.png`` of 10 designs a category, in 25 pictures each; drawn once."""
    return _drawn("test", SUBJECTS, PICTURES)


def other_designs() -> Path:
    """The same of 20 other designs a category, in 4 pictures each."""
    return _drawn("train", OTHERS, PICTURES_OF_OTHERS)


def _drawn(split: str, designs: int, pictures: int) -> Path:
    rng = Rng(0).for_("designs", split)
    looks = rng.for_("looks").numpy().permutation(looks_by_split()[split])
    chosen = [looks[looks[:, 0] == category][:designs] for category in range(len(CATEGORIES))]
    code = [Path(str(module.__file__)).read_bytes() for module in DRAWING]
    key = fingerprint(np.concatenate(chosen), pictures, str(rng.entropy()), code)
    folder = cache_dir() / "designs" / key
    if folder.is_dir():
        return folder
    todo = [(Attributes.of(codes), k) for codes in np.concatenate(chosen) for k in range(pictures)]
    with atomic(folder) as temporary:
        for look, k in bar(todo, "designs: drawing", unit="picture"):
            name = f"{look.main}-{look.second}-{look.pattern}"
            file = temporary / look.category / f"{look.category}-{name}" / f"{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            render(look, rng.for_(look.category, name, k)).save(file)
    return folder
