"""Warnings about sparse data: too little to distinguish rankers, or to learn an item; and what to do."""

from __future__ import annotations

from math import sqrt

import numpy as np

from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Dataset, Interactions
from recsim_gen.datasets.splits import TEST, TRAIN, by_ratio

FEW_TESTS = 500
"""Number of test choices below which a share of 0.1 has an interval of ± 0.026 or wider."""

OFFERED = 0.2
"""Share of each person's choices to suggest for test if test choices are few."""

WORTH_IT = 1.5
"""Factor of more test choices from which another split is suggested."""

SELDOM = 0.5
"""Share of test choices of items rare in training from which a warning is given."""


def thin_spots(dataset: Dataset) -> tuple[str, ...]:
    """Return a sentence for each way in which the data are too sparse; empty if they are not."""
    chosen = dataset.interactions
    return tuple(filter(None, (_few_tests(chosen), _seldom_chosen(chosen))))


def _few_tests(chosen: Interactions) -> str:
    """Warn about wide intervals due to few test choices, and suggest a split with more."""
    n = int((chosen.split == TEST).sum())
    if not 0 < n < FEW_TESTS:
        return ""
    margin = 1.96 * sqrt(0.1 * 0.9 / n)
    sentence = f"{n:,} test choices are few: a Recall of 0.1 is known to ± {margin:.2f} at best"
    more = int((by_ratio(chosen.user, Rng(0), test=OFFERED) == TEST).sum())
    if more < WORTH_IT * n:
        return sentence
    return (
        f"{sentence}; --data-settings.split by-ratio --data-settings.test_share {OFFERED} tests {more:,} of "
        f"{len(chosen):,}"
    )


def _seldom_chosen(chosen: Interactions) -> str:
    """Warn about test choices of items that at most one person chose in training."""
    times = np.bincount(chosen.item[chosen.split == TRAIN], minlength=chosen.n_items)
    tested = chosen.item[chosen.split == TEST]
    share = float((times[tested] <= 1).mean()) if len(tested) else 0.0
    if share < SELDOM:
        return ""
    return (
        f"{share:.0%} of test choices are of items that were chosen once or never in training: what learns "
        "them by their ids (bpr, lightgcn) hardly knows them, by their content (taste, din, vbpr) it may"
    )
