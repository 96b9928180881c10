"""Image vectors, for generators that are conditioned on images: each image is encoded alone and once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from generators.images import image_of

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.core.types import Catalog
    from recsim_gen.models.family import ModelFamily

Encode = Callable[["Image.Image"], np.ndarray]
"""Maps an image to its vector (D,)."""

EncodePatches = Callable[["Image.Image | None"], np.ndarray]
"""Maps an image to the vectors of its patches (S, D)."""


class ImageVectors:
    """Vectors of a catalogue's images.

    Each is encoded alone, so that its last bits do not depend on other images.
    """

    def __init__(self, catalog: Catalog, encode: Encode) -> None:
        self._catalog, self._encode = catalog, encode
        self._known: dict[int, np.ndarray] = {}

    def of(self, rows: Sequence[int]) -> torch.Tensor:
        """Return (n, D) float32. Raises DataError for an item without an image."""
        import torch

        for row in rows:
            if row not in self._known:
                self._known[row] = self._encode(image_of(self._catalog, row))
        return torch.from_numpy(np.stack([self._known[row] for row in rows]))


def family_encoder(family: ModelFamily, device: str | None) -> Encode:
    """Return the family's image encoder."""
    encoder = family.image_encoder(device=device)
    return lambda picture: encoder.encode_images([picture])[0]


def family_patches(family: ModelFamily, device: str | None) -> EncodePatches:
    """Return the family's image encoder for patches; None as input means an image of zeros."""
    import torch
    from PIL import Image

    encoder = family.image_encoder(device=device)

    def encode(picture: Image.Image | None) -> np.ndarray:
        pixels = encoder.pixel_values([picture or Image.new("RGB", (32, 32))])
        states: np.ndarray = encoder.patch_states(torch.zeros_like(pixels) if picture is None else pixels)[0]
        return states

    return encode


def adapter_encoder(family: ModelFamily, device: str | None) -> Encode:
    """Return the image encoder of the family's IP-Adapter: projected features of CLIP."""
    see = _adapter_vision(family, device)

    def encode(picture: Image.Image) -> np.ndarray:
        vector: np.ndarray = see(picture, False).image_embeds[0].float().cpu().numpy()
        return vector

    return encode


def adapter_patches(family: ModelFamily, device: str | None) -> EncodePatches:
    """Return the patches of that encoder, from its penultimate layer; None as input means zeros."""
    see = _adapter_vision(family, device)

    def encode(picture: Image.Image | None) -> np.ndarray:
        states: np.ndarray = see(picture, True).hidden_states[-2][0].float().cpu().numpy()
        return states

    return encode


def _adapter_vision(family: ModelFamily, device: str | None) -> Callable[[Image.Image | None, bool], Any]:
    """Return the encoder applied to an image (None: zeros); the flag requests the states of all layers."""
    import torch
    from PIL import Image
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    from recsim_gen.core.processes import this_process

    place = device or str(this_process().device)
    checkpoint = family.checkpoint("ip_adapter")
    folder = "models/image_encoder"
    model = checkpoint.load_model(CLIPVisionModelWithProjection, torch.float32, subfolder=folder).to(place)
    side = model.config.image_size
    processor = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})

    def see(picture: Image.Image | None, states: bool) -> Any:
        """Return the encoder's output for an image; None: zeros in place of its pixels."""
        blank = Image.new("RGB", (side, side))
        pixels = processor(images=picture or blank, return_tensors="pt")["pixel_values"].to(place)
        with torch.inference_mode():
            shown = torch.zeros_like(pixels) if picture is None else pixels
            return model(pixel_values=shown, output_hidden_states=states)

    return see
