"""``taste``: a content ranker of never-seen pictures, in closed form.

A person's taste in a category is a Gaussian vector over whitened features, and tastes of categories agree
as co-choices show (`recsim_gen.taste`). The score of item i in category c is the posterior mean of its
worth, and how much of a person's choices fall into c:

    s(u, i) = t_uᵀ z_i + log share_u(c) − log share(c)

with share_u the person's smoothed share of choices, share the category's of the catalogue. New people need no
training, for the posterior is the same formula of any history; new pictures need none either. A picture put
onto an item is judged by the tastes of pictures alone: what the item's text says of its look does not hold
of another picture. So s changes by t'_uᵀ (z'(new) − z'(own)), t' and z' of the modality that is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rankers.base import check_catalog, check_histories, check_triples, check_users
from rankers.checkpoint import WEIGHTS, other_data, read_about, write
from rankers.configs import TasteConfig, config_from
from rankers.own_row import AT_ONCE, OwnRowCounterfactuals
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.protocols import OnEpoch
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Appraisal, Catalog, Interactions
from recsim_gen.core.vectors import unit
from recsim_gen.core.weights import read_tensors
from recsim_gen.taste.categories import taste_categories
from recsim_gen.taste.model import TasteModel

NOISES = (1.0, 2.0, 4.0, 8.0)  # σ² that validation choices choose among
SELECTED_ON = 2_000  # people whose validation choices choose the noise
JOINT = "joint"


class TasteRanker(OwnRowCounterfactuals):
    """Tastes of all modalities together rank; tastes of each alone judge what replaces it."""

    name = "taste"
    config_class = TasteConfig
    training_version = 4

    def __init__(self, *, device: str = "cpu", **settings: Any) -> None:
        self.config: TasteConfig = config_from(TasteConfig, settings)
        self.device = device
        self.models: dict[str, TasteModel] = {}
        self.valid: dict[str, float] = {}
        self.best_epoch = 0

    def fit(
        self, catalog: Catalog, interactions: Interactions, *, rng: Rng, on_epoch: OnEpoch | None = None
    ) -> TasteRanker:
        """Fit the priors to the choices of training; validation choices choose the noise.

        Nothing is drawn at random. Raises DataError for a catalogue without features.
        """
        self._take(catalog, interactions)
        histories = [self._chosen(u) for u in range(interactions.n_users)]
        people = [h for h in histories if len(h)]
        x = {m: unit(x, np.float64) for m, x in self._features.items()}

        def fitted(noise: float) -> dict[str, TasteModel]:
            alone = {
                m: TasteModel.fit(one, self.category, people, width=self.config.width, noise=noise)
                for m, one in x.items()
            }
            both = np.concatenate([model.features for model in alone.values()], axis=1)
            joint = TasteModel.fit(both, self.category, people, width=both.shape[1], noise=noise)
            return {**alone, JOINT: joint}

        tried = {}
        for noise in [self.config.noise] if self.config.noise else NOISES:
            self.models = fitted(noise)
            tried[noise] = self._surprise(interactions)
        best = min(tried, key=lambda noise: tried[noise])
        if best != next(reversed(tried)):
            self.models = fitted(best)
        self.config = replace(self.config, noise=best)
        self.valid = {} if np.isnan(tried[best]) else {"surprise": tried[best]}
        return self

    def _take(self, catalog: Catalog, interactions: Interactions) -> None:
        """Items and choices, as fitting and loading need them."""
        check_catalog(catalog, interactions)
        if not catalog.features:
            raise DataError("taste needs item features, the catalogue has none", remedy="Encode it first")
        self._features = dict(catalog.features)
        self.category = taste_categories(catalog, self.config.clusters)
        self._size = np.bincount(self.category)
        self._members = [np.flatnonzero(self.category == c) for c in range(len(self._size))]
        user, item = interactions.only("train")
        order = np.argsort(user, kind="stable")
        self._bounds = np.searchsorted(user[order], np.arange(interactions.n_users + 1))
        self._items = item[order]
        self._popular = np.bincount(self.category[item], minlength=len(self._size)) / len(item)
        user, item = interactions.only("train", "valid")
        order = np.argsort(user, kind="stable")
        self._mask_bounds = np.searchsorted(user[order], np.arange(interactions.n_users + 1))
        self._mask_items = item[order]
        self._n_users = interactions.n_users
        features = [catalog.item_ids, catalog.categories, self._features]
        self._data = fingerprint(features, interactions.fingerprint)

    def _chosen(self, user: int) -> np.ndarray:
        return self._items[self._bounds[user] : self._bounds[user + 1]]

    def _masked(self, user: int) -> np.ndarray:
        return self._mask_items[self._mask_bounds[user] : self._mask_bounds[user + 1]]

    def _surprise(self, interactions: Interactions) -> float:
        """Mean −log softmax of validation choices among all items not chosen in training; NaN for none."""
        user, item = interactions.only("valid")
        user, item = user[:SELECTED_ON], item[:SELECTED_ON]
        lost = []
        for start in range(0, len(user), AT_ONCE):
            part = user[start : start + AT_ONCE]
            scores = self._scores([self._chosen(u) for u in part.tolist()])
            for row, u in enumerate(part.tolist()):
                scores[row, self._chosen(u)] = -np.inf
            top = scores.max(1, keepdims=True)
            normal = np.log(np.exp(scores - top).sum(1)) + top[:, 0]
            lost.append(normal - scores[np.arange(len(part)), item[start : start + AT_ONCE]])
        return float(np.concatenate(lost).mean()) if lost else float("nan")

    def _scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """(B, n) float64 scores of people with these histories."""
        model, count = self._model(JOINT), len(self._size)
        everywhere = np.broadcast_to(np.arange(count), (len(histories), count))
        mean = model.tastes(histories, everywhere).mean
        bias = self._shares(histories)
        scores = np.empty((len(histories), len(self.category)))
        for c, members in enumerate(self._members):
            scores[:, members] = mean[:, c] @ model.features[members].T + bias[:, [c]]
        return scores

    def _shares(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """(B, C) log of each person's smoothed share of a category, less log of the catalogue's."""
        count, prior = len(self._size), self.config.smoothing
        number = np.stack([np.bincount(self.category[h], minlength=count) for h in histories])
        total = number.sum(1, keepdims=True) + count * prior
        share = (number + count * prior * np.maximum(self._popular, 1e-9)) / total
        bias: np.ndarray = np.log(share) - np.log(self._size / self._size.sum())
        return bias

    def _model(self, name: str) -> TasteModel:
        if not self.models:
            raise SettingError("this taste was neither fitted nor loaded")
        return self.models[name]

    @property
    def fingerprint(self) -> str:
        """Hash of settings, data and models."""
        self._model(JOINT)
        return fingerprint(
            self.name, asdict(self.config), self._data, {n: m.arrays() for n, m in self.models.items()}
        )

    def score(self, users: np.ndarray) -> Tensor:
        """(B, n) scores of all items for known users (rows)."""
        self._model(JOINT)
        users = check_users(users, self._n_users)
        return self._blocks([self._chosen(u) for u in users.tolist()])

    def fold_in(self, histories: Sequence[np.ndarray]) -> Tensor:
        """(B, n) scores for new people who chose these items (rows): the same formula."""
        self._model(JOINT)
        check_histories(histories, len(self.category))
        return self._blocks([np.asarray(h, dtype=np.int64) for h in histories])

    def _blocks(self, histories: Sequence[np.ndarray]) -> Tensor:
        parts = [
            self._scores(histories[start : start + AT_ONCE]) for start in range(0, len(histories), AT_ONCE)
        ]
        scores = np.concatenate(parts) if parts else np.empty((0, len(self.category)))
        return torch.from_numpy(scores.astype(np.float32)).to(self.device)

    def appraise(
        self, histories: Sequence[np.ndarray], items: np.ndarray, features: Mapping[str, np.ndarray]
    ) -> Appraisal:
        """What B people with these histories think of ``items`` (B,) with these features.

        ``mean`` and ``sd`` of tᵀz by the tastes of the modalities given alone; without any, by those of
        pictures and with the items' own.
        """
        check_histories(histories, len(self.category))
        items = np.asarray(items, dtype=np.int64)
        name = self._judging(features or {"image": np.empty(0)})
        x = self._joined(name, items, features)
        rows = [np.asarray(h, dtype=np.int64) for h in histories]
        return self._model(name).appraise(rows, self.category[items], x)

    def uncertainty(
        self, users: np.ndarray, items: np.ndarray, features: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """(B,) standard deviation of what known users think of ``items`` with these features."""
        users = check_users(users, self._n_users)
        return self.appraise([self._chosen(u) for u in users.tolist()], items, features).sd

    def _judging(self, features: Mapping[str, np.ndarray]) -> str:
        """Name of the model that judges features of these modalities."""
        self._model(JOINT)
        for modality in features:
            if modality not in self._features:
                raise DataError(f"unknown modality {modality!r}.{did_you_mean(modality, self._features)}")
        return next(iter(features)) if len(features) == 1 else JOINT

    def _joined(self, name: str, items: np.ndarray, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """(B, D) what the model ``name`` reads: of each modality the feature given, else the item's own."""
        parts = []
        for modality in self._features if name == JOINT else [name]:
            x = features.get(modality, self._features[modality][items])
            parts.append(unit(np.asarray(x, dtype=np.float32), np.float64))
        if name != JOINT:
            return parts[0]
        z = [
            self.models[m].coordinates(x, self.category[items])
            for m, x in zip(self._features, parts, strict=True)
        ]
        return np.concatenate(z, axis=1)

    def _delta(self, users: np.ndarray, items: np.ndarray, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """(B,) change of score: exactly 0 for an item's own features."""
        if not given:
            return np.zeros(len(users))
        name = self._judging(given)
        model, category = self._model(name), self.category[items]
        people, place = np.unique(users, return_inverse=True)
        change = np.empty(len(users))
        pairs, which = np.unique(np.stack([place, category]), axis=1, return_inverse=True)
        histories = [self._chosen(int(people[p])) for p in pairs[0]]
        taste = model.tastes(histories, pairs[1][:, None]).mean[:, 0]
        new, own = (model.coordinates(self._joined(name, items, x), category) for x in (given, {}))
        change[:] = (taste[which.reshape(-1)] * (new - own)).sum(1)
        return change

    def _checked(
        self, users: np.ndarray, items: np.ndarray, features: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        self._model(JOINT)
        widths = {modality: x.shape[1] for modality, x in self._features.items()}
        n_items = len(self.category)
        return check_triples(users, items, features, n_users=self._n_users, n_items=n_items, widths=widths)

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``, whole or not at all."""
        self._model(JOINT)
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
        """Read what ``save`` wrote. DataError if another ranker or other data made it."""
        folder = Path(folder)
        about = read_about(folder, cls.name)
        ranker = cls(device=device, **about["settings"])
        ranker._take(catalog, interactions)
        if about["data"] != ranker._data:
            raise other_data(folder)
        weights = read_tensors(folder / WEIGHTS)
        for name in (*ranker._features, JOINT):
            prefix = f"{name}."
            arrays = {n.removeprefix(prefix): x.numpy() for n, x in weights.items() if n.startswith(prefix)}
            ranker.models[name] = TasteModel.of_arrays(arrays)
        ranker.valid = about["valid"]
        return ranker
