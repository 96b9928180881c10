"""Reward of a generated image and its policy gradient (paper Eq. 13–15).

Ling et al., RAGAR, Sec. 4.4. The printed equations cannot all be intended: as printed, an image that scores
lower is rewarded more. Both readings are implemented: ``corrected`` is the intended one, ``literal`` is for
comparison. All functions are pure functions of scores (from ``Ranker.substitute``).

Notation: B users or episodes, T generated images of each, C images they are compared with.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Reading

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_SD = 1e-8  # rewards with a smaller standard deviation count as equal


def rewards(
    generated: Tensor, contrasts: Tensor, *, margin: float = 0.1, reading: Reading = "corrected"
) -> Tensor:
    """Return the rewards R (B, T) of generated images (Eq. 13–14).

    ρ_t is the score of the reference item with generated image t, ρ_c its score with its own image (``ref``)
    and with the image drawn from keywords (``key``); δ = ``margin``.

    - corrected: R_t = −Σ_c max(0, δ + ρ_c − ρ_t) ≤ 0; 0 once the image beats all contrasts by δ.
    - literal: R_t = Σ_c max(0, ρ_c − ρ_t) + δ ≥ δ, as printed; increases as the image scores lower.

    Parameters
    ----------
    generated
        (B, T) scores ρ_t; the rewards are differentiable in them.
    contrasts
        (B, C) scores ρ_c.
    margin
        δ ≥ 0, in units of the score.
    reading
        corrected or literal.

    Returns
    -------
    Tensor
        (B, T) rewards.

    Raises
    ------
    DataError
        If the shapes do not fit.
    SettingError
        If the margin is negative or the reading unknown.
    """
    _check_reading(reading)
    if margin < 0:
        raise SettingError(f"margin must be 0 or more, got {margin}")
    if generated.ndim != 2 or contrasts.ndim != 2 or len(generated) != len(contrasts):
        shapes = f"{tuple(generated.shape)} and {tuple(contrasts.shape)}"
        raise DataError(f"scores must be (B, T) and contrasts (B, C), got {shapes}")
    behind = contrasts[:, None, :] - generated[:, :, None]
    if reading == "literal":
        return behind.clamp_min(0).sum(2) + margin
    return -(margin + behind).clamp_min(0).sum(2)


def advantages(reward: Tensor, *, standardise: bool = False) -> Tensor:
    """Return A (B, T): each reward minus the mean of the user's other rewards (leave-one-out); rows sum to 0.

    The baseline of a sample does not depend on the sample itself, so the gradient is unbiased.

    Parameters
    ----------
    reward
        (B, T) rewards.
    standardise
        Divide by the standard deviation of the user's rewards, so that users with large scores count as much
        as others; A is 0 if all rewards are equal.

    Raises
    ------
    SettingError
        If there are fewer than two samples.
    """
    samples = reward.shape[-1]
    if samples < 2:
        raise SettingError(f"leave-one-out needs at least 2 images per user, got {samples}")
    centred = reward - reward.mean(-1, keepdim=True)
    if standardise:
        sd = reward.std(-1, keepdim=True)
        centred = centred / sd.clamp_min(SMALLEST_SD) * (sd > SMALLEST_SD)
    return centred * (samples / (samples - 1))


def log_probability(action: Tensor, mean: Tensor, sigma: float, *, reading: Reading = "corrected") -> Tensor:
    """Return log π (B, T) of actions under N(``mean``, σ²·I) (Eq. 11–12).

    Parameters
    ----------
    action
        (B, T, …) samples.
    mean
        (B, …) means.
    sigma
        Standard deviation, above 0.
    reading
        corrected: averaged over dimensions, so the size does not grow with their number; literal: the
        log-density, summed.

    Raises
    ------
    SettingError
        If ``sigma`` is not above 0.
    DataError
        If the shapes do not fit.
    """
    _check_reading(reading)
    if not sigma > 0:
        raise SettingError(f"sigma must be above 0, got {sigma}")
    if action.ndim < 3 or action.shape[:1] + action.shape[2:] != mean.shape:
        shapes = f"{tuple(action.shape)} and {tuple(mean.shape)}"
        raise DataError(f"action must be (B, T, …) and mean (B, …), got {shapes}")
    z = (action - mean.unsqueeze(1)) / sigma
    each = (-0.5 * z**2 - math.log(sigma) - 0.5 * math.log(2 * math.pi)).flatten(2)
    return each.sum(2) if reading == "literal" else each.mean(2)


def policy_loss(
    action: Tensor,
    mean: Tensor,
    sigma: float,
    reward: Tensor,
    *,
    reading: Reading = "corrected",
    standardise: bool = False,
    detach: bool = True,
) -> Tensor:
    """Return L_rec, a scalar to minimise (Eq. 15): −mean_t log π(a_t)·A_t.

    Parameters
    ----------
    action
        a_t = mean + σ·ε_t, (B, T, …): exactly the samples that the images were drawn from. One of them may be
        noise-free (ε = 0): it has no gradient itself but is part of the others' baseline.
    mean
        (B, …) mean of the policy; it carries the gradient.
    sigma
        Standard deviation of the policy, above 0.
    reward
        (B, T) from `rewards`; no gradient flows through it.
    reading
        corrected: A_t from `advantages`. literal: A_t is the reward itself, without a baseline.
    standardise
        As for `advantages`; corrected only.
    detach
        Treat a_t as constant. Otherwise ∂a_t/∂mean cancels ∂log π/∂mean, and the gradient is exactly 0.

    Raises
    ------
    DataError
        If the shapes do not fit.
    """
    log_pi = log_probability(action.detach() if detach else action, mean, sigma, reading=reading)
    if reward.shape != log_pi.shape:
        raise DataError(f"reward must be {tuple(log_pi.shape)}, got {tuple(reward.shape)}")
    weight = reward if reading == "literal" else advantages(reward, standardise=standardise)
    return -(log_pi * weight.detach()).mean()


def _check_reading(reading: str) -> None:
    """Raise SettingError for an unknown reading."""
    if reading not in get_args(Reading):
        raise SettingError(f"unknown reading {reading!r}.{did_you_mean(reading, get_args(Reading))}")
