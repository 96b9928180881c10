"""Popularity: the most chosen items for every user, the baseline of all rankers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rankers.base import check_catalog, check_histories, check_users
from rankers.checkpoint import other_data, read_about, write
from rankers.configs import PopularityConfig, config_from
from rankers.counterfactual import Counterfactuals, InteractionMask
from recsim_gen.core.errors import SettingError
from recsim_gen.core.protocols import OnEpoch
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Catalog, Interactions


class Popularity(Counterfactuals):
    """Score of an item = how often it was chosen in training; equal for all users."""

    name = "popularity"
    config_class = PopularityConfig
    training_version = 4

    def __init__(self, *, device: str = "cpu", **settings: Any) -> None:
        self.config = config_from(PopularityConfig, settings)
        self.device = device
        self.count: Tensor | None = None
        self.n_users = 0
        self._data = ""
        self.valid: dict[str, float] = {}
        self.best_epoch = 0

    def fit(
        self, catalog: Catalog, interactions: Interactions, *, rng: Rng, on_epoch: OnEpoch | None = None
    ) -> Popularity:
        """Count the choices of the train split."""
        check_catalog(catalog, interactions)
        count = np.bincount(interactions.only("train")[1], minlength=len(catalog))
        self.count = torch.from_numpy(count).float().to(self.device)
        self.n_users, self._data = interactions.n_users, self._data_fingerprint(catalog, interactions)
        self._mask = InteractionMask.of(*interactions.only("train", "valid"), self.n_users, self.device)
        return self

    @staticmethod
    def _data_fingerprint(catalog: Catalog, interactions: Interactions) -> str:
        return fingerprint(catalog.item_ids, interactions.fingerprint)

    def _exact_tables(self) -> tuple[Tensor, Tensor]:
        items = self._counted().double()[:, None]
        return items.new_ones(self.n_users, 1), items

    def _counted(self) -> Tensor:
        if self.count is None:
            raise SettingError("this popularity was neither fitted nor loaded")
        return self.count

    @property
    def fingerprint(self) -> str:
        """Hash of data and counts."""
        return fingerprint(self.name, self._data, self._counted().cpu().numpy())

    def score(self, users: np.ndarray) -> Tensor:
        """Return the (B, n) counts."""
        count = self._counted()
        users = check_users(users, self.n_users)
        return count.expand(len(users), -1).clone()

    def fold_in(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Return the (B, n) counts."""
        count = self._counted()
        check_histories(histories, len(count))
        return count.expand(len(histories), -1).clone()

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` atomically."""
        about = {"settings": {}, "data": self._data, "fingerprint": self.fingerprint}
        write(folder, self.name, about, {"count": self._counted().cpu()})

    @classmethod
    def load(
        cls, folder: str | Path, catalog: Catalog, interactions: Interactions, *, device: str = "cpu"
    ) -> Popularity:
        """Load what `save` wrote; raise DataError if another ranker or other data made it."""
        about = read_about(Path(folder), cls.name)
        ranker = cls(device=device).fit(catalog, interactions, rng=Rng(0))  # faster than reading the counts
        if about["data"] != ranker._data:
            raise other_data(Path(folder))
        return ranker
