"""Rankers whose answer is certain: people like bright pictures, all of them alike, or one item."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from rankers.search import Range
from recsim_gen.core.registry import with_settings
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


@dataclass(frozen=True)
class FavouriteConfig:
    """Settings of `Favourite`."""

    item: int = 0  # row that it puts first

    search_space: ClassVar = {"item": Range(0, 9)}


class Favourite:
    """One item first and all others tied, as its only setting says; ``trained`` tells every item of a fit."""

    name = "favourite"
    config_class = FavouriteConfig
    training_version = 1
    trained: ClassVar[list[int]] = []

    def __init__(self, *, device="cpu", **settings):
        self.config = with_settings(FavouriteConfig, settings)

    @property
    def fingerprint(self):
        return fingerprint(self.name, self.config.item)

    def fit(self, catalog, interactions, *, rng, on_epoch=None):
        """Learns nothing."""
        self.n_items = len(catalog)
        self.trained.append(self.config.item)
        return self

    def score(self, users):
        """(B, n)."""
        scores = torch.zeros(len(users), self.n_items)
        scores[:, self.config.item] = 1
        return scores

    def save(self, folder):
        """Its config alone."""
        Path(folder).mkdir(parents=True)
        (Path(folder) / "config.json").write_text(json.dumps({"item": self.config.item, "n": self.n_items}))

    @classmethod
    def load(cls, folder, catalog, interactions, *, device="cpu"):
        """Read what ``save`` wrote."""
        about = json.loads((Path(folder) / "config.json").read_text())
        ranker = cls(item=about["item"])
        ranker.n_items = about["n"]
        return ranker
