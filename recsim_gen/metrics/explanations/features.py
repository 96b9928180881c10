"""What reasons name: the measures of PETER (Li, Zhang and Chen, ACL 2021), and whether it is right.

Of B reasons each names a collection of features, that is attributes of items, which may be empty. USR, FCR
and DIV are numbers of a whole set; the others have one for each reason, NaN where it has no answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

Named = Sequence[Collection[str]]


def unique_sentence_ratio(sentences: Sequence[str]) -> float:
    """USR = number of distinct sentences / B, in (0, 1]; higher is better."""
    return len(set(sentences)) / len(sentences)


def feature_coverage_ratio(named: Named, known: Collection[str]) -> float:
    """FCR = features of ``known`` that some reason names / all of ``known``, in [0, 1]; higher is better.

    NaN where no feature is known.
    """
    used = {feature for features in named for feature in features}
    return len(used & set(known)) / len(set(known)) if known else float("nan")


def feature_diversity(named: Named) -> float:
    """DIV = mean number of features that two reasons share, over all pairs, ≥ 0; lower is better.

    A feature that n of them name is shared by n(n − 1)/2 pairs, so no pair need be looked at: O(features
    named). NaN of a single reason.
    """
    pairs = len(named) * (len(named) - 1)
    times = Counter(feature for features in named for feature in set(features))
    return sum(n * (n - 1) for n in times.values()) / pairs if pairs else float("nan")


def feature_matching(named: Named, true: Sequence[str | None]) -> np.ndarray:
    """FMR: (B,) 1 where a reason names its true feature, else 0; NaN where it has none (None)."""
    pairs = zip(named, true, strict=True)
    return np.array([np.nan if feature is None else float(feature in of) for of, feature in pairs])


def precision(named: Named, right: Named) -> np.ndarray:
    """(B,) share of what a reason names that is among ``right``; NaN where it names nothing."""
    return np.array([_share(set(of), set(wanted)) for of, wanted in zip(named, right, strict=True)])


def recall(named: Named, right: Named) -> np.ndarray:
    """(B,) share of ``right`` that a reason names; NaN where nothing is right."""
    return precision(right, named)


def _share(of: set[str], among: set[str]) -> float:
    return len(of & among) / len(of) if of else float("nan")
