"""Predicted human preference among images of one prompt: HPSv2 (Wu et al. 2023).

The cosine between prompt and image by a ViT-H-14 fine-tuned on human choices. According to its authors,
scores are only comparable between images of the same prompt; a mean over prompts depends on the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.store import fingerprint
from recsim_gen.metrics.clip_scores import mean_cosine
from recsim_gen.metrics.recipes import OURS, Recipe, Spec, chosen

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.metrics.resources import Resources
    from recsim_gen.metrics.rows import Rows

ORIGIN = "of xswu/HPSv2 on the hub, Apache-2.0 licence"
SIDE = 224


class Letterboxed:
    """An image encoder that sees the whole image: longer side scaled to ``side``, padded with black.

    This is HPSv2's preprocessing; CLIP crops the centre instead.
    """

    def __init__(self, encoder: Any, side: int = SIDE) -> None:
        self._encoder, self._side = encoder, side
        self.fingerprint = fingerprint("letterboxed", encoder.fingerprint, side)

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return (B, d) float32 features, not normalised."""
        features: np.ndarray = self._encoder.encode_images([letterbox(image, self._side) for image in images])
        return features

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, d) float32 features, not normalised."""
        features: np.ndarray = self._encoder.encode_texts(texts)
        return features


def letterbox(image: Image.Image, side: int) -> Image.Image:
    """Return the image centred in a black square, its longer side scaled to ``side`` pixels, bicubic."""
    from PIL import Image

    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new("RGB", (side, side))
    at = ((side - size[0]) // 2, (side - size[1]) // 2)
    square.paste(image.resize(size, Image.Resampling.BICUBIC), at)
    return square


class HPSv20:
    """HPSv2 with the weights of version 2.0."""

    file = "HPS_v2_compressed.pt"
    needs = ("prompt",)
    unit = "cosine"
    range = (-1.0, 1.0)
    higher_is_better: bool | None = True

    def __init__(self, spec: Spec, resources: Resources) -> None:
        self.name = str(spec)
        chosen({OURS: None}, spec)
        backbone = spec.backbone
        if backbone is None:
            backbone = f"open_clip:ViT-H-14/{resources.file(self.file, ORIGIN)}"
        self._encoder = Letterboxed(resources.encoder(backbone))
        self.recipe = Recipe(
            spec.recipe,
            backbone=f"ViT-H-14, {self.file}" if spec.backbone is None else backbone,
            weights=self._encoder.fingerprint,
            resize=f"longer side to {SIDE}, black around it",
            prompt="what the picture is asked to show: the reference's caption, the same for every method",
            note="compares only pictures of the same prompt",
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) scores in [−1, 1]."""
        shown = rows.store.images(self._encoder, rows.image)
        prompts = rows.store.texts(self._encoder, rows.get("prompt"))
        return mean_cosine(shown, prompts[:, None], np.ones((len(rows), 1), dtype=bool))


class HPSv21(HPSv20):
    """HPSv2 with the weights of version 2.1; not comparable with version 2.0."""

    file = "HPS_v2.1_compressed.pt"
