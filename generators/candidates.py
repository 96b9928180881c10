"""Selects the image that best fits both the request and the person's taste (PMG, Shen et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from generators.denoising import with_images
from generators.image_prompts import ImageVectors, family_encoder
from generators.prompts import prompt_of
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.vectors import unit

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.types import Catalog, Episode
    from recsim_gen.models.family import ModelFamily

FLOOR = 0.01  # lower bound of cosines, so that their logarithm exists


def fit_of(pictures: np.ndarray, target: np.ndarray, liked: np.ndarray) -> np.ndarray:
    """Return log d_target + 2·log d_style (C,) of the vectors of C ``pictures`` (C, D).

    d_target: cosine with ``target`` (D,). d_style: mean cosine with ``liked`` (H, D). Both at least 0.01.
    """
    x = unit(pictures)
    d_target = np.maximum(x @ unit(target[None])[0], FLOOR)
    d_style = np.maximum((x @ unit(liked).T).mean(1), FLOOR)
    fit: np.ndarray = np.log(d_target) + 2 * np.log(d_style)
    return fit


class Choice:
    """Selects among images of an episode by `fit_of`, with the vectors of the family's image encoder.

    The target is the prompt of the reference, if texts and images share an encoder (CLIP), or the image of
    the reference; the liked images are those of the history.
    """

    def __init__(
        self, family: ModelFamily, device: str | None, catalog: Catalog, *, template: str | None
    ) -> None:
        if template is not None and family.models.text_encoder != family.models.image_encoder:
            raise SettingError(
                f"{family.name} models: pictures are compared with texts, but image_encoder and text_encoder "
                "are two models; set target: picture"
            )
        self._family, self._device, self._catalog, self._template = family, device, catalog, template
        self._encode = family_encoder(family, device)
        self._vectors = ImageVectors(catalog, self._encode)

    def best(self, pictures: Sequence[torch.Tensor], episode: Episode) -> int:
        """Return the index of the best of ``pictures`` (3, H, W) in [0, 1]; the first if tied.

        Raises DataError if no item of the history has an image, or the target's text or image is missing.
        """
        from PIL import Image

        liked = with_images(self._catalog, episode.history)
        if not liked:
            raise DataError(
                f"episode {episode.id}: a history with pictures is wanted to choose by, none of its "
                f"{len(episode.history)} items has one",
                remedy="Leave it out, or set candidates: 1",
            )
        levels = [(x.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8) for x in pictures]
        vectors = np.stack([self._encode(Image.fromarray(one)) for one in levels])
        target = self._target(episode.reference)
        return int(fit_of(vectors, target, self._vectors.of(liked).numpy()).argmax())

    def _target(self, row: int) -> np.ndarray:
        if self._template is None:
            return self._vectors.of([row])[0].numpy()
        text = prompt_of(self._catalog, row, self._template)
        vector: np.ndarray = self._family.text_encoder(device=self._device).encode_texts([text])[0]
        return vector
