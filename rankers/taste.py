"""``taste``: a content ranker in closed form, also for images that nobody has chosen.

A user's taste in a category is a Gaussian vector over whitened features; tastes of categories are correlated
as co-choices show (`recsim_gen.taste`). The score of item i in category c is the posterior mean of its
utility plus the user's preference for c:

    s(u, i) = t_uᵀ z_i + log share_u(c) − log share(c)

share_u is the user's smoothed share of choices, share the category's share of the catalogue. New users need
no training, since the posterior has the same formula for any history; nor do new images. An image put onto an
item is judged by tastes of images alone, since the item's text does not describe another image: s changes by
t'_uᵀ (z'(new) − z'(own)), with t' and z' of the replaced modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankers.base import check_catalog, check_histories, check_triples, check_users
from rankers.checkpoint import WEIGHTS, other_data, read_about, write
from rankers.configs import TasteConfig, config_from
from rankers.own_row import OwnRowCounterfactuals
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.protocols import OnEpoch
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Appraisal, Catalog, Interactions
from recsim_gen.core.vectors import unit
from recsim_gen.core.weights import read_tensors
from recsim_gen.taste.categories import taste_categories
from recsim_gen.taste.histories import Histories
from recsim_gen.taste.model import TasteModel
from recsim_gen.taste.surprise import surprise
from recsim_gen.taste.whitening import Components, UnitRows

# Values of σ² to select from on validation choices, and the value without any. σ² = 1 predicts choices within
# a category as well as 2, but ranks lists worse: validation Recall@20 of three shops 0.146 and 0.153.
NOISES, NOISE = (2.0, 4.0, 8.0), 2.0
JOINT = "joint"


class TasteRanker(OwnRowCounterfactuals):
    """Ranks by the tastes of all modalities together; a replaced modality is judged by its own tastes."""

    name = "taste"
    config_class = TasteConfig
    training_version = 5

    def __init__(self, *, device: str = "cpu", **settings: Any) -> None:
        self.config: TasteConfig = config_from(TasteConfig, settings)
        self.device = device
        self.models: dict[str, TasteModel] = {}
        self._ranking = JOINT
        self.valid: dict[str, float] = {}
        self.best_epoch = 0

    def fit(
        self, catalog: Catalog, interactions: Interactions, *, rng: Rng, on_epoch: OnEpoch | None = None
    ) -> TasteRanker:
        """Fit the priors to the choices of training; select the noise of each model on validation choices.

        The noise is selected by how well a chosen item is told from others of its category
        (`taste.surprise`); ``valid`` has that of the ranking model, in nats. Nothing is random. Raises
        DataError for a catalogue without features.
        """
        self._take(catalog, interactions)
        parts = {
            m: Components.of(UnitRows(x), self.category, self.config.width) for m, x in self._features.items()
        }
        if len(parts) > 1:
            parts[JOINT] = Components.joined(list(parts.values()), self.category)
        user, item = interactions.only("valid")
        for name, x in parts.items():
            model = TasteModel.of_components(x, self.category, self._chosen, self.config.noise or NOISE)
            least, self.models[name] = self._least_surprised(model, self._chosen.take(user), item)
        self.valid = {"surprise": least} if len(item) else {}  # of the last model, which ranks
        return self

    def _least_surprised(
        self, model: TasteModel, before: Histories, items: NDArray[Any]
    ) -> tuple[float, TasteModel]:
        """Return the least surprise at ``items``, and ``model`` with the noise that gives it."""
        if not len(items):
            return 0.0, model
        noises = [self.config.noise] if self.config.noise else NOISES
        tried = [replace(model, noise=np.array([noise])) for noise in noises]
        return min(((surprise(one, before, items), one) for one in tried), key=lambda v: v[0])

    def _take(self, catalog: Catalog, interactions: Interactions) -> None:
        """Set the items and choices that fitting and loading need."""
        check_catalog(catalog, interactions)
        if not catalog.features:
            raise DataError("taste needs item features, the catalogue has none", remedy="Encode it first")
        self._features = dict(catalog.features)
        self._ranking = JOINT if len(self._features) > 1 else next(iter(self._features))
        self.category = taste_categories(catalog, self.config.clusters)
        self._size = np.bincount(self.category)
        self._order = np.argsort(self.category, kind="stable")  # tables of scores are ordered by category
        self._place = np.argsort(self._order)
        self._n_users = interactions.n_users
        user, item = interactions.only("train")
        self._chosen = Histories.of_pairs(user, item, self._n_users)
        self._popular = np.bincount(self.category[item], minlength=len(self._size)) / len(item)
        self._mask = Histories.of_pairs(*interactions.only("train", "valid"), self._n_users)
        features = [catalog.item_ids, catalog.categories, self._features]
        self._data = fingerprint(features, interactions.fingerprint)

    @property
    def _columns(self) -> NDArray[Any]:
        return self._place

    @property
    def _masked(self) -> Histories:
        return self._mask

    def _table(self, users: NDArray[Any]) -> NDArray[Any]:
        return self._by_category(self._chosen.take(users), self._ordered())

    def _by_category(self, people: Histories, z: NDArray[Any]) -> NDArray[Any]:
        """Return (B, n) float64 scores of items with coordinates ``z`` (n, d) for users with these histories.

        Both ``z`` and the scores are in the order ``_order``.
        """
        count, stops = len(self._size), np.cumsum(self._size).tolist()
        everywhere = np.broadcast_to(np.arange(count), (len(people), count))
        mean, bias = self._model(self._ranking).tastes(people, everywhere).mean, self._shares(people)
        table = np.empty((len(people), len(z)))
        for c, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
            np.matmul(mean[:, c], z[start:stop].T, out=table[:, start:stop])
            table[:, start:stop] += bias[:, [c]]
        return table

    def _shares(self, people: Histories) -> NDArray[Any]:
        """Return (B, C) log of each user's smoothed share of a category, minus log of the catalogue's."""
        count, prior = len(self._size), self.config.smoothing
        cell = people.person * count + self.category[people.items]
        number = np.bincount(cell, minlength=len(people) * count).reshape(-1, count)
        total = number.sum(1, keepdims=True) + count * prior
        share = (number + count * prior * np.maximum(self._popular, 1e-9)) / total
        bias: NDArray[Any] = np.log(share) - np.log(self._size / self._size.sum())
        return bias

    def _model(self, name: str) -> TasteModel:
        if not self.models:
            raise SettingError("this taste was neither fitted nor loaded")
        return self.models[name]

    @property
    def fingerprint(self) -> str:
        """Hash of settings, data and models."""
        self._model(self._ranking)
        return fingerprint(
            self.name, asdict(self.config), self._data, {n: m.arrays() for n, m in self.models.items()}
        )

    def score(self, users: NDArray[Any]) -> Tensor:
        """Return the (B, n) scores of all items for known users (rows)."""
        self._model(self._ranking)
        return self._scores(self._chosen.take(check_users(users, self._n_users)))

    def fold_in(self, histories: Sequence[NDArray[Any]]) -> Tensor:
        """Return the (B, n) scores of all items for new users who chose these items (rows)."""
        self._model(self._ranking)
        check_histories(histories, len(self.category))
        return self._scores(Histories.of(histories))

    def _scores(self, people: Histories) -> Tensor:
        z, size = self._ordered(), self._at_once
        scores = np.empty((len(people), len(z)), dtype=np.float32)
        for start in range(0, len(people), size):
            part = people.take(np.arange(start, min(start + size, len(people))))
            scores[start : start + size] = self._by_category(part, z)[:, self._place]
        return torch.from_numpy(scores).to(self.device)

    def _ordered(self) -> NDArray[Any]:
        """Return the (n, d) coordinates of all items, in the order ``_order``."""
        z: NDArray[Any] = self._model(self._ranking).features[self._order]
        return z

    def appraise(
        self, histories: Sequence[NDArray[Any]], items: NDArray[Any], features: Mapping[str, NDArray[Any]]
    ) -> Appraisal:
        """Return the appraisals of ``items`` (B,) with these features, by users with these histories.

        ``mean`` and ``sd`` are of tᵀz by the tastes of the given modality alone (several: of all together);
        without any, by those of images and with the items' own.
        """
        self._model(self._ranking)
        check_histories(histories, len(self.category))
        return self._appraised(Histories.of(histories), np.asarray(items, dtype=np.int64), features)

    def uncertainty(
        self, users: NDArray[Any], items: NDArray[Any], features: Mapping[str, NDArray[Any]]
    ) -> NDArray[Any]:
        """Return (B,) standard deviations of known users' appraisals of ``items`` with these features."""
        self._model(self._ranking)
        users, items, given = self._checked(users, items, features)
        return self._appraised(self._chosen.take(users), items, given).sd

    def _appraised(
        self, people: Histories, items: NDArray[Any], features: Mapping[str, NDArray[Any]]
    ) -> Appraisal:
        name = self._judging(features or {m: x for m, x in self._features.items() if m == "image"})
        return self.models[name].appraise(people, self.category[items], self._read(name, items, features))

    def _judging(self, features: Mapping[str, NDArray[Any]]) -> str:
        """Return the name of the model that judges features of these modalities."""
        for modality in features:
            if modality not in self._features:
                raise DataError(f"unknown modality {modality!r}.{did_you_mean(modality, self._features)}")
        return next(iter(features)) if len(features) == 1 else self._ranking

    def _read(self, name: str, items: NDArray[Any], features: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Return the (B, D) input of the model ``name``: given features, else the items' own."""
        parts = [
            unit(np.asarray(features.get(m, self._features[m][items]), dtype=np.float32))
            for m in (self._features if name == JOINT else [name])
        ]
        return np.concatenate(parts, axis=1)

    def _delta(
        self, users: NDArray[Any], items: NDArray[Any], given: Mapping[str, NDArray[Any]]
    ) -> NDArray[Any]:
        """Return (B,) changes of the score: exactly 0 for an item's own features."""
        if not given:
            return np.zeros(len(users))
        name, count = self._judging(given), len(self._size)
        model, category = self._model(name), self.category[items]
        pairs, which = np.unique(users * count + category, return_inverse=True)
        taste = model.tastes(self._chosen.take(pairs // count), pairs[:, None] % count).mean[:, 0]
        new, own = (model.coordinates(self._read(name, items, x), category) for x in (given, {}))
        change: NDArray[Any] = (taste[which] * (new - own)).sum(1)
        return change

    def _checked(
        self, users: NDArray[Any], items: NDArray[Any], features: Mapping[str, NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
        self._model(self._ranking)
        widths = {modality: x.shape[1] for modality, x in self._features.items()}
        n_items = len(self.category)
        return check_triples(users, items, features, n_users=self._n_users, n_items=n_items, widths=widths)

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` atomically."""
        self._model(self._ranking)
        weights = {
            f"{name}.{part}": torch.from_numpy(np.array(x, order="C"))
            for name, model in self.models.items()
            for part, x in model.arrays().items()
        }
        about = {
            "settings": asdict(self.config),
            "data": self._data,
            "fingerprint": self.fingerprint,
            "valid": self.valid,
        }
        write(folder, self.name, about, weights)

    @classmethod
    def load(
        cls, folder: str | Path, catalog: Catalog, interactions: Interactions, *, device: str = "cpu"
    ) -> TasteRanker:
        """Load what `save` wrote; raise DataError if another ranker or other data made it."""
        folder = Path(folder)
        about = read_about(folder, cls.name)
        ranker = cls(device=device, **about["settings"])
        ranker._take(catalog, interactions)
        if about["data"] != ranker._data:
            raise other_data(folder)
        weights = read_tensors(folder / WEIGHTS)
        for name in {*ranker._features, ranker._ranking}:
            prefix = f"{name}."
            arrays = {n.removeprefix(prefix): x.numpy() for n, x in weights.items() if n.startswith(prefix)}
            ranker.models[name] = TasteModel.of_arrays(arrays)
        ranker.valid = about["valid"]
        return ranker
