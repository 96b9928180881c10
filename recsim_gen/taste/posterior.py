"""Posterior of tastes that agree across categories: a linear model of coregionalisation, batched.

A person's taste in category c is a vector t_c (d,) with the prior Cov(t_c,k, t_c',k) = s_k·K[c, c'], and
independent dimensions k. An item that was chosen in category c with features z is a noisy look at it:
z = t_c + ε, ε ~ N(0, σ²). With h choices the posterior of t_c,k is Gaussian:

    mean     s_k · K[c, h] (s_k·K[h, h] + σ²)⁻¹ z_h,k
    variance s_k · K[c, c] − s_k² · K[c, h] (s_k·K[h, h] + σ²)⁻¹ K[h, c]

(Álvarez, Rosasco and Lawrence, "Kernels for vector-valued functions", 2012, Sec. 4.2.) K[h, h] is the same
for all dimensions, so one eigendecomposition a person serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BLOCK = 1 << 22  # entries of K[h, h] and what it is multiplied with, held at a time: 32 MiB


class Posterior(NamedTuple):
    """Tastes of B people in A categories each: ``mean`` and ``variance`` (B, A, d)."""

    mean: np.ndarray
    variance: np.ndarray


def posterior(
    histories: Sequence[np.ndarray],
    categories: np.ndarray,
    *,
    features: np.ndarray,
    category: np.ndarray,
    agreement: np.ndarray,
    strength: np.ndarray,
    noise: float,
) -> Posterior:
    """Return what B people like in A categories each.

    Parameters
    ----------
    histories
        B arrays of item rows, which may be empty: then the posterior is the prior.
    categories
        (B, A) the categories that are asked about.
    features, category
        (n, d) whitened features z of all items, and (n,) their categories.
    agreement
        K (C, C), symmetric and positive semi-definite.
    strength
        s (d,) ≥ 0, prior variance of a taste along each dimension.
    noise
        σ² > 0.
    """
    mean = np.zeros((*categories.shape, len(strength)))
    variance = np.empty_like(mean)
    longest = max((len(h) for h in histories), default=0)
    block = max(1, BLOCK // max(1, longest * (longest + len(strength) + categories.shape[1])))
    for start in range(0, len(histories), block):
        at = slice(start, start + block)
        rows, known = _padded(histories[at])
        c, asked = category[rows], categories[at]
        pairs = known[:, :, None] & known[:, None, :]
        eigenvalues, q = np.linalg.eigh(np.where(pairs, agreement[c[:, :, None], c[:, None, :]], 0.0))
        cross = np.where(known[:, None], agreement[asked[:, :, None], c[:, None]], 0.0) @ q  # (B, A, L)
        shrink = strength / (strength * np.maximum(eigenvalues, 0)[..., None] + noise)  # (B, L, d)
        seen = np.swapaxes(q, 1, 2) @ np.where(known[..., None], features[rows], 0.0)
        mean[at] = cross @ (shrink * seen)
        prior = strength * agreement[asked, asked][..., None]
        variance[at] = np.maximum(prior - strength * (cross**2 @ shrink), 0)
    return Posterior(mean, variance)


def _padded(histories: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(B, L) item rows, 0 where a history is shorter, and (B, L) whether each is one of the history."""
    lengths = np.array([len(h) for h in histories], dtype=np.int64)
    known = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    rows = np.zeros(known.shape, dtype=np.int64)
    if lengths.sum():
        rows[known] = np.concatenate([np.asarray(h, dtype=np.int64) for h in histories])
    return rows, known
