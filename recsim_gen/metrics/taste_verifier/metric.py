"""The taste verifier: would this person like this image? A network trained on ratings.

    p(u, x) = sigmoid(MLP(e_u ⊕ ReLU(W f(x)/|f(x)|)))

e_u (64) is the embedding of the person, shared by all sequences that the person's history was cut into; f(x)
is an image encoder's feature, W maps to 1024; the MLP has layers of 256 and 128, each with batch
normalisation, ReLU and dropout 0.2.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.store import atomic, fingerprint, write_json
from recsim_gen.metrics.recipes import OURS, Recipe, Spec, chosen

if TYPE_CHECKING:
    from recsim_gen.core.types import Catalog, Dataset
    from recsim_gen.metrics.resources import Resources
    from recsim_gen.metrics.rows import Rows

PERSON, IMAGE, HIDDEN, DROPOUT = 64, 1024, (256, 128), 0.2
CLASS = "TasteVerifier"
TRAIN = "python -m recsim_gen.train_verifier"


class TasteVerifier(nn.Module):
    """p(person likes image) for ``n_people`` people and features of ``width``."""

    def __init__(self, n_people: int, width: int) -> None:
        super().__init__()
        self.person = nn.Embedding(n_people, PERSON)
        self.image = nn.Sequential(nn.Linear(width, IMAGE), nn.ReLU())
        sizes = (PERSON + IMAGE, *HIDDEN)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(DROPOUT)]
        self.mlp = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1))

    def forward(self, people: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Return the (B,) logits of ``people`` (B,) rows and ``features`` (B, d), normalised here."""
        seen = self.image(nn.functional.normalize(features, dim=1))
        logits: torch.Tensor = self.mlp(torch.cat([self.person(people), seen], dim=1)).squeeze(1)
        return logits

    @torch.inference_mode()
    def probability(self, people: np.ndarray, features: np.ndarray, *, batch: int = 4096) -> np.ndarray:
        """Return (B,) float64 probabilities in [0, 1], independent of ``batch``."""
        self.eval()
        device = self.person.weight.device
        parts = [
            self(
                torch.as_tensor(people[start : start + batch], device=device),
                torch.as_tensor(features[start : start + batch], device=device),
            )
            .double()
            .sigmoid()
            for start in range(0, len(people), batch)
        ]
        return torch.cat(parts).cpu().numpy() if parts else np.empty(0)

    def save(self, folder: str | Path, about: dict[str, Any]) -> None:
        """Write ``config.json`` (sizes and ``about``) and ``model.safetensors``, atomically."""
        from safetensors.torch import save_file

        n_people, width = len(self.person.weight), self.image[0].in_features  # type: ignore[union-attr]
        with atomic(folder) as temporary:
            temporary.mkdir()
            write_json(
                temporary / "config.json", {"class": CLASS, "n_people": n_people, "width": width, **about}
            )
            save_file(
                {k: x.cpu().contiguous() for k, x in self.state_dict().items()},
                temporary / "model.safetensors",
            )


def load(folder: str | Path) -> tuple[TasteVerifier, dict[str, Any]]:
    """Return the verifier that ``save`` wrote, in evaluation mode, and its ``about``.

    Raises MissingDependency if there is none, DataError if the folder holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config, weights = Path(folder) / "config.json", Path(folder) / "model.safetensors"
    if not (config.is_file() and weights.is_file()):
        seeds = sorted(file.parent.as_posix() for file in Path(folder).glob("seed*/config.json"))
        remedy = f"give one of {', '.join(seeds)}" if seeds else f"run {TRAIN}"
        raise MissingDependency(f"needs a verifier in {folder} (config.json and model.safetensors): {remedy}")
    try:
        about = json.loads(config.read_text(encoding="utf-8"))
        if about["class"] != CLASS:
            raise DataError(
                f"a {CLASS} is wanted, got {about['class']!r}", file=config, remedy=f"Run {TRAIN}"
            )
        model = TasteVerifier(about["n_people"], about["width"])
        model.load_state_dict(load_file(weights))
    except (ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        raise DataError(
            f"a {CLASS} is wanted, got something else ({error})", file=folder, remedy=f"Run {TRAIN}"
        ) from error
    return model.eval(), about


def pictures_key(catalog: Catalog) -> str:
    """Return a hash of the items and images that the opinions are about."""
    return fingerprint(catalog.item_ids, None if catalog.images is None else catalog.images.fingerprint)


class Verifier:
    """``verifier[FOLDER]``: probability that the person likes the image, by a trained network.

    Raises SettingError if it was trained for other people or on other images than the data's.
    """

    needs = ("user",)
    unit = "probability"
    range = (0.0, 1.0)
    higher_is_better: bool | None = True

    def __init__(self, spec: Spec, resources: Resources) -> None:
        self.name = str(spec)
        chosen({OURS: None}, spec)
        if spec.backbone is None:
            raise MissingDependency(f"needs a verifier: run {TRAIN} --output DIR, then ask for verifier[DIR]")
        self._model, about = load(spec.backbone)
        if resources.dataset is None:
            raise MissingDependency("needs the data that the pictures were generated for")
        self._row = _rows_of_people(spec, about, resources.dataset)
        self._model.to(resources.device)
        self._encoder = resources.encoder(about["encoder"])
        if self._encoder.fingerprint != about["encoder_fingerprint"]:
            raise SettingError(f"{spec}: trained on features of other weights of {about['encoder']}")
        state = {name: x.cpu().numpy() for name, x in self._model.state_dict().items()}
        self.recipe = Recipe(
            spec.recipe,
            backbone=f"{CLASS} on {about['encoder']}",
            weights=fingerprint(state, self._encoder.fingerprint),
            resize="as the backbone prepares pictures",
            note="test AUC {auc[0]:.3f} [{auc[1]:.3f}, {auc[2]:.3f}], within people {auc_within[0]:.3f} "
            "[{auc_within[1]:.3f}, {auc_within[2]:.3f}], chance 0.5; {labels}".format(**about),
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) probabilities in [0, 1]."""
        people = self._row[rows.get("user")]
        return self._model.probability(people, rows.store.images(self._encoder, rows.image))


def _rows_of_people(spec: Spec, about: dict[str, Any], dataset: Dataset) -> np.ndarray:
    """Return (n_users,) the embedding row of each user's person."""
    row_of = {person: row for row, person in enumerate(about["people"])}
    row = np.array([row_of.get(person, -1) for person in dataset.people.tolist()])
    if about["pictures"] != pictures_key(dataset.catalog) or (row < 0).any():
        raise SettingError(
            f"{spec}: trained for the people and pictures of {about['data']!r}, which are not those of "
            f"{dataset.name!r}. Run {TRAIN} on this data"
        )
    return row
