"""Posterior of tastes that are correlated across categories: a batched linear model of coregionalisation.

A person's taste in category c is a vector t_c (d,) with the prior Cov(t_c,k, t_c',k) = s_k·K[c, c'] and
independent dimensions k. An item chosen in category c with features z is a noisy observation of it: z = t_c +
ε, ε ~ N(0, σ²). With h choices the posterior of t_c,k is Gaussian:

    mean     s_k · K[c, h] (s_k·K[h, h] + σ²)⁻¹ z_h,k
    variance s_k · K[c, c] − s_k² · K[c, h] (s_k·K[h, h] + σ²)⁻¹ K[h, c]

(Álvarez, Rosasco and Lawrence, "Kernels for vector-valued functions", 2012, Sec. 4.2.) Choices in one
category enter only by their number N and their sum, so K[h, h] reduces to √N K √N over the G categories that
the person chose in. It is the same for all dimensions: one eigendecomposition per person, O(G³), is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_gen.taste.histories import Histories


class Posterior(NamedTuple):
    """Tastes of B people in A categories each: ``mean`` and ``variance`` (B, A, d)."""

    mean: NDArray[Any]
    variance: NDArray[Any]


def posterior(
    histories: Histories | Sequence[NDArray[Any]],
    categories: NDArray[Any],
    *,
    features: NDArray[Any],
    category: NDArray[Any],
    agreement: NDArray[Any],
    strength: NDArray[Any],
    noise: float,
) -> Posterior:
    """Return the posterior tastes of B people in A categories each.

    Parameters
    ----------
    histories
        B arrays of item rows; for an empty one the posterior is the prior.
    categories
        (B, A) categories to predict.
    features, category
        (n, d) whitened features z of all items, and (n,) their categories.
    agreement
        K (C, C), symmetric and positive semi-definite.
    strength
        s (d,) ≥ 0, prior variance of a taste along each dimension.
    noise
        σ² > 0.
    """
    people = Histories.of(histories)
    mean = np.zeros((*categories.shape, len(strength)))
    variance = np.empty_like(mean)
    for at in people.blocks(len(strength) + categories.shape[1]):
        seen, target = people.take(np.arange(at.start, at.stop)).evidence(features, category), categories[at]
        c, root = seen.category, np.sqrt(seen.number)
        between = root[:, :, None] * agreement[c[:, :, None], c[:, None]] * root[:, None]
        eigenvalues, q = np.linalg.eigh(between)
        cross = (agreement[target[:, :, None], c[:, None]] * root[:, None]) @ q  # (B, A, G)
        shrink = strength / (strength * np.maximum(eigenvalues, 0)[..., None] + noise)  # (B, G, d)
        average = seen.total / np.maximum(root, 1)[..., None]
        mean[at] = cross @ (shrink * (np.swapaxes(q, 1, 2) @ average))
        prior = strength * agreement[target, target][..., None]
        variance[at] = np.maximum(prior - strength * (cross**2 @ shrink), 0)
    return Posterior(mean, variance)
