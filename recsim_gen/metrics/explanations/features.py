"""Metrics of the features that reasons name (PETER; Li, Zhang and Chen, ACL 2021), and their correctness.

Each of B reasons names a set of features (attributes of items), which may be empty. USR, FCR and DIV are
values of the whole set; the others have one value per reason, NaN where undefined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

Named = Sequence[Collection[str]]


def unique_sentence_ratio(sentences: Sequence[str]) -> float:
    """Return USR = number of distinct sentences / B, in (0, 1]; higher is better."""
    return len(set(sentences)) / len(sentences)


def feature_coverage_ratio(named: Named, known: Collection[str]) -> float:
    """Return FCR = share of the ``known`` features that some reason names, in [0, 1]; higher is better.

    NaN if no feature is known.
    """
    used = {feature for features in named for feature in features}
    return len(used & set(known)) / len(set(known)) if known else float("nan")


def feature_diversity(named: Named) -> float:
    """Return DIV = mean number of features that two reasons share, over all pairs, ≥ 0; lower is better.

    A feature named by n reasons is shared by n(n − 1)/2 pairs, so the cost is O(features named). NaN for a
    single reason.
    """
    pairs = len(named) * (len(named) - 1)
    times = Counter(feature for features in named for feature in set(features))
    return sum(n * (n - 1) for n in times.values()) / pairs if pairs else float("nan")


def feature_matching(named: Named, true: Sequence[str | None]) -> np.ndarray:
    """Return FMR: (B,) 1 if a reason names its true feature, else 0; NaN without a true feature (None)."""
    pairs = zip(named, true, strict=True)
    return np.array([np.nan if feature is None else float(feature in of) for of, feature in pairs])


def precision(named: Named, right: Named) -> np.ndarray:
    """Return the (B,) share of the features named by a reason that are ``right``; NaN if it names none."""
    return np.array([_share(set(of), set(wanted)) for of, wanted in zip(named, right, strict=True)])


def recall(named: Named, right: Named) -> np.ndarray:
    """Return the (B,) share of ``right`` features that a reason names; NaN if there are none."""
    return precision(right, named)


def _share(of: set[str], among: set[str]) -> float:
    return len(of & among) / len(of) if of else float("nan")
