"""Worlds: what an image shows, and its utility for a person. Boutique is one; users can add their own.

A world is a class constructed as ``Class(dataset, models=…, device=…)`` that implements `World`; ``--world
module:Class`` selects it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import resolve
from recsim_gen.core.store import fingerprint
from recsim_gen.datasets.boutique.world import Boutique

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.core.types import Dataset
    from recsim_gen.models.attribute_reader import ImageVerifier
    from recsim_gen.models.family import ModelFamily

TRIED = 300
"""Number of items whose own image the reader is tested on."""


class World(Protocol):
    """The ground truth of a simulated shop.

    A look is a row of a (B, k) array of numbers; equal rows are one look.
    """

    @property
    def name(self) -> str:
        """Name in results."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that its answers depend on."""

    @property
    def outside(self) -> float:
        """Utility of choosing nothing; the noise of choices is standard Gumbel."""

    def looks(self, items: np.ndarray) -> np.ndarray:
        """Return (B, k) the true looks of items (B,)."""

    def read(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return (B, k) the looks that images show."""

    def utility(self, people: np.ndarray, looks: np.ndarray) -> np.ndarray:
        """Return (B,) the utility of looks (B, k) for people (B,), rows of the users, without noise."""

    def misread(self) -> float:
        """Return the share of real images whose look is read wrongly, as far as known."""


class BoutiqueWorld:
    """The shop's true preferences; looks are codes, and images are read by the family's attribute reader.

    ``outside`` 4.0: people of the shop take the best 1 to 2 of 100 items, and a look at that quantile of all
    looks has a utility of 2.2 standard deviations of 1.8, so that choosing nothing is as good as the last
    item that one would take. It was set after checking how often people then choose, before any arm was
    compared.
    """

    name = "boutique"
    outside = 4.0

    def __init__(self, dataset: Dataset, *, models: ModelFamily, device: str = "cpu") -> None:
        if not isinstance(dataset, Boutique):
            raise DataError(
                f"the preferences of {dataset.name} are unknown, so it has no world",
                remedy="Use --data boutique, or bring one: --world module:Class",
            )
        self._dataset, self._models, self._device = dataset, models, device

    @cached_property
    def fingerprint(self) -> str:
        """Hash of tastes, looks and reader."""
        return fingerprint(self.name, self._dataset.world, self._models.checkpoint("verifier").fingerprint)

    @cached_property
    def _reader(self) -> ImageVerifier:
        return self._models.verifier(device=self._device)

    def looks(self, items: np.ndarray) -> np.ndarray:
        """Return (B, 4) codes of category, main colour, second colour and pattern."""
        codes: np.ndarray = self._dataset.world.codes[items]
        return codes

    def read(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return the (B, 4) most likely codes, by the family's attribute reader."""
        import torch
        from PIL.Image import Resampling

        from recsim_gen.datasets.boutique.canvas import SIZE

        if not images:
            return np.empty((0, 4), dtype=np.int64)
        size = (SIZE, SIZE)
        fitted = [image if image.size == size else image.resize(size, Resampling.BICUBIC) for image in images]
        pixels = torch.from_numpy(np.stack([np.asarray(image.convert("RGB")) for image in fitted]))
        return self._reader.read(pixels.permute(0, 3, 1, 2).float() / 255).codes

    def utility(self, people: np.ndarray, looks: np.ndarray) -> np.ndarray:
        """Return (B,) V of the shop's formula (`datasets.boutique.world`)."""
        return self._dataset.utility(people, looks)

    def misread(self) -> float:
        """Return the share of wrong looks among the own images of a sample of items."""
        count = len(self._dataset.catalog)
        rows = Rng(0).for_("misread").numpy().permutation(count)[:TRIED]
        images = self._dataset.catalog.images
        assert images is not None
        read = self.read([images.read(row) for row in rows.tolist()])
        return float((read != self.looks(rows)).any(1).mean())


def open_world(name: str | None, dataset: Dataset, *, models: ModelFamily, device: str = "cpu") -> World:
    """Return the world ``module:Class`` of this data; Boutique's own for None.

    Raises SettingError for a class that does not exist or does not implement `World`, DataError if the data
    have no known preferences.
    """
    if name is None:
        return BoutiqueWorld(dataset, models=models, device=device)
    made: Callable[..., World] = resolve(name, {}, "world")
    world = made(dataset, models=models, device=device)
    lacking = [part for part in _PARTS if not hasattr(world, part)]
    if lacking:
        raise SettingError(f"world {name} lacks {', '.join(lacking)}: see {__name__}.World")
    return world


_PARTS: tuple[Any, ...] = ("name", "fingerprint", "outside", "looks", "read", "utility", "misread")
