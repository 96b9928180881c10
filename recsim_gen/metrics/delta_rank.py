"""Change of an item's rank in users' lists when its image changes: ΔR and ΔMRR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.statistics import RESAMPLES, Estimate, bootstrap_columns

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.types import Counterfactual

METRICS = ("delta_r", "delta_mrr", "improved")


def delta_r(original: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Return ΔR (B,) = (rk_ori − rk_gen) / (1 + rk_ori) of 1-based ranks (B,); RAGAR, Sec. 5.1.

    In (−n/2, 1) for n items; positive if the item rises. The lower tail is long, since an item at the top can
    fall much further than it could rise.
    """
    original, generated = _ranks(original, generated)
    return (original - generated) / (1 + original)


def delta_mrr(original: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Return ΔMRR (B,) = 1/rk_gen − 1/rk_ori, in (−1, 1); positive if the item rises.

    It weighs changes at the top of the list.
    """
    original, generated = _ranks(original, generated)
    return 1 / generated - 1 / original


def improved(original: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Return (B,) 1 if the rank is better, 0 if worse or equal: a measure without long tails."""
    original, generated = _ranks(original, generated)
    return (generated < original).astype(float)


def per_sample(counterfactual: Counterfactual) -> pd.DataFrame:
    """Return one row per triple: ``METRICS``, ranks, change of score, ``touched``, ``gap``."""
    import pandas as pd

    c = counterfactual
    numbers = {
        "delta_r": delta_r(c.original_rank, c.rank),
        "delta_mrr": delta_mrr(c.original_rank, c.rank),
        "improved": improved(c.original_rank, c.rank),
        "original_rank": c.original_rank,
        "rank": c.rank,
        "delta_score": c.score - c.original_score,
        "touched": c.touched,
        "gap": c.gap,
    }
    return pd.DataFrame(numbers)


def summarise(
    values: pd.DataFrame | Mapping[str, np.ndarray],
    people: np.ndarray,
    rng: Rng,
    *,
    trainings: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Return the mean of each of ``METRICS`` with its 95% interval; ``people`` (B,) are the clusters.

    ``trainings`` (B,): the judge's seed behind each row, if there are several; resampled too.
    """
    columns = np.stack([np.asarray(values[metric], dtype=float) for metric in METRICS], axis=1)
    estimates = bootstrap_columns(columns, people, rng, trainings=trainings, resamples=resamples)
    return dict(zip(METRICS, estimates, strict=True))


def _ranks(original: np.ndarray, generated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both rank arrays as floats. Raises DataError for invalid ones."""
    original, generated = np.asarray(original, dtype=float), np.asarray(generated, dtype=float)
    if original.shape != generated.shape:
        raise DataError(f"ranks must be (B,) alike, got {original.shape} and {generated.shape}")
    for ranks in (original, generated):
        if not (ranks >= 1).all():
            raise DataError(f"ranks count from 1, got {ranks[~(ranks >= 1)][0]}")
    return original, generated
