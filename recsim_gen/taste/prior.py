"""The prior of tastes, from co-choices: how categories agree, and how strong taste is along each coordinate.

Two choices of one person, in categories a and b, have E[z_a,k·z_b,k] = s_k·K[a, b]: the noise of two looks
is independent. So K and s follow from the mean products of pairs, a pair of a choice with itself left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ROUNDS = 5  # alternations between K and s
USUAL_PAIRS = 200.0  # pairs that the usual agreement counts as: shrinks categories seldom chosen together
HELD = 1 << 23  # sums by person, category and coordinate held at a time: 64 MiB
TINY = 1e-12


class Prior(NamedTuple):
    """``agreement`` K (C, C), positive semi-definite with ones on its diagonal; ``strength`` s (d,) ≥ 0."""

    agreement: np.ndarray
    strength: np.ndarray


def prior_of(histories: Sequence[np.ndarray], features: np.ndarray, category: np.ndarray) -> Prior:
    """Return the prior that fits the pairs of choices, by alternating least squares.

    ``histories`` of item rows; ``features`` (n, d) whitened within categories; ``category`` (n,) codes. An
    agreement is shrunk towards the usual one of two categories. Without a person who chose twice, tastes
    of different categories are independent and of unit strength.
    """
    products, pairs = co_choices(histories, features, category)
    count, width = len(pairs), features.shape[1]
    agreement, strength, apart = np.eye(count), np.ones(width), ~np.eye(count, dtype=bool)
    if not pairs.sum():
        return Prior(agreement, strength)
    for _ in range(ROUNDS):
        total = np.einsum("ab,abd->d", agreement, products)
        strength = np.maximum(total / max((agreement**2 * pairs).sum(), TINY), 0)
        sums = products @ strength / max((strength**2).sum(), TINY)
        usual = np.where(apart, _mean(sums[apart], pairs[apart]), _mean(np.diag(sums), np.diag(pairs)))
        agreement = correlation((sums + USUAL_PAIRS * usual) / (pairs + USUAL_PAIRS))
    return Prior(agreement, strength)


def co_choices(
    histories: Sequence[np.ndarray], features: np.ndarray, category: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of z_a,k·z_b,k (C, C, d) over all ordered pairs of one person's choices, and their number (C, C).

    From sums by person and category, in O(people·C²·d), some thousand people at a time; a choice is never
    paired with itself.
    """
    count, width = int(category.max()) + 1, features.shape[1]
    products, pairs = np.zeros((count, count, width)), np.zeros((count, count))
    block = max(1, HELD // (count * width))
    for start in range(0, len(histories), block):
        part = histories[start : start + block]
        sums, number = np.zeros((len(part), count, width)), np.zeros((len(part), count))
        person = np.repeat(np.arange(len(part)), [len(h) for h in part])
        rows = np.concatenate([np.asarray(h, dtype=np.int64) for h in part])
        np.add.at(sums, (person, category[rows]), features[rows])
        np.add.at(number, (person, category[rows]), 1)
        by_width = sums.transpose(2, 1, 0)  # a product of matrices for each coordinate
        products += (by_width @ by_width.transpose(0, 2, 1)).transpose(1, 2, 0)
        pairs += number.T @ number
        np.add.at(products, (category[rows], category[rows]), -(features[rows] ** 2))
        pairs[np.arange(count), np.arange(count)] -= number.sum(0)
    return products, pairs


def correlation(matrix: np.ndarray) -> np.ndarray:
    """Return the positive semi-definite part of a symmetric matrix, scaled to ones on its diagonal."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    nearest = (vectors * np.maximum(values, 0)) @ vectors.T
    scale = np.sqrt(np.maximum(np.diag(nearest), TINY))
    scaled: np.ndarray = nearest / scale[:, None] / scale
    np.fill_diagonal(scaled, 1.0)
    return scaled


def _mean(sums: np.ndarray, pairs: np.ndarray) -> float:
    return float(sums.sum() / max(pairs.sum(), TINY))
