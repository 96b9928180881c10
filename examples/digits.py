"""Data of one's own, in one function: scikit-learn's handwritten digits as a shop.

It needs no line in the library. With this folder on the path (``PYTHONPATH=examples``)::

    recsim-gen data check digits:shop
    recsim-gen train_ranker --data digits:shop --ranker popularity micro taste

The pictures are real, the people are made up: each likes two digits and bold or thin strokes, and takes what
fits best by a noisy look.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.sequences import Choices, whole

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE = 32


class Digits:
    """Pictures in memory: an ``ImageReader``."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._pixels = pixels

    @property
    def present(self) -> NDArray[Any]:
        """(n,) all of them."""
        return np.ones(len(self._pixels), dtype=bool)

    def read(self, row: int) -> Image.Image:
        """Return the digit, black on white."""
        grey = Image.fromarray((255 - 255 * self._pixels[row] / 16).astype(np.uint8))
        return grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all pixels."""
        return fingerprint(self._pixels)


def shop(n_items: int = 1000, n_users: int = 300, choices: int = 15, seed: int = 0) -> Dataset:
    """Return the digits with people who choose among them.

    Parameters
    ----------
    n_items
        The first of scikit-learn's 1,797 digits.
    n_users
        People.
    choices
        Of each person; the last is for test, the one before for validation.
    seed
        Of tastes and choices.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels, digit = found.images[:n_items], found.target[:n_items]
    ink = pixels.mean((1, 2))
    bold = (ink - ink.mean()) / ink.std()
    stroke = np.where(bold > 0, "bold", "thin")
    random = Rng(seed).for_("digits").numpy()
    liked = np.array([random.permutation(10)[:2] for _ in range(n_users)])
    utility = 3.0 * (digit == liked[:, :, None]).any(1) + random.choice([-1, 1], (n_users, 1)) * bold
    order = np.argsort(-(utility + random.gumbel(size=utility.shape)), axis=1)[:, :choices]
    catalog = Catalog(
        item_ids=np.array([f"d{row:04d}" for row in range(len(digit))]),
        titles=np.array([f"A {NAMES[k]}" for k in digit]),
        captions=np.array([f"a handwritten {NAMES[k]}, {how}" for k, how in zip(digit, stroke, strict=True)]),
        categories=np.array([NAMES[k] for k in digit]),
        images=Digits(pixels),
    )
    taken = np.array([random.permutation(row) for row in order])
    log = Choices(
        person=np.repeat(np.arange(n_users), choices),
        people=np.array([f"p{row:03d}" for row in range(n_users)]),
        item=taken.ravel(),
        time=np.tile(np.arange(choices, dtype=float), n_users),
        weight=np.ones(n_users * choices),
        tie=np.zeros(n_users * choices, dtype=int),
    )
    made = whole(log, len(catalog))
    encoders = {"image": "pixels", "text": "words"}
    return Dataset("digits", catalog, made.interactions, made.episodes, encoders, made.notes, made.people)
