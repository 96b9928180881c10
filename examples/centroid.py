"""A ranker of one's own, in one file: people like what looks like the mean of what they chose.

It needs no line in the library. With this folder on the path (``PYTHONPATH=examples``)::

    recsim-gen train_ranker --ranker centroid:Centroid taste
    recsim-gen judge --judges centroid:Centroid-seed0 --images my_images

`tests/contracts/test_examples.py` tests it by the suite that all rankers pass, from `recsim_gen.testing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankers.base import check_catalog, check_histories, check_triples, check_users
from rankers.checkpoint import other_data, read_about, write
from rankers.configs import config_from
from rankers.own_row import OwnRowCounterfactuals
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.protocols import OnEpoch
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Catalog, Interactions
from recsim_gen.core.vectors import unit
from recsim_gen.taste.histories import Histories


@dataclass(frozen=True)
class CentroidConfig:
    """Settings of the centroid."""

    shrinkage: float = 1.0  # choices that the mean of everybody counts as, beside somebody's own

    def __post_init__(self) -> None:
        if not self.shrinkage > 0:
            raise SettingError(f"shrinkage must be above 0, got {self.shrinkage}")


class Centroid(OwnRowCounterfactuals):
    """s(u, i) = x_i · c_u, with c_u the mean features of what u chose, shrunk to everybody's.

    All modalities stand side by side, each of unit length.
    """

    name = "centroid"
    config_class = CentroidConfig
    training_version = 1

    def __init__(self, *, device: str = "cpu", **settings: Any) -> None:
        self.config: CentroidConfig = config_from(CentroidConfig, settings)
        self.device = device
        self._features: dict[str, NDArray[Any]] = {}

    def fit(
        self, catalog: Catalog, interactions: Interactions, *, rng: Rng, on_epoch: OnEpoch | None = None
    ) -> Centroid:
        """Take items and choices: there is nothing to learn. Raises DataError without features."""
        check_catalog(catalog, interactions)
        if not catalog.features:
            raise DataError("centroid needs item features, the catalogue has none", remedy="Encode it first")
        self._features = {m: unit(x).astype(np.float64) for m, x in catalog.features.items()}
        self._x = np.concatenate([*self._features.values()], axis=1)
        user, item = interactions.only("train")
        self._mean = self._x[item].mean(0)
        self._chosen = Histories.of_pairs(user, item, interactions.n_users)
        self._mask = Histories.of_pairs(*interactions.only("train", "valid"), interactions.n_users)
        self._data = fingerprint(catalog.item_ids, dict(catalog.features), interactions.fingerprint)
        return self

    @property
    def fingerprint(self) -> str:
        """Hash of settings and data."""
        self._ready()
        return fingerprint(self.name, asdict(self.config), self._data)

    def score(self, users: NDArray[Any]) -> torch.Tensor:
        """(B, n) scores of all items for known users (rows)."""
        self._ready()
        return self._scores(self._chosen.take(check_users(users, len(self._chosen))))

    def fold_in(self, histories: Sequence[NDArray[Any]]) -> torch.Tensor:
        """(B, n) scores for new people who chose these items (rows): the same formula."""
        self._ready()
        check_histories(histories, len(self._x))
        return self._scores(Histories.of(histories))

    def _scores(self, people: Histories) -> torch.Tensor:
        return torch.from_numpy((self._centroids(people) @ self._x.T).astype(np.float32)).to(self.device)

    def _centroids(self, people: Histories) -> NDArray[Any]:
        """c (B, d)."""
        total = self.config.shrinkage * np.repeat(self._mean[None], len(people), axis=0)
        np.add.at(total, people.person, self._x[people.items])
        return total / (self.config.shrinkage + people.lengths)[:, None]

    @property
    def _columns(self) -> NDArray[Any]:
        return np.arange(len(self._x))

    @property
    def _masked(self) -> Histories:
        return self._mask

    def _table(self, users: NDArray[Any]) -> NDArray[Any]:
        return self._centroids(self._chosen.take(users)) @ self._x.T

    def _delta(
        self, users: NDArray[Any], items: NDArray[Any], given: Mapping[str, NDArray[Any]]
    ) -> NDArray[Any]:
        new = [unit(given[m]) - x[items] if m in given else 0 * x[items] for m, x in self._features.items()]
        change: NDArray[Any] = (self._centroids(self._chosen.take(users)) * np.concatenate(new, 1)).sum(1)
        return change

    def _checked(
        self, users: NDArray[Any], items: NDArray[Any], features: Mapping[str, NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
        self._ready()
        widths = {modality: x.shape[1] for modality, x in self._features.items()}
        return check_triples(
            users, items, features, n_users=len(self._chosen), n_items=len(self._x), widths=widths
        )

    def _ready(self) -> None:
        if not self._features:
            raise SettingError("this centroid was neither fitted nor loaded: call fit or load first")

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``, whole or not at all."""
        self._ready()
        about = {"settings": asdict(self.config), "data": self._data, "fingerprint": self.fingerprint}
        write(folder, self.name, about, {"mean": torch.from_numpy(self._mean)})

    @classmethod
    def load(
        cls, folder: str | Path, catalog: Catalog, interactions: Interactions, *, device: str = "cpu"
    ) -> Centroid:
        """Read what ``save`` wrote. DataError if another ranker or other data made it."""
        about = read_about(Path(folder), cls.name)
        ranker = cls(device=device, **about["settings"]).fit(catalog, interactions, rng=Rng(0))
        if about["data"] != ranker._data:
            raise other_data(Path(folder))
        return ranker
