"""Pictures as vectors, for those that are told by pictures: each encoded alone and once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from generators.images import image_of

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.core.types import Catalog
    from recsim_gen.models.family import ModelFamily

Encode = Callable[["Image.Image"], np.ndarray]
"""A picture to its vector (D,)."""


class ImageVectors:
    """Vectors of a catalogue's pictures.

    Each is encoded alone, so that its last bits do not depend on those encoded with it.
    """

    def __init__(self, catalog: Catalog, encode: Encode) -> None:
        self._catalog, self._encode = catalog, encode
        self._known: dict[int, np.ndarray] = {}

    def of(self, rows: Sequence[int]) -> torch.Tensor:
        """(n, D) float32. Raises DataError for an item without picture."""
        import torch

        for row in rows:
            if row not in self._known:
                self._known[row] = self._encode(image_of(self._catalog, row))
        return torch.from_numpy(np.stack([self._known[row] for row in rows]))


def family_encoder(family: ModelFamily, device: str | None) -> Encode:
    """The family's own image encoder."""
    encoder = family.image_encoder(device=device)
    return lambda picture: encoder.encode_images([picture])[0]


def adapter_encoder(family: ModelFamily, device: str | None) -> Encode:
    """The image encoder that came with the family's IP-Adapter: projected features of CLIP."""
    import torch
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    from recsim_gen.core.processes import this_process

    place = device or str(this_process().device)
    checkpoint = family.checkpoint("ip_adapter")
    folder = "models/image_encoder"
    model = checkpoint.load_model(CLIPVisionModelWithProjection, torch.float32, subfolder=folder).to(place)
    side = model.config.image_size
    processor = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})

    def encode(picture: Image.Image) -> np.ndarray:
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"].to(place)
        with torch.inference_mode():
            vector: np.ndarray = model(pixel_values=pixels).image_embeds[0].float().cpu().numpy()
        return vector

    return encode
