"""Data that the models of a family are trained and evaluated on: images with texts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import cached_array, fingerprint
from recsim_gen.core.types import SPLITS, Dataset
from recsim_gen.datasets.boutique.attributes import CATEGORIES, Attributes, all_codes
from recsim_gen.datasets.boutique.canvas import SIZE
from recsim_gen.datasets.boutique.images import RenderedImages
from recsim_gen.datasets.boutique.world import Boutique

if TYPE_CHECKING:
    import torch
    from PIL import Image

RENDERS = 24_000
N_TEST = 1_000
VALID_RENDERS = 3  # renders of each validation look
HELD_OUT_LOOKS = 0.2
HELD_OUT_ITEMS, VALID_ITEMS = 0.1, 0.02

HELD_OUT = Rng(0).for_("pretraining", "held out")
"""Stream that selects the held-out looks and items: the same for every seed, to compare families."""


@dataclass(frozen=True, eq=False)
class PretrainingSource:
    """n images with texts; row i of all fields belongs together.

    Parameters
    ----------
    pictures
        (n, s, s, 3) uint8 RGB, possibly memory-mapped.
    captions, titles, categories
        n strings.
    attributes
        (n, 4) int codes, None if the catalogue has none.
    split
        (n,) train, valid or test.
    dataset
        The data set that they come from.
    rng
        Stream of the renders.
    """

    dataset: Dataset
    images: np.ndarray
    captions: list[str]
    titles: list[str]
    categories: list[str]
    attributes: np.ndarray | None
    split: np.ndarray
    rng: Rng

    def __post_init__(self) -> None:
        n = len(self.images)
        for name in ("captions", "titles", "categories", "split"):
            if len(getattr(self, name)) != n:
                raise DataError(f"{name} must have {n} rows, one per picture, got {len(getattr(self, name))}")
        if self.attributes is not None and self.attributes.shape != (n, 4):
            raise DataError(f"attributes must be ({n}, 4), got {self.attributes.shape}")
        if unknown := set(np.unique(self.split).tolist()) - set(SPLITS):
            raise DataError(f"split must be one of {SPLITS}, got {sorted(unknown)}")
        if not len(self.rows("train")):
            raise DataError("a source must have a picture to train on, got none", remedy="Add items")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def heldout(self) -> np.ndarray:
        """(n,) bool: rows that must not be trained on (valid and test)."""
        return self.split != "train"

    def rows(self, split: str) -> np.ndarray:
        """Return the rows of one split, ascending."""
        return np.flatnonzero(self.split == split)

    def pixels(self, rows: np.ndarray) -> torch.Tensor:
        """Return (B, 3, s, s) float32 RGB in [0, 1] of these rows."""
        import torch

        chosen = torch.from_numpy(np.ascontiguousarray(self.images[rows]))
        return chosen.permute(0, 3, 1, 2).float() / 255

    def draw(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return ``count`` rows of the train split, uniformly with replacement."""
        train = self._train
        return train[generator.integers(len(train), size=count)]

    @cached_property
    def _train(self) -> np.ndarray:
        return self.rows("train")

    @cached_property
    def fingerprint(self) -> str:
        """Hash of images, texts and split."""
        words = [np.array(x) for x in (self.captions, self.titles, self.categories)]
        return fingerprint(np.asarray(self.images), words, self.attributes, self.split)

    def other_renders(
        self, name: str, renders: int = RENDERS, *, every_look: bool = False
    ) -> PretrainingSource:
        """Return a source with renders from the stream ``name``; the same looks are held out.

        ``every_look``: its train split includes the held-out looks, for models that only measure. Raises
        SettingError for a catalogue that is not drawn by code.
        """
        if not isinstance(self.dataset, Boutique):
            raise SettingError(f"only boutique can be drawn again, {self.dataset.name!r} is what it is")
        return _renders(self.dataset, renders, self.rng.for_(name), every_look=every_look)


