"""Balance calibrator (Eq. 10), semantic reflection (Eq. 16) and their sum (Eq. 17)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    from generators.ragar.config import RAGARConfig

RIDGE = 1.0  # penalty for standardised vectors


def calibrator_loss(states: Tensor, target: Tensor) -> Tensor:
    """Return L_cal ≥ 0 (Eq. 10): ‖mean-pool(P_gen) − W·P_ret‖²/d, averaged over the batch.

    ``states`` P_gen (B, T, d); ``target`` W·P_ret (B, d), where P_ret itself has no gradient.
    """
    return _apart(states, target)


def semantic_loss(mapped: Tensor, target: Tensor) -> Tensor:
    """Return L_sem ≥ 0 (Eq. 16): as Eq. 10, for the mapper's states (B, Q, d) and the text (B, d)."""
    return _apart(mapped, target.detach())


def divergence(mean: Tensor, start: Tensor, sigma: float) -> Tensor:
    """Return the KL of the policies N(mean, σ²) and N(start, σ²), per dimension: ‖mean − start‖²/(2σ²d)."""
    return (mean - start).square().mean() / (2 * sigma**2)


def total(parts: Mapping[str, Tensor], config: RAGARConfig) -> Tensor:
    """Return α·L_cal + β·L_rank + γ·L_sem (Eq. 17) of the parts that exist, plus our anchor."""
    weight = {
        "calibrator": config.calibrator_weight,
        "rank": config.rank_weight,
        "semantic": config.semantic_weight,
        "anchor": config.anchor,
    }
    return torch.stack([weight[name] * loss for name, loss in parts.items()]).sum()


def ridge(visual: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return W (d, d_vis) and b (d,): ridge regression of text ≈ W·visual + b.

    Fitted to the images (n, d_vis) and texts (n, d) of one catalogue before anything else is trained: it
    locates an image in the space of texts, and cannot be changed to reduce a loss.
    """
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaled = make_pipeline(StandardScaler(), Ridge(RIDGE)).fit(visual.astype(np.float64), text)
    scaler, line = scaled.steps[0][1], scaled.steps[1][1]
    w = line.coef_ / scaler.scale_
    return w.astype(np.float32), (line.intercept_ - w @ scaler.mean_).astype(np.float32)


def _apart(states: Tensor, target: Tensor) -> Tensor:
    if states.ndim != 3 or states.shape[::2] != target.shape:
        shapes = f"{tuple(states.shape)} and {tuple(target.shape)}"
        raise DataError(f"states must be (B, T, d) and what they are compared with (B, d), got {shapes}")
    return (states.mean(1) - target).square().mean()
