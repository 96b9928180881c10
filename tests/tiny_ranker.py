"""A ranker whose answer is certain: people like bright pictures, all of them alike."""

from __future__ import annotations

import numpy as np

from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Appraisal, Counterfactual


class Brightness:
    """An image encoder of one number: how bright a picture is, and 1 beside it."""

    fingerprint = "brightness"

    def __init__(self, *, device: str = "cpu") -> None:
        self.device = device

    def encode_images(self, images):
        """(B, 2) float32."""
        return np.array([[np.asarray(x).mean() / 255, 1] for x in images], dtype=np.float32)


class LikesBright:
    """The score of an item is its brightness times ``sign``."""

    name = "likes_bright"

    def __init__(self, catalog, sign: float = 1.0) -> None:
        self.catalog, self.sign, self.asked = catalog, sign, 0

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.name, self.sign)

    def substitute(self, users, items, features, scope="graph"):
        """As of every ranker."""
        self.asked += 1
        score = self.sign * features["image"][:, 0].astype(np.float64)
        own = self.sign * self.catalog.features["image"][items, 0].astype(np.float64)
        one = np.ones(len(items))
        return Counterfactual(scope, score, one, own, one, one.astype(int), one)


class SureOfBright(LikesBright):
    """The same as a content judge that has no doubt."""

    name = "sure_of_bright"

    def appraise(self, histories, items, features):
        """As of every content judge."""
        x = features.get("image", self.catalog.features["image"][items])
        return Appraisal(self.sign * x[:, 0].astype(np.float64), np.zeros(len(items)))
