"""Predicted aesthetic score of images: LAION's predictors on unit CLIP features.

V1 is one linear layer on ViT-B/32 or ViT-L/14; V2 (``sac+logos+ava1-l14-linearMSE``) is five linear layers
without activations, which also form one linear map. Both were trained on unit features, with scores from
about 1 to 10 (predictions may fall outside). PMG-Bench's number of the same name in its rows for PMG is
something else: the length of ViT-B/32's features before normalisation, which is unrelated to aesthetics
(recipe ``pmg-bench``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.store import fingerprint
from recsim_gen.core.vectors import unit
from recsim_gen.metrics.clip_scores import VIT_B_32, VIT_L_14
from recsim_gen.metrics.recipes import OURS, PMG_BENCH, Recipe, Spec, chosen
from recsim_gen.metrics.resources import Resources, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from recsim_gen.metrics.rows import Rows

HEADS = {
    "vit_l_14": (VIT_L_14, "sa_0_4_vit_l_14_linear.pth"),
    "vit_b_32": (VIT_B_32, "sa_0_4_vit_b_32_linear.pth"),
}
"""V1: file of the head for each backbone."""

V1_ORIGIN = "of LAION-AI/aesthetic-predictor, MIT licence"
V2_FILE = "sac+logos+ava1-l14-linearMSE.pth"
V2_ORIGIN = "of christophschuhmann/improved-aesthetic-predictor, Apache-2.0 licence"


@dataclass(frozen=True)
class Head:
    """Linear head: score = unit(features) · ``weight`` (d,) + ``bias``."""

    weight: np.ndarray
    bias: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the (B,) scores of ``features`` (B, d) of any length. Raises DataError for another width."""
        if features.shape[1] != len(self.weight):
            raise DataError(
                f"features must be (B, {len(self.weight)}), got {features.shape}: made by another backbone?"
            )
        return unit(features, np.float64) @ self.weight + self.bias


def read_head(path: str | Path) -> Head:
    """Return the linear map in a predictor's file, composed of all its linear layers.

    Raises DataError if the file holds anything but consecutive linear layers with a single output.
    """
    from pathlib import Path

    state = read_weights(Path(path))
    weight, bias = None, np.zeros(1)
    for layer in sorted({key.rpartition(".")[0] for key in state}, key=_place):
        w, b = (state.get(f"{layer}.{part}".lstrip("."), None) for part in ("weight", "bias"))
        if w is None or b is None or w.ndim != 2 or (weight is not None and w.shape[1] != len(weight)):
            raise DataError(
                f"linear layers that follow each other are wanted, {layer or 'it'} is none", file=path
            )
        w, b = w.double().numpy(), b.double().numpy()
        weight, bias = (w, b) if weight is None else (w @ weight, w @ bias + b)
    if weight is None or len(weight) != 1:
        raise DataError(
            f"one number is wanted in the end, got {0 if weight is None else len(weight)}", file=path
        )
    return Head(weight[0], float(bias[0]))


def _place(layer: str) -> list[int]:
    """Return the sort key of a layer: ``layers.7`` after ``layers.6``."""
    return [int(number) for number in re.findall(r"\d+", layer)]


class Aesthetic:
    """LAION's predictor V1.

    ``aesthetic[vit_b_32]`` uses the smaller backbone; the recipe pmg-bench is the length of the feature.
    """

    needs: tuple[str, ...] = ()
    higher_is_better: bool | None = True

    def __init__(self, spec: Spec, resources: Resources) -> None:
        self.name = str(spec)
        self._score: Any
        chosen({OURS: None, PMG_BENCH: None}, spec)
        if spec.recipe == PMG_BENCH:
            backbone = spec.backbone or VIT_B_32
            self._score, head, self.unit, self.range = length, "", "L2 norm", (0.0, np.inf)
            note = "not an aesthetic score: the length of features before normalisation"
        else:
            backbone, file = _known(HEADS, spec.backbone or "vit_l_14")
            self._score = read_head(resources.file(file, V1_ORIGIN))
            head, self.unit, self.range = _hash(self._score), "LAION V1", (-np.inf, np.inf)
            note = f"{file}; trained on scores from 1 to 10"
        self._encoder = resources.encoder(backbone)
        self.recipe = _recipe(spec, backbone, self._encoder, head, note)

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) scores."""
        return np.asarray(self._score(rows.store.images(self._encoder, rows.image)), dtype=float)


class AestheticV2:
    """LAION's predictor V2."""

    needs: tuple[str, ...] = ()
    unit = "LAION V2"
    range = (-np.inf, np.inf)
    higher_is_better: bool | None = True

    def __init__(self, spec: Spec, resources: Resources) -> None:
        self.name = str(spec)
        chosen({OURS: None}, spec)
        if spec.backbone is not None:
            raise SettingError(
                f"{spec.name} was trained on {VIT_L_14} and takes no other, got {spec.backbone!r}"
            )
        self._head = read_head(resources.file(V2_FILE, V2_ORIGIN))
        self._encoder = resources.encoder(VIT_L_14)
        note = f"{V2_FILE}; trained on scores from 1 to 10"
        self.recipe = _recipe(spec, VIT_L_14, self._encoder, _hash(self._head), note)

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) scores."""
        return self._head(rows.store.images(self._encoder, rows.image))


def length(features: np.ndarray) -> np.ndarray:
    """Return the (B,) L2 norms of features (B, d)."""
    return np.linalg.norm(np.asarray(features, dtype=np.float64), axis=1)


def _known(heads: Mapping[str, tuple[str, str]], name: str) -> tuple[str, str]:
    """Return the head of a backbone. Raises SettingError for an unknown one."""
    if name not in heads:
        raise SettingError(f"aesthetic has no head for {name!r}.{did_you_mean(name, heads)}")
    return heads[name]


def _hash(head: Head) -> str:
    return fingerprint(head.weight, head.bias)


def _recipe(spec: Spec, backbone: str, encoder: Any, head: str, note: str) -> Recipe:
    return Recipe(
        spec.recipe,
        backbone=backbone,
        weights=" + ".join(filter(None, [encoder.fingerprint, head])),
        resize="as the backbone prepares pictures",
        note=note,
    )
