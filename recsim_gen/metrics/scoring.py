"""Opens metrics by name, and collects their values of every image in one table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsim_gen.core.errors import DataError, MissingDependency
from recsim_gen.core.progress import say
from recsim_gen.core.registry import METRICS, resolve
from recsim_gen.core.specs import check_encoder
from recsim_gen.metrics.recipes import OURS, Recipe, Spec, read_spec
from recsim_gen.metrics.resources import BOUTIQUE_CLIP, Resources
from recsim_gen.metrics.rows import MEANING

if TYPE_CHECKING:
    from recsim_gen.metrics.recipes import Metric
    from recsim_gen.metrics.rows import Rows


@dataclass
class Unavailable:
    """A metric that cannot be computed here: NaN values with a ``reason``, never a substitute."""

    name: str
    reason: str
    recipe: Recipe = field(default_factory=Recipe)
    unit: str = ""
    range: tuple[float, float] = (float("nan"), float("nan"))
    higher_is_better: bool | None = None
    needs: tuple[str, ...] = ()

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return (B,) NaN."""
        return np.full(len(rows), np.nan)

    def __str__(self) -> str:
        return f"unavailable: {self.reason}"


def open_metric(spec: str | Spec, resources: Resources | None = None) -> Metric:
    """Return the metric ``NAME[BACKBONE]:RECIPE`` (see `recipes`), or a user-defined ``module:Class``.

    Raises SettingError for an unknown name, recipe or backbone, and MissingDependency, with what is needed,
    if a package or weights are missing.
    """
    spec = read_spec(spec) if isinstance(spec, str) else spec
    metric: Metric = resolve(spec.name, METRICS, "metric")(spec, resources or Resources())
    return metric


class _Opened(Exception):
    """A metric requested a network, so its name, recipe and backbone are valid."""


class _NoNetworks(Resources):
    """Resources that check names and load nothing."""

    def encoder(self, backbone: str) -> Any:
        if backbone != BOUTIQUE_CLIP:
            check_encoder(backbone)
        raise _Opened

    def file(self, name: str, origin: str) -> Path:
        raise _Opened


def check_metrics(specs: Sequence[str]) -> None:
    """Raise SettingError for a recipe or backbone that a metric does not have; loads no network.

    Metrics given by name only need no check.
    """
    for spec in map(read_spec, specs):
        if spec.backbone is not None or spec.recipe != OURS:
            with suppress(_Opened, MissingDependency):
                open_metric(spec, _NoNetworks())


def open_metrics(
    specs: Sequence[str], resources: Resources | None = None, *, has: Collection[str] = tuple(MEANING)
) -> list[Metric]:
    """Return each metric; `Unavailable` if weights are missing or the rows lack what it needs.

    ``has`` lists the fields of the rows (``Rows.has``). Unavailable metrics are also reported on standard
    error. Raises SettingError for an invalid request.
    """
    resources = resources or Resources()
    metrics: list[Metric] = []
    for spec in map(read_spec, dict.fromkeys(specs)):
        try:
            metric = open_metric(spec, resources)
        except MissingDependency as error:
            reason = str(error)
            metric = Unavailable(str(spec), reason if reason.startswith("needs ") else f"needs {reason}")
        lacking = [name for name in metric.needs if name not in has]
        if lacking:
            metric = Unavailable(
                metric.name, "needs " + ", ".join(MEANING.get(name, name) for name in lacking)
            )
        if isinstance(metric, Unavailable):
            say(f"{metric.name} {metric}")
        metrics.append(metric)
    return metrics


def score_images(rows: Rows, metrics: Sequence[Metric]) -> pd.DataFrame:
    """Return one row per image: the labels of ``rows``, then a float64 column per metric.

    NaN if a row has nothing to compare with or the metric is unavailable. Features are shared by all metrics.
    Raises DataError if a metric returns another shape, infinity, or a value out of its range.
    """
    columns = {metric.name: _checked(metric, metric(rows), len(rows)) for metric in metrics}
    return pd.DataFrame({**{name: np.asarray(x) for name, x in rows.labels.items()}, **columns})


def _checked(metric: Metric, value: np.ndarray, n: int) -> np.ndarray:
    """Return the values of a metric. Raises DataError if they violate its contract."""
    value = np.asarray(value, dtype=np.float64)
    numbers = value[~np.isnan(value)]
    if value.shape != (n,) or not np.isfinite(numbers).all():
        raise DataError(f"{metric.name} must give ({n},) finite numbers or NaN, got {value.shape}")
    low, high = metric.range
    slack = 1e-6 * max(1.0, *(abs(x) for x in metric.range if np.isfinite(x)), 0.0)
    if len(numbers) and (numbers.min() < low - slack or numbers.max() > high + slack):
        raise DataError(
            f"{metric.name} must be in [{low:g}, {high:g}], got {numbers.min():g} to {numbers.max():g}"
        )
    return value
