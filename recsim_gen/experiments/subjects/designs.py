"""Galleries of Boutique: a design is a subject, and its renderings are its images.

A group is a category, so subjects differ in colours and pattern. They have looks that the embedded models
never saw in training; the other designs, which adapters are trained on, have looks from the training.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.store import atomic, cache_dir, fingerprint
from recsim_gen.datasets.boutique.attributes import CATEGORIES, Attributes
from recsim_gen.datasets.boutique.drawing import render
from recsim_gen.datasets.boutique.images import DRAWING
from recsim_gen.pretraining.source import looks_by_split

BOUTIQUE = "boutique"
SUBJECTS, PICTURES = 6, 20  # designs per category, and images of each
OTHERS, PICTURES_OF_OTHERS = 12, 4


def design_gallery(categories: Sequence[str] = ()) -> Path:
    """Return a folder of 6 designs of each of these categories (none: all), with 20 images each; drawn once.

    Raises DataError for an unknown category.
    """
    return _drawn("test", SUBJECTS, PICTURES, categories)


def other_designs(categories: Sequence[str] = ()) -> Path:
    """Return the same for 12 other designs of each category, with 4 images each."""
    return _drawn("train", OTHERS, PICTURES_OF_OTHERS, categories)


def _drawn(split: str, designs: int, pictures: int, categories: Sequence[str]) -> Path:
    for name in categories:
        if name not in CATEGORIES:
            raise DataError(f"no group {name!r}.{did_you_mean(name, CATEGORIES)}")
    rng = Rng(0).for_("designs", split)
    looks = rng.for_("looks").numpy().permutation(looks_by_split()[split])
    selected = [CATEGORIES.index(name) for name in CATEGORIES if name in categories or not categories]
    chosen = np.concatenate([looks[looks[:, 0] == category][:designs] for category in selected])
    code = [Path(str(module.__file__)).read_bytes() for module in DRAWING]
    folder = cache_dir() / "designs" / fingerprint(chosen, pictures, str(rng.entropy()), code)
    if folder.is_dir():
        return folder
    todo = [(Attributes.of(codes), k) for codes in chosen for k in range(pictures)]
    rows = [("file", "identity", "group")]
    with atomic(folder) as temporary:
        for look, k in bar(todo, "designs: drawing", unit="picture"):
            name = f"{look.category}-{look.main}-{look.second}-{look.pattern}"
            file = temporary / name / f"{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            render(look, rng.for_(name, k)).save(file)
            rows.append((f"{name}/{k}.png", name, look.category))
        with (temporary / "designs.csv").open("w", encoding="utf-8", newline="") as table:
            csv.writer(table).writerows(rows)
    return folder
