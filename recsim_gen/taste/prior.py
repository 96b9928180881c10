"""Prior of tastes, estimated from co-choices: correlation of categories, directions, and variances.

Two choices of one person, in categories a and b, have E[z_a z_bᵀ] = K[a, b]·S, since the noise of two
observations is independent. So K and S follow from the mean products of pairs, without pairs of a choice with
itself. In the eigenvectors of S tastes are independent. Their variances are not estimated from the same
pairs, since the largest of many directions are large partly by chance, but from the choices of other people
(Bartz, "Cross-validation based nonlinear shrinkage", 2016).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsim_gen.taste.histories import BLOCK, Histories

ROUNDS = 2  # alternations between K and S; more do not change the result
FOLDS = 5  # folds of people, for the strengths
PEOPLE = 5_000  # most people used, evenly spaced
USUAL_PAIRS = 200.0  # weight of the mean agreement in pairs: shrinks categories rarely chosen together
TINY = 1e-12


class Prior(NamedTuple):
    """Prior of tastes.

    Parameters
    ----------
    agreement
        K (C, C), positive semi-definite with ones on its diagonal.
    directions
        (d, d) orthonormal columns along which tastes are independent.
    strength
        s (d,) ≥ 0: their variances.
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

    An agreement is shrunk towards the mean agreement of two categories. If no person chose twice, tastes of
    different categories are independent and have unit variance.

    Parameters
    ----------
    histories
        Item rows of each person.
    features
        (n, d), whitened within categories.
    category
        (n,) codes.
    turned
        Learn the directions; False: use those of the features, in their order. That has fewer parameters and
        suits few features with a meaning of their own.
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
    """Return `strength_products` (F, d, d) and (F,) of each fold."""
    products = [strength_products(fold, features, category, agreement) for fold in folds]
    return np.stack([taste for taste, _ in products]), np.array([pairs for _, pairs in products])


def strength_products(
    people: Histories, features: NDArray[Any], category: NDArray[Any], agreement: NDArray[Any]
) -> tuple[NDArray[Any], float]:
    """Return the sum of K[a, b]·z_a z_bᵀ (d, d) over ordered pairs of one person's choices, and of K[a, b]².

    Their ratio estimates S. Computed from sums by category, in O(people·C·d·(C + d)).
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
    """Return the sum of z_aᵀ S z_b (C, C) over ordered pairs of a person's choices in a and b.

    Also returns the number of pairs (C, C).
    """
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
    """Yield blocks of people: numbers of choices (C, P), and sums of features (C·P, d), by category."""
    count = int(category.max()) + 1
    size = max(1, BLOCK // (count * features.shape[1]))
    for start in range(0, len(people), size):
        some = people.take(np.arange(start, min(start + size, len(people))))
        cell = category[some.items] * len(some) + some.person
        shape = (count * len(some), len(features))
        cells = csr_array((np.ones(len(cell)), (cell, some.items)), shape)
        yield np.bincount(cell, minlength=shape[0]).reshape(count, -1).astype(np.float64), cells @ features


def agreement_of(sums: NDArray[Any], pairs: NDArray[Any]) -> NDArray[Any]:
    """Return K (C, C) from sums of agreements over pairs, each shrunk towards the mean agreement."""
    apart = ~np.eye(len(pairs), dtype=bool)
    usual = np.where(apart, _mean(sums[apart], pairs[apart]), _mean(np.diag(sums), np.diag(pairs)))
    return correlation((sums + USUAL_PAIRS * usual) / (pairs + USUAL_PAIRS))


def cross_validated(products: NDArray[Any], pairs: NDArray[Any]) -> NDArray[Any]:
    """Return S (d, d) from the folds' `strength_products` (F, d, d) and (F,).

    Directions come from the other folds, variances from the fold itself. Positive semi-definite. With a
    single fold it is the positive part of the estimate.
    """
    total, number = products.sum(0), pairs.sum()
    tastes = []
    for fold, n in zip(products, pairs, strict=True):
        if n > 0 and number > n:
            directions = np.linalg.eigh(total - fold)[1]
            strength = ((fold / n) @ directions * directions).sum(
                0
            )  # may be below 0 by chance, which averages out
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
