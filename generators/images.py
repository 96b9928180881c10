"""Images of a catalogue in the form that generators return."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.core.types import Catalog


def image_of(catalog: Catalog, row: int) -> Image.Image:
    """Return the image of an item as RGB. Raises DataError if it has none."""
    if catalog.images is None or not catalog.images.present[row]:
        item = catalog.item_ids[row]
        raise DataError(f"item {item!r} has no picture", remedy="Leave out the episodes that need it")
    return catalog.images.read(row)


def to_pixels(image: Image.Image, size: int = 0) -> torch.Tensor:
    """Return (3, H, W) float32 in [0, 1], scaled to side ``size`` unless that is 0."""
    import torch

    if size and image.size != (size, size):
        from PIL import Image

        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image, dtype=np.float32) / 255).permute(2, 0, 1).contiguous()