def open_source(dataset: Dataset, *, renders: int = RENDERS, size: int = SIZE, rng: Rng) -> PretrainingSource:
    """Return the data to train a family for this catalogue on.

    Boutique: ``renders`` images of looks that are not held out, each look equally often with its own jitter
    and caption; one image of 1,000 held-out looks (test) and three of each remaining held-out look (valid);
    20% of the 5,400 looks are held out. Any other catalogue: its items with an image, fitted into
    ``size``×``size`` and padded with the border's colour, 10% of them for test and 2% for valid.

    Raises SettingError for Boutique with a size other than its own, DataError for a catalogue without images.
    """
    if isinstance(dataset, Boutique):
        if size != SIZE:
            raise SettingError(f"boutique is drawn at {SIZE}×{SIZE}, got size={size}: leave it out")
        return _renders(dataset, renders, rng, every_look=False)
    return _items(dataset, size, rng)


def looks_by_split() -> dict[str, np.ndarray]:
    """Return (m, 4) looks of Boutique in train, valid and test: 4,320, 80 and 1,000 of the 5,400."""
    looks = np.concatenate([all_codes(category) for category in CATEGORIES])
    mixed = looks[HELD_OUT.for_("looks").numpy().permutation(len(looks))]
    held_out = round(HELD_OUT_LOOKS * len(looks))
    return {"test": mixed[:N_TEST], "valid": mixed[N_TEST:held_out], "train": mixed[held_out:]}


def _renders(dataset: Boutique, renders: int, rng: Rng, *, every_look: bool) -> PretrainingSource:
    by_split = looks_by_split()
    to_train = np.concatenate(list(by_split.values())) if every_look else by_split["train"]
    order = rng.for_("order").numpy().permutation(renders) % len(to_train)  # each look equally often
    parts = {
        "train": to_train[order],
        "valid": np.repeat(by_split["valid"], VALID_RENDERS, axis=0),
        "test": by_split["test"],
    }
    codes = np.concatenate(list(parts.values()))
    templates = rng.for_("captions").numpy().integers(2**31, size=len(codes))
    looks = [Attributes.of(look) for look in codes]
    names = np.array([f"render{i:06d}" for i in range(len(codes))])
    return PretrainingSource(
        dataset=dataset,
        images=RenderedImages(codes, names, rng.for_("pictures")).pixels,
        captions=[look.caption(int(t)) for look, t in zip(looks, templates, strict=True)],
        titles=[look.title for look in looks],
        categories=[look.category for look in looks],
        attributes=codes,
        split=np.repeat(list(parts), [len(part) for part in parts.values()]),
        rng=rng,
    )


def _items(dataset: Dataset, size: int, rng: Rng) -> PretrainingSource:
    catalog = dataset.catalog
    images = catalog.images
    if images is None or not images.present.any():
        raise DataError(
            f"wanted pictures to train on, {dataset.name} has none", remedy="Name a data set with pictures"
        )
    rows = np.flatnonzero(images.present)

    def fit_all() -> np.ndarray:
        shown = bar(rows.tolist(), f"{dataset.name}: fitting pictures", unit="picture")
        return np.stack([_fitted(images.read(row), size) for row in shown])

    place = HELD_OUT.for_("items").numpy().permutation(len(rows)) / len(rows)
    split = np.select(
        [place < HELD_OUT_ITEMS, place < HELD_OUT_ITEMS + VALID_ITEMS], ["test", "valid"], "train"
    )
    return PretrainingSource(
        dataset=dataset,
        images=cached_array("pretraining", fingerprint(images.fingerprint, rows, size), fit_all),
        captions=catalog.captions[rows].tolist(),
        titles=catalog.titles[rows].tolist(),
        categories=catalog.categories[rows].tolist(),
        attributes=None,
        split=split,
        rng=rng,
    )


def _fitted(image: Image.Image, size: int) -> np.ndarray:
    """Return (size, size, 3) uint8: the whole image centred, padded with the mean colour of its border."""
    from PIL import Image, ImageOps

    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = border.mean(0).round().astype(int).tolist()
    padded = ImageOps.pad(image, (size, size), Image.Resampling.LANCZOS, color=(red, green, blue))
    return np.asarray(padded)
