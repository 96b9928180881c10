"""A ranker as judge of images of references, for rewards and for the selection of candidates (Eq. 13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.protocols import ContentJudge

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.types import Catalog, Episode, Scope

SAME = 1e-3  # tolerance for recomputed features, relative to their length


class PictureJudge:
    """Evaluates images put onto the references of episodes by a ranker.

    Parameters
    ----------
    ranker
        The ranker.
    encoder
        Encoder of its image features.
    doubt
        κ ≥ 0: standard deviations subtracted for a lower bound, if the ranker reports its uncertainty.
    scope
        As for `Ranker.substitute`, for other rankers.
    """

    def __init__(self, ranker: Ranker, encoder: Any, *, doubt: float, scope: Scope) -> None:
        self.ranker, self.encoder, self.doubt, self.scope = ranker, encoder, doubt, scope

    def scores(self, episodes: Sequence[Episode], pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return ρ (B, T) of references with images (B, T, 3, H, W), and with their own (B,) (Eq. 13)."""
        b, t = pixels.shape[:2]
        features = self.encoder.encode_images(pictures(pixels.flatten(0, 1)))
        users, items = (np.repeat([getattr(e, name) for e in episodes], t) for name in ("user", "reference"))
        answer = self.ranker.substitute(users, items, {"image": features}, scope=self.scope)
        score = torch.from_numpy(np.asarray(answer.score, dtype=np.float64)).reshape(b, t)
        original = torch.from_numpy(np.asarray(answer.original_score, dtype=np.float64)).reshape(b, t)[:, 0]
        return score, original

    def bounds(self, episodes: Sequence[Episode], pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same as lower bounds, mean − κ·sd, of the opinions of people with these histories.

        The reference counts as part of the history. For a ranker that does not report its uncertainty:
        `scores`.
        """
        if not isinstance(self.ranker, ContentJudge):
            return self.scores(episodes, pixels)
        b, t = pixels.shape[:2]
        features = self.encoder.encode_images(pictures(pixels.flatten(0, 1)))
        histories = [np.array([*e.history, e.reference]) for e in episodes]
        items = np.array([e.reference for e in episodes])
        each = [history for history in histories for _ in range(t)]
        new = self.ranker.appraise(each, np.repeat(items, t), {"image": features})
        own = self.ranker.appraise(histories, items, {})
        lower = (new.mean - self.doubt * new.sd).reshape(b, t)
        return torch.from_numpy(lower), torch.from_numpy(own.mean)


def pictures(pixels: Tensor) -> list[Image.Image]:
    """Return 8-bit images, as they are saved and judged, of (B, 3, H, W) in [0, 1]."""
    from PIL import Image

    levels = (pixels.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return [Image.fromarray(x) for x in levels]


def check_encoder(catalog: Catalog, encoder: Any, spec: str) -> None:
    """Raise DataError unless ``encoder`` made the image features of the catalogue, tested on one image."""
    if "image" not in catalog.features:
        raise DataError(
            f"image features, which the ranker was trained on, are wanted; have {sorted(catalog.features)}",
            remedy="Encode the catalogue before",
        )
    if catalog.images is None or not catalog.images.present.any():
        raise DataError("pictures are wanted, the catalogue has none")
    if not hasattr(encoder, "encode_images"):
        raise SettingError(f"encoder: one of images is wanted, got {spec!r}")
    row = int(catalog.images.present.argmax())
    own = catalog.features["image"][row]
    again = np.asarray(encoder.encode_images([catalog.images.read(row)]))[0]
    alike = again.shape == own.shape and np.linalg.norm(again - own) <= SAME * np.linalg.norm(own)
    if not alike:
        raise DataError(
            f"the encoder {spec!r} does not give the picture of item {str(catalog.item_ids[row])!r} the "
            f"feature that the ranker knows ({len(again)} numbers made, {len(own)} known)",
            remedy="Set `encoder` to the one that made the ranker's image features",
        )
