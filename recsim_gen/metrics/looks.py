"""Attributes of an image of Boutique's kind, as read by the family's verifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import MissingDependency
from recsim_gen.core.store import fingerprint
from recsim_gen.metrics.recipes import OURS, Recipe, Spec, chosen

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.metrics.resources import Resources
    from recsim_gen.metrics.rows import Rows


class LookReader:
    """The verifier as an image encoder, so that a `FeatureStore` reads each image once.

    Features are integer codes (B, 4) of category, main colour, second colour and pattern.
    """

    def __init__(self, resources: Resources) -> None:
        self._verifier = resources.models.verifier(device=resources.device)
        self.weights = resources.models.checkpoint("verifier").fingerprint
        self.fingerprint = fingerprint("look", self.weights)
        self.backbone = f"attribute reader of {resources.models.name} models"

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return (B, 4) float32 codes."""
        import torch
        from PIL.Image import Resampling

        from recsim_gen.datasets.boutique.canvas import SIZE

        size = (SIZE, SIZE)
        fitted = [i if i.size == size else i.resize(size, Resampling.BICUBIC) for i in images]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in fitted]))
        codes: np.ndarray = self._verifier.read(pixels.permute(0, 3, 1, 2).float() / 255).codes
        return codes.astype(np.float32)

    def codes(self, rows: Rows) -> np.ndarray:
        """Return the (B, 4) int64 codes of the generated images."""
        return rows.store.images(self, rows.image).astype(np.int64)


class CategoryKept:
    """1 if the verifier reads the reference's category from the image, else 0."""

    needs = ("item",)
    unit = "share"
    range = (0.0, 1.0)
    higher_is_better: bool | None = True

    def __init__(self, spec: Spec, resources: Resources) -> None:
        from recsim_gen.datasets.boutique.attributes import CATEGORIES

        self.name = str(spec)
        chosen({OURS: None}, spec)
        if resources.dataset is None:
            raise MissingDependency("needs the data that the pictures were generated for")
        place = {category: code for code, category in enumerate(CATEGORIES)}
        categories = resources.dataset.catalog.categories
        if not set(categories.tolist()) <= set(place):
            raise MissingDependency(
                f"needs a verifier of the categories of {resources.dataset.name}: the one there is reads "
                "those of boutique alone"
            )
        self._category = np.array([place[category] for category in categories.tolist()])
        self._reader = LookReader(resources)
        self.recipe = Recipe(
            spec.recipe,
            backbone=self._reader.backbone,
            weights=self._reader.weights,
            resize="to 64 x 64, bicubic",
            input_range="[0, 1]",
            note="category as read from the pixels",
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return (B,) in {0, 1}."""
        return (self._reader.codes(rows)[:, 0] == self._category[rows.get("item")]).astype(np.float64)
