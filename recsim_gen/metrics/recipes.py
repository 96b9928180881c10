"""Definition of a metric's number: backbone, weights, preprocessing, scale, direction.

Published numbers of one name come from different recipes. A metric is selected by

    NAME              ours: the correct definition                      ``ssim``
    NAME:RECIPE       as in published code                              ``ssim:pmg-bench``
    NAME[BACKBONE]    with another network, under a distinct name       ``cps[boutique-clip]``

or both, ``cps[boutique-clip]:x100``. Recipes: ``ours``; ``x100`` (ours times 100, as RAGAR's Table 2 prints
CLIP scores, LPIPS and SSIM); ``pmg-bench`` (PMG-Bench) and ``pigeon`` (Pigeon); ``torchmetrics`` (SSIM only).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import METRICS, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from recsim_gen.metrics.rows import Rows

OURS, X100, PMG_BENCH, PIGEON, TORCHMETRICS = RECIPES = (
    "ours",
    "x100",
    "pmg-bench",
    "pigeon",
    "torchmetrics",
)

T = TypeVar("T")

_SPEC = re.compile(r"(?P<name>[^\[\]:]+)(?:\[(?P<backbone>[^\[\]]+)\])?(?::(?P<recipe>[\w.-]+))?")


@dataclass(frozen=True)
class Recipe:
    """How a metric's number is computed; a field that does not apply is empty.

    Parameters
    ----------
    backbone
        Name of the network.
    weights
        Hash of its weights and preprocessing.
    resize
        Resizing of the images.
    input_range
        Range of the pixel values that enter.
    scale
        Factor of the result.
    prompt
        Form of the text.
    note
        What a reader of the number must know.
    """

    name: str = OURS
    backbone: str = ""
    weights: str = ""
    resize: str = ""
    input_range: str = ""
    scale: float = 1.0
    prompt: str = ""
    note: str = ""


@dataclass(frozen=True)
class Spec:
    """A metric as requested: name, recipe, and backbone (None: that of the recipe)."""

    name: str
    recipe: str = OURS
    backbone: str | None = None

    def __str__(self) -> str:
        backbone = "" if self.backbone is None else f"[{self.backbone}]"
        return f"{self.name}{backbone}" + ("" if self.recipe == OURS else f":{self.recipe}")


def read_spec(text: str) -> Spec:
    """Parse ``NAME[BACKBONE]:RECIPE``. A user-defined ``module:Class`` is a name.

    Raises SettingError for another form or an unknown metric.
    """
    parts = _SPEC.fullmatch(text)
    if parts is None:
        raise SettingError(f"a metric must be NAME, NAME[BACKBONE] or NAME[BACKBONE]:RECIPE, got {text!r}")
    name, backbone, recipe = parts["name"], parts["backbone"], parts["recipe"]
    if name not in METRICS:
        if recipe and recipe not in RECIPES and backbone is None:
            return Spec(text)
        raise SettingError(f"unknown metric {name!r}.{did_you_mean(name, METRICS)}")
    return Spec(name, recipe or OURS, backbone)


def chosen(recipes: Mapping[str, T], spec: Spec) -> T:
    """Return the settings of the requested recipe. Raises SettingError if the metric does not have it."""
    if spec.recipe not in recipes:
        raise SettingError(f"{spec.name} has no recipe {spec.recipe!r}.{did_you_mean(spec.recipe, recipes)}")
    return recipes[spec.recipe]


def stamp(metric: Metric) -> dict[str, Any]:
    """Return everything that a result records of its metric: recipe, unit, range and direction."""
    direction = {True: "higher is better", False: "lower is better", None: "no direction"}
    return {
        "metric": metric.name,
        "unit": metric.unit,
        "range": list(metric.range),
        "direction": direction[metric.higher_is_better],
        "recipe": asdict(metric.recipe),
    }


@runtime_checkable
class Metric(Protocol):
    """A metric: one number per generated image. Means and intervals are computed elsewhere.

    Attributes
    ----------
    needs
        Fields of ``Rows`` that it reads besides the images.
    higher_is_better
        Direction; None if neither is better.
    """

    name: str
    recipe: Recipe
    unit: str
    range: tuple[float, float]
    higher_is_better: bool | None
    needs: tuple[str, ...]

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return (B,) float64 values, NaN for a row without something to compare with."""
