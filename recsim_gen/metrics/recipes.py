"""What a metric's number means: backbone, weights, preparation, scale, direction.

Public numbers of one name come from different recipes. A metric is asked for by

    NAME              ours: done right                                  ``ssim``
    NAME:RECIPE       as published code has it, labelled                ``ssim:pmg-bench``
    NAME[BACKBONE]    with another network, under a name that says so   ``cps[boutique-clip]``

and by both, ``cps[boutique-clip]:x100``. Recipes: ``ours``; ``x100`` (ours times 100, as RAGAR's
Table 2 prints CLIP scores, LPIPS and SSIM); ``pmg-bench`` (PMG-Bench) and ``pigeon`` (Pigeon);
``torchmetrics`` (SSIM alone).
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
    """How a metric's number is made; empty where a field does not apply.

    ``backbone`` names the network and ``weights`` the hash of its weights and preparation;
    ``resize`` is what happens to pictures before; ``input_range`` are the values that enter;
    ``scale`` multiplies the result; ``prompt`` is the form of the text; ``note`` is what a reader of
    the number must know.
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
    """A metric as it was asked for: its name, its recipe, its backbone (None: the recipe's own)."""

    name: str
    recipe: str = OURS
    backbone: str | None = None

    def __str__(self) -> str:
        backbone = "" if self.backbone is None else f"[{self.backbone}]"
        return f"{self.name}{backbone}" + ("" if self.recipe == OURS else f":{self.recipe}")


def read_spec(text: str) -> Spec:
    """``NAME[BACKBONE]:RECIPE`` in parts. A ``module:Class`` of the reader's own is a name.

    Raises SettingError where it is no such text, or names no metric.
    """
    parts = _SPEC.fullmatch(text)
    if parts is None:
        raise SettingError(f"a metric is NAME, NAME[BACKBONE] or NAME[BACKBONE]:RECIPE, got {text!r}")
    name, backbone, recipe = parts["name"], parts["backbone"], parts["recipe"]
    if name not in METRICS:
        if recipe and recipe not in RECIPES and backbone is None:
            return Spec(text)
        raise SettingError(f"unknown metric {name!r}.{did_you_mean(name, METRICS)}")
    return Spec(name, recipe or OURS, backbone)


def chosen(recipes: Mapping[str, T], spec: Spec) -> T:
    """The settings of the recipe that is asked for. Raises SettingError where the metric has no such one."""
    if spec.recipe not in recipes:
        raise SettingError(f"{spec.name} has no recipe {spec.recipe!r}.{did_you_mean(spec.recipe, recipes)}")
    return recipes[spec.recipe]


def stamp(metric: Metric) -> dict[str, Any]:
    """All that a result says of its metric: recipe, unit, range and direction."""
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
    """One number for each generated picture. Means and intervals are made elsewhere, once.

    ``needs`` are the fields of ``Rows`` that it reads beside the pictures; ``higher_is_better`` is
    None where neither direction is better by itself.
    """

    name: str
    recipe: Recipe
    unit: str
    range: tuple[float, float]
    higher_is_better: bool | None
    needs: tuple[str, ...]

    def __call__(self, rows: Rows) -> np.ndarray:
        """(B,) float64, NaN for a row that lacks what is compared with."""
