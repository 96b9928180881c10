"""The prior of tastes, from co-choices: how categories agree, along what directions, and how strongly.

Two choices of one person, in categories a and b, have E[z_a z_bᵀ] = K[a, b]·S: the noise of two looks is
independent. So K and S follow from the mean products of pairs, a pair of a choice with itself left out.
In the eigenvectors of S tastes are independent. How strong they are is not what the same pairs say, for the
largest of many directions are so by chance as well: it is what the choices of other people say (Bartz,
"Cross-validation based nonlinear shrinkage", 2016).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsim_gen.taste.histories import BLOCK, Histories

ROUNDS = 2  # alternations between K and S: more change no digit that matters
FOLDS = 5  # of people, for the strengths
PEOPLE = 5_000  # whose choices are looked at, evenly spaced
USUAL_PAIRS = 200.0  # pairs that the usual agreement counts as: shrinks categories seldom chosen together
TINY = 1e-12


class Prior(NamedTuple):
    """Prior of tastes.

    ``agreement`` K (C, C), positive semi-definite with ones on its diagonal; ``directions`` (d, d),
    orthonormal columns along which tastes are independent; ``strength`` s (d,) ≥ 0: their variances.
    """

    agreement: NDArray[Any]
    directions: NDArray[Any]
    strength: NDArray[Any]


def prior_of(
    histories: Histories | Sequence[NDArray[Any]],
    features: NDArray[Any],
    category: NDArray[Any],
    *,
    turned: bool = True,
) -> Prior:
    """Return the prior that fits the pairs of choices, by alternating least squares.

    ``histories`` of item rows; ``features`` (n, d) whitened within categories; ``category`` (n,) codes. An
    agreement is shrunk towards the usual one of two categories. Directions are learned, or with ``turned``
    False those of the features, in their order: fewer numbers to learn, which suits few features that stand
    for things of their own. Without a person who chose twice, tastes of different categories are independent
    and of unit strength.
    """
    people, width = Histories.of(histories), features.shape[1]
    agreement, twice = np.eye(int(category.max()) + 1), np.flatnonzero(people.lengths > 1)
    if not len(twice):
        return Prior(agreement, np.eye(width), np.ones(width))
    twice = twice[:: -(-len(twice) // PEOPLE)]
    folds = [people.take(twice[k::FOLDS]) for k in range(min(FOLDS, len(twice)))]
    sums, pairs = _over_folds(folds, features, category, agreement)
    for _ in range(ROUNDS):
        taste = sums.sum(0) / max(pairs.sum(), TINY)
        taste = taste if turned else np.diag(np.diag(taste))
        alike, number = agreement_products(people.take(twice), features, category, taste)
        agreement = agreement_of(alike / max((taste**2).sum(), TINY), number)
        sums, pairs = _over_folds(folds, features, category, agreement)
    if not turned:
        strength = np.diag(sums.sum(0)) / max(pairs.sum(), TINY)
        return Prior(agreement, np.eye(width), np.maximum(strength, 0))
    strength, directions = np.linalg.eigh(cross_validated(sums, pairs))
    return Prior(agreement, directions[:, ::-1], np.maximum(strength[::-1], 0))


def _over_folds(
    folds: Sequence[Histories], features: NDArray[Any], category: NDArray[Any], agreement: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """`strength_products` (F, d, d) and (F,) of each fold."""
    products = [strength_products(fold, features, category, agreement) for fold in folds]
    return np.stack([taste for taste, _ in products]), np.array([pairs for _, pairs in products])


def strength_products(
    people: Histories, features: NDArray[Any], category: NDArray[Any], agreement: NDArray[Any]
) -> tuple[NDArray[Any], float]:
    """Sum of K[a, b]·z_a z_bᵀ (d, d) over ordered pairs of one person's choices, and of K[a, b]².

    Their ratio estimates S. From sums by category, in O(people·C·d·(C + d)).
    """
    chosen = features[people.items]
    products, pairs = -(chosen.T @ chosen), -float(len(chosen))
    for number, total in _by_category(people, features, category):
        agreeing = (agreement @ total.reshape(len(number), -1)).reshape(total.shape)
        products += agreeing.T @ total
        pairs += float((number * (agreement**2 @ number)).sum())
    return (products + products.T) / 2, pairs


def agreement_products(
    people: Histories, features: NDArray[Any], category: NDArray[Any], taste: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sum of z_aᵀ S z_b (C, C) over ordered pairs of one person's choices in a and b, and their number."""
    chosen, codes, count = features[people.items], category[people.items], int(category.max()) + 1
    products = -np.diag(np.bincount(codes, ((chosen @ taste) * chosen).sum(1), count))
    pairs = -np.diag(np.bincount(codes, minlength=count)).astype(np.float64)
    for number, total in _by_category(people, features, category):
        products += (total @ taste).reshape(count, -1) @ total.reshape(count, -1).T
        pairs += number @ number.T
    return products, pairs


def _by_category(
    people: Histories, features: NDArray[Any], category: NDArray[Any]
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Of some people at a time: choices (C, P), and their sums of features (C·P, d), by category."""
    count = int(category.max()) + 1
    size = max(1, BLOCK // (count * features.shape[1]))
    for start in range(0, len(people), size):
        some = people.take(np.arange(start, min(start + size, len(people))))
        cell = category[some.items] * len(some) + some.person
        shape = (count * len(some), len(features))
        cells = csr_array((np.ones(len(cell)), (cell, some.items)), shape)
        yield np.bincount(cell, minlength=shape[0]).reshape(count, -1).astype(np.float64), cells @ features


def agreement_of(sums: NDArray[Any], pairs: NDArray[Any]) -> NDArray[Any]:
    """K (C, C) of sums of agreements over pairs, each shrunk towards the usual one of two categories."""
    apart = ~np.eye(len(pairs), dtype=bool)
    usual = np.where(apart, _mean(sums[apart], pairs[apart]), _mean(np.diag(sums), np.diag(pairs)))
    return correlation((sums + USUAL_PAIRS * usual) / (pairs + USUAL_PAIRS))


def cross_validated(products: NDArray[Any], pairs: NDArray[Any]) -> NDArray[Any]:
    """S (d, d) of folds' `strength_products` (F, d, d) and (F,): others give directions, the fold strengths.

    Positive semi-definite. Of one fold alone it is the estimate's positive part.
    """
    total, number = products.sum(0), pairs.sum()
    tastes = []
    for fold, n in zip(products, pairs, strict=True):
        if n > 0 and number > n:
            directions = np.linalg.eigh(total - fold)[1]
            strength = ((fold / n) @ directions * directions).sum(0)  # below 0 by chance: averages out
            tastes.append((directions * strength) @ directions.T)
    return semi_definite(np.mean(tastes, axis=0) if tastes else total / max(number, TINY))


def semi_definite(matrix: NDArray[Any]) -> NDArray[Any]:
    """Return the positive semi-definite part of a symmetric matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    part: NDArray[Any] = (vectors * np.maximum(values, 0)) @ vectors.T
    return part


def correlation(matrix: NDArray[Any]) -> NDArray[Any]:
    """Return the positive semi-definite part of a symmetric matrix, scaled to ones on its diagonal."""
    nearest = semi_definite(matrix)
    scale = np.sqrt(np.maximum(np.diag(nearest), TINY))
    scaled: NDArray[Any] = nearest / scale[:, None] / scale
    np.fill_diagonal(scaled, 1.0)
    return scaled


def _mean(sums: NDArray[Any], pairs: NDArray[Any]) -> float:
    return float(sums.sum() / max(pairs.sum(), TINY))
