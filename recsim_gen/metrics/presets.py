"""Named lists of metrics, and the block of Table 2 that each metric belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import METRICS, did_you_mean
from recsim_gen.metrics.delta_rank import METRICS as JUDGED
from recsim_gen.metrics.recipes import read_spec

if TYPE_CHECKING:
    from recsim_gen.metrics.recipes import Metric

BLOCKS = {
    "personalisation": (
        *JUDGED,
        "oracle_utility",
        "verifier",
        "cps",
        "cpis",
        "lpips_history",
        "st_lpips_history",
        "ssim_history",
        "diversity",
    ),
    "semantic": ("category_kept", "cs", "cis", "lpips", "st_lpips", "ssim"),
}
"""Blocks: metrics of personalisation and metrics of semantics; all other metrics are quality."""

QUALITY = "quality"

_RANKS = ("delta_r", "delta_mrr")

PRESETS = {
    "judged": (*_RANKS, "oracle_utility", "cpis[boutique-clip]", "category_kept", "cis[boutique-clip]"),
    "table2": (
        *_RANKS,
        "oracle_utility",
        "verifier",
        "cps[boutique-clip]",
        "cpis[boutique-clip]",
        "lpips_history",
        "ssim_history",
        "diversity[boutique-clip]",
        "category_kept",
        "cs[boutique-clip]",
        "cis[boutique-clip]",
        "lpips",
        "st_lpips",
        "ssim",
    ),
    "paper": (
        *_RANKS,
        "cps:pigeon",
        "cpis:pigeon",
        "lpips_history:pigeon",
        "ssim_history:pigeon",
        "cs:pigeon",
        "cis:pigeon",
        "lpips:pigeon",
        "ssim:pigeon",
    ),
}
"""``judged``: what rankers, tastes and CLIP say, without the slow pixel metrics; ``table2``: both blocks by
our recipes with the embedded CLIP; ``paper``: RAGAR's Table 2 by the public recipes nearest to it."""


def listed(names: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics with presets expanded and commas split, without repetitions, in order.

    A metric that is given with a backbone (``verifier[DIR]``) is not added without one by a preset.

    Raises SettingError for a name that is neither preset nor metric, and if none is given.
    """
    words = [word.strip() for name in names for word in name.split(",") if word.strip()]
    if not words:
        raise SettingError(f"give a metric or a preset.{did_you_mean('', [*PRESETS, *JUDGED, *METRICS])}")
    metrics: dict[str, None] = {}
    given = {plain_name(name) for name in words if "[" in name}
    for name in words:
        for metric in PRESETS.get(name, (name,)):
            if name in PRESETS and metric in given:
                continue
            if metric not in JUDGED:
                _check(metric)
            metrics[metric] = None
    return tuple(metrics)


def _check(metric: str) -> None:
    """Raise SettingError for an unknown metric."""
    try:
        read_spec(metric)
    except SettingError as error:
        if not metric.isidentifier():
            raise
        hint = did_you_mean(metric, [*PRESETS, *JUDGED, *METRICS])
        raise SettingError(f"unknown metric or preset {metric!r}.{hint}") from error


def plain_name(metric: str) -> str:
    """Return ``cps`` of ``cps[boutique-clip]:x100``."""
    return metric.partition("[")[0].partition(":")[0]


def block_of(metric: str) -> str:
    """Return ``personalisation``, ``semantic`` or ``quality``."""
    return next((block for block, names in BLOCKS.items() if plain_name(metric) in names), QUALITY)


def about(metric: Metric) -> dict[str, Any]:
    """Return the columns that a result row has about its metric."""
    direction = {True: "higher", False: "lower", None: None}[metric.higher_is_better]
    fields = {"block": block_of(metric.name), "better": direction, "unit": metric.unit}
    judged = {name: getattr(metric, name) for name in ("judge", "held_out", "scope") if hasattr(metric, name)}
    return {**fields, "recipe": metric.recipe.name, **judged}
