"""Aggregates values of images to values of methods: means, intervals, and differences from a baseline.

Values of images form a table with one row per ``variant``, ``seed`` and ``episode``, and its ``person``. If a
variant has several seeds (trainings, or draws of the noise), intervals resample both seeds and people. NaN is
ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.statistics import Estimate, bootstrap_columns, holm

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """``variant`` minus the baseline, paired by seed and episode; p by Holm over a metric's variants."""

    variant: str
    metric: str
    estimate: Estimate
    p_holm: float

    @property
    def sign(self) -> int:
        """1: above the baseline, −1: below (p < 0.05 and all seeds agree), 0: undecided."""
        return self.estimate.decided(self.p_holm, LEVEL)


def estimates(values: pd.DataFrame, metrics: Sequence[str], rng: Rng) -> dict[str, Estimate]:
    """Return the mean of each metric with its 95% interval, resampling people and seeds.

    ``values`` has ``person``, ``seed`` and the metrics, one row per seed and episode. A metric without any
    value is left out.
    """
    present = values[[*metrics]].notna()
    alike: dict[bytes, list[str]] = {}
    for metric in metrics:  # columns with the same rows share their resamples
        alike.setdefault(present[metric].to_numpy().tobytes(), []).append(metric)
    by_metric: dict[str, Estimate] = {}
    for names in alike.values():
        part = values[present[names[0]]]
        if len(part):
            drawn = bootstrap_columns(
                part[names].to_numpy(float),
                part["person"].to_numpy(),
                rng,
                trainings=part["seed"].to_numpy(),
            )
            by_metric.update(zip(names, drawn, strict=True))
    return by_metric


def add_rows(
    values: pd.DataFrame,
    about: Mapping[str, Mapping[str, Any]],
    of_variant: Mapping[str, Mapping[str, Any]],
    results: Results,
    rng: Rng,
) -> None:
    """Add each variant's metrics as rows of the results: of each seed, and over all (``seed`` null).

    ``about`` {metric: further columns}, ``of_variant`` {variant: further columns}. The overall row has
    ``sd``, the standard deviation of the seeds' means (null for one seed).
    """
    metrics = [*about]
    for variant in dict.fromkeys(values["variant"]):
        mine = values[values["variant"] == variant]
        means: dict[str, list[float]] = {metric: [] for metric in metrics}
        for seed, part in mine.groupby("seed", sort=True):
            for metric, e in estimates(part, metrics, rng).items():
                means[metric].append(e.value)
                more = {**about[metric], **of_variant[variant], "sd": None}
                _add(results, variant, metric, int(seed), e, more)
        for metric, e in estimates(mine, metrics, rng).items():
            several = len(means[metric]) > 1
            sd = float(np.std(means[metric], ddof=1)) if several else None
            _add(results, variant, metric, None, e, {**about[metric], **of_variant[variant], "sd": sd})


def add_set_rows(
    values: pd.DataFrame,
    about: Mapping[str, Mapping[str, Any]],
    of_variant: Mapping[str, Mapping[str, Any]],
    results: Results,
) -> None:
    """Add metrics of whole sets, whose images all have the set's value, as `add_rows` but without intervals.

    A set too small for a metric has no row.
    """
    for (variant, mine), metric in product(values.groupby("variant", sort=False), about):
        of_seed = mine.dropna(subset=[metric]).groupby("seed")[metric]
        means, sizes, more = of_seed.first(), of_seed.size(), {**about[metric], **of_variant[str(variant)]}
        for seed, value in means.items():
            n = int(sizes[seed])
            results.row(variant=str(variant), metric=metric, seed=seed, value=value, n=n, **more, sd=None)
        if len(means):
            sd = float(means.std(ddof=1)) if len(means) > 1 else None
            n = int(sizes.max())
            results.row(variant=str(variant), metric=metric, value=float(means.mean()), n=n, **more, sd=sd)


def compared(values: pd.DataFrame, metrics: Sequence[str], baseline: str, rng: Rng) -> list[Comparison]:
    """Return every other variant minus ``baseline``, on the episodes that both have, seed by seed.

    A variant with one seed, such as images from files, is compared with every seed of the other.
    """
    theirs = values[values["variant"] == baseline]
    by_variant: list[tuple[str, dict[str, Estimate]]] = []
    for variant in [v for v in dict.fromkeys(values["variant"]) if v != baseline]:
        paired = _differences(values[values["variant"] == variant], theirs, metrics)
        if len(paired):
            by_variant.append((variant, estimates(paired, metrics, rng)))
    comparisons = []
    for metric in metrics:
        column = [(variant, e[metric]) for variant, e in by_variant if metric in e]
        adjusted = holm([e.p for _, e in column]) if column else ()
        comparisons += [
            Comparison(v, metric, e, float(p)) for (v, e), p in zip(column, adjusted, strict=True)
        ]
    return comparisons


def _differences(ours: pd.DataFrame, theirs: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return ``person``, ``seed`` and the differences in ``metrics``, one row per common seed and episode."""
    alone = [part["seed"].nunique() == 1 for part in (ours, theirs)]
    keys = ["episode"] if any(alone) else ["episode", "seed"]
    columns = ["seed", "episode", *metrics]
    both = ours[["person", *columns]].merge(theirs[columns], on=keys, suffixes=("", "_theirs"))
    seed = both["seed_theirs"] if alone[0] else both["seed"]
    numbers = {m: both[m] - both[f"{m}_theirs"] for m in metrics}
    return both[["person"]].assign(seed=seed, **numbers)


def add_comparisons(
    comparisons: Sequence[Comparison],
    baseline: str,
    better: Mapping[str, bool | None],
    of_variant: Mapping[str, Mapping[str, Any]],
    results: Results,
) -> None:
    """Add the differences as rows ``METRIC_minus_BASELINE``, and a verdict for each variant.

    Rows have ``p_holm``, ``signs`` of the seeds, and ``decided``: whether the difference is significant.
    """
    of_metric = Counter(c.metric for c in comparisons)
    for c in comparisons:
        more = {
            **of_variant[c.variant],
            "p_holm": c.p_holm,
            "signs": c.estimate.signs,
            "decided": bool(c.sign),
        }
        _add(results, c.variant, f"{c.metric}_minus_{baseline}", None, c.estimate, more)
    for variant in dict.fromkeys(c.variant for c in comparisons):
        mine = [c for c in comparisons if c.variant == variant]
        decided = {
            "better": [c for c in mine if _decided(c, better) > 0],
            "worse": [c for c in mine if _decided(c, better) < 0],
        }
        words = [f"{sign} in {', '.join(c.metric for c in cs)}" for sign, cs in decided.items() if cs]
        count = max(of_metric[c.metric] for c in mine)
        rest = len(mine) - sum(map(len, decided.values()))
        words += [f"undecided in {rest} of {len(mine)}"] if rest else []
        text = f"paired; Holm over the {count} variants of each metric, p < {LEVEL}; all seeds of one sign"
        results.verdict(f"{variant} against {baseline}", f"{'; '.join(words)} ({text})")


def _decided(c: Comparison, better: Mapping[str, bool | None]) -> int:
    """Return 1: better, −1: worse, 0: undecided, or neither direction is better."""
    return 0 if better[c.metric] is None else c.sign if better[c.metric] else -c.sign


def _add(
    results: Results, variant: str, metric: str, seed: int | None, e: Estimate, more: Mapping[str, Any]
) -> None:
    results.row(
        variant=variant, metric=metric, seed=seed, value=e.value, low=e.low, high=e.high, n=e.n, **more
    )
