"""Base of trained rankers: fit, score, fold in, save, load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from rankers.base import check_catalog, check_histories, check_users
from rankers.checkpoint import other_data, read_about, read_lists, read_weights, write
from rankers.configs import Training, config_from
from rankers.counterfactual import Counterfactuals, InteractionMask
from rankers.training.data import TrainingData
from rankers.training.loop import train
from rankers.training.model import RankerModel
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.protocols import OnEpoch
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import fingerprint
from recsim_gen.core.training_loop import seeded
from recsim_gen.core.types import Catalog, Interactions

Lists = Mapping[str, Tensor]


class LearnedRanker(Counterfactuals):
    """Base of the rankers that `rankers.training` trains.

    Subclasses set ``model_class`` and ``config_class``, and implement ``_new_users``.
    """

    name: ClassVar[str]
    model_class: ClassVar[type[RankerModel]]
    config_class: ClassVar[type[Training]]
    needs_features: ClassVar[bool] = False
    training_version: int = 4
    """Increase it when equal settings train other weights: cached rankers of other versions are not used."""

    def __init__(self, *, device: str = "cpu", **settings: Any) -> None:
        self.config: Any = config_from(self.config_class, settings)
        self.device = device
        self.model: Any = None
        self.valid: dict[str, float] = {}
        self.best_epoch = 0
        self.neighbour_recall: dict[str, float] = {}
        """Share of the true neighbours in each neighbour list that an index made."""
        self._data = ""

    def fit(
        self, catalog: Catalog, interactions: Interactions, *, rng: Rng, on_epoch: OnEpoch | None = None
    ) -> LearnedRanker:
        """Train on the train split, with early stopping on the valid split.

        Equal ``rng`` and interactions give equal initial weights and equal negatives, whatever the features,
        so that two runs can be compared pair by pair.
        """
        check_catalog(catalog, interactions)
        self.config = self.config.for_log(len(interactions.only("train")[0]))
        stream = rng.for_("ranker")
        with seeded(stream, self.device):
            self._build(catalog, interactions, {})
            trained = train(self.model, interactions, seed=stream.integer(), on_epoch=on_epoch)
        self.best_epoch, self.valid = trained
        self.neighbour_recall = self._neighbour_recall()
        return self

    def _neighbour_recall(self) -> dict[str, float]:
        return {}

    def _training_data(self, catalog: Catalog, interactions: Interactions) -> TrainingData:
        """Return the model's data; raise DataError if features are needed and the catalogue has none."""
        if self.needs_features and not catalog.features:
            raise DataError(
                f"{self.name} needs item features, the catalogue has none", remedy="Encode it first"
            )
        features = catalog.features if self.needs_features else {}
        return TrainingData.of(interactions, features, self.device)

    def _build(self, catalog: Catalog, interactions: Interactions, lists: Lists) -> None:
        """Create the model, initial weights by torch's global generator; ``lists`` of a checkpoint."""
        data = replace(self._training_data(catalog, interactions), lists=lists)
        self.model = self.model_class(self.config, data).to(self.device)
        self._data = self._data_fingerprint(catalog, interactions)
        self._train_degree = torch.from_numpy(
            np.bincount(interactions.only("train")[1], minlength=len(catalog))
        )
        self._n_users, self._n_items = interactions.n_users, len(catalog)
        self._mask = InteractionMask.of(*interactions.only("train", "valid"), self._n_users, self.device)
        self._widths = {m: x.shape[1] for m, x in catalog.features.items()} if self.needs_features else {}

    def _data_fingerprint(self, catalog: Catalog, interactions: Interactions) -> str:
        features = dict(catalog.features) if self.needs_features else {}
        return fingerprint(catalog.item_ids, features, interactions.fingerprint)

    def _fitted(self) -> None:
        if self.model is None:
            raise SettingError(f"this {self.name} was neither fitted nor loaded")

    @property
    def fingerprint(self) -> str:
        """Hash of model class, settings, data and weights."""
        self._fitted()
        weights = {k: v.detach().cpu().numpy() for k, v in self.model.state_dict().items()}
        lists = {name: index.numpy() for name, index in self.model.lists().items()}
        return fingerprint(self.name, asdict(self.config), self._data, weights, *([lists] if lists else []))

    def _tables(self) -> tuple[Tensor, Tensor]:
        """Return users (U, d) and items (n, d), in the rows of the data."""
        users, items = self.model.final()
        return users, items

    def _exact_tables(self) -> tuple[Tensor, Tensor]:
        self._fitted()
        users, items = self._tables()
        return users.double(), items.double()

    def _new_users(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Return (B, d) vectors of users who chose these items."""
        raise SettingError(f"{type(self).__name__} does not fold in")

    @torch.no_grad()
    def score(self, users: np.ndarray) -> Tensor:
        """Return the (B, n) scores of all items for known users (rows)."""
        self._fitted()
        users = check_users(users, self._n_users)
        table, items = self._tables()
        return table[torch.as_tensor(users, device=table.device)] @ items.T

    @torch.no_grad()
    def fold_in(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Return the (B, n) scores of all items for new users who chose these items (rows)."""
        self._fitted()
        check_histories(histories, self._n_items)
        items = self._tables()[1]
        if not len(histories):
            return items.new_zeros(0, len(items))
        return self._new_users(histories) @ items.T

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` atomically."""
        self._fitted()
        weights = {k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()}
        about = {
            "settings": asdict(self.config),
            "data": self._data,
            "fingerprint": self.fingerprint,
            "valid": self.valid,
            "best_epoch": self.best_epoch,
            "neighbour_recall": self.neighbour_recall,
        }
        write(folder, self.name, about, weights, self.model.lists())

    @classmethod
    def load(
        cls, folder: str | Path, catalog: Catalog, interactions: Interactions, *, device: str = "cpu"
    ) -> LearnedRanker:
        """Load what `save` wrote; raise DataError if another ranker or other data made it."""
        folder = Path(folder)
        about = read_about(folder, cls.name)
        ranker = cls(device=device, **about["settings"])
        if about["data"] != ranker._data_fingerprint(catalog, interactions):
            raise other_data(folder)
        with seeded(Rng(0), device):  # these weights are replaced
            ranker._build(catalog, interactions, lists := read_lists(folder, len(catalog)))
        ranker.model.load_state_dict(read_weights(folder, ranker.model.state_dict(), device))
        ranker.model.take(lists)
        ranker.model.eval()
        ranker.valid, ranker.best_epoch = about["valid"], about["best_epoch"]
        ranker.neighbour_recall = about.get("neighbour_recall", {})
        return ranker
