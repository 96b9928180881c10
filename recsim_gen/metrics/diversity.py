"""Measures whether a method draws different images for different users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.vectors import unit
from recsim_gen.metrics.clip_scores import VIT_L_14
from recsim_gen.metrics.recipes import OURS, Recipe, Spec, chosen

if TYPE_CHECKING:
    from recsim_gen.metrics.resources import Resources
    from recsim_gen.metrics.rows import Rows


class Diversity:
    """1 − mean cosine with the images that the same method drew of the same item for other users.

    0: everyone gets the same image. Large values alone are no merit, since noise has them too. NaN if no
    other user has an image of the item. Methods are distinguished by the label ``variant``.
    """

    needs = ("item", "user")
    unit = "1 - cosine"
    range = (0.0, 2.0)
    higher_is_better: bool | None = None

    def __init__(self, spec: Spec, resources: Resources) -> None:
        self.name = str(spec)
        chosen({OURS: None}, spec)
        backbone = spec.backbone or VIT_L_14
        self._encoder = resources.encoder(backbone)
        self.recipe = Recipe(
            spec.recipe,
            backbone=backbone,
            weights=self._encoder.fingerprint,
            resize="as the backbone prepares pictures",
            note="between users, same item and method; pictures of the same user do not count",
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) values in [0, 2]."""
        variant = rows.labels.get("variant", np.zeros(len(rows), dtype=np.int64))
        _, method = np.unique(variant, return_inverse=True)
        x = rows.store.images(self._encoder, rows.image)
        return between_users(x, method, rows.get("item"), rows.get("user"))


def between_users(x: np.ndarray, method: np.ndarray, item: np.ndarray, user: np.ndarray) -> np.ndarray:
    """Return (B,) 1 − mean cosine of each row of ``x`` (B, d) with those of other users.

    Only rows of the same method and item count. Computed from sums, so that B images of one item cost O(B·d),
    not O(B²·d).
    """
    x = unit(x, np.float64)
    everyone, n = _group_sums(x, np.stack([method, item], 1))
    own, n_own = _group_sums(x, np.stack([method, item, user], 1))
    others = np.einsum("bd,bd->b", x, everyone - own)
    count = n - n_own
    return 1 - np.divide(others, count, out=np.full(len(x), np.nan), where=count > 0)


def _group_sums(x: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum (B, d) and size (B,) of each row's group; a group has equal rows of ``keys``."""
    _, group, size = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    total = np.zeros((len(size), x.shape[1]))
    np.add.at(total, group, x)
    return total[group], size[group]
