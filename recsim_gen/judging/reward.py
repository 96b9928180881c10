"""The reward of a generated image and the policy gradient that follows it (paper Eq. 13–15).

Ling et al., RAGAR, Sec. 4.4. The printed equations cannot all be meant: as printed, an image that
scores lower is rewarded more. Both readings are here; ``corrected`` is meant, ``literal`` is for
comparison. Pure functions of scores: where these come from (``Ranker.substitute``) is not known here.

B users or episodes, T generated images of each, C images they are compared with.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Reading

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_SD = 1e-8  # rewards that vary less are equal


def rewards(
    generated: Tensor, contrasts: Tensor, *, margin: float = 0.1, reading: Reading = "corrected"
) -> Tensor:
    """R (B, T) of scores ``generated`` (B, T) against ``contrasts`` (B, C) (Eq. 13–14).

    ρ_t is the score of the reference item with generated image t, ρ_c its score with its own image
    (``ref``) and with the one drawn from keywords (``key``); δ = ``margin`` ≥ 0, in units of the score.

    - corrected: R_t = −Σ_c max(0, δ + ρ_c − ρ_t) ≤ 0; it is 0 once the image beats all by δ.
    - literal: R_t = Σ_c max(0, ρ_c − ρ_t) + δ ≥ δ, as printed; it rises when the image scores lower.

    Differentiable in the scores. Raises DataError for other shapes, SettingError for a negative margin
    or an unknown reading.
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
    """A (B, T): each reward minus the mean of the user's other ones (leave-one-out); rows sum to 0.

    The baseline of a sample does not depend on the sample itself, so the gradient stays unbiased.
    ``standardise`` divides by the standard deviation of the user's rewards, which makes users with
    large scores count as much as others; where all rewards are equal A is 0. Raises SettingError
    for fewer than two samples.
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
    """log π (B, T) of ``action`` (B, T, …) under N(``mean`` (B, …), σ²·I) (Eq. 11–12).

    corrected: averaged over dimensions, so its size does not grow with theirs. literal: the
    log-density itself, summed.
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
    """L_rec, a scalar to minimise (Eq. 15): −mean_t log π(a_t)·A_t.

    Parameters
    ----------
    action
        a_t = mean + σ·ε_t, (B, T, …): the very samples that the images were drawn from. A noise-free
        one (ε = 0) may be among them: it moves nothing itself and is part of the others' baseline.
    mean, sigma
        The policy: ``mean`` (B, …) carries the gradient.
    reward
        R (B, T) of `rewards`; no gradient goes through it.
    reading
        corrected: A_t of `advantages`. literal: R_t itself, without a baseline.
    standardise
        As in `advantages`; corrected only.
    detach
        Take a_t as given. Without it ∂a_t/∂mean cancels ∂log π/∂mean and the gradient is exactly 0.
    """
    log_pi = log_probability(action.detach() if detach else action, mean, sigma, reading=reading)
    if reward.shape != log_pi.shape:
        raise DataError(f"reward must be {tuple(log_pi.shape)}, got {tuple(reward.shape)}")
    weight = reward if reading == "literal" else advantages(reward, standardise=standardise)
    return -(log_pi * weight.detach()).mean()


def _check_reading(reading: str) -> None:
    if reading not in get_args(Reading):
        raise SettingError(f"unknown reading {reading!r}.{did_you_mean(reading, get_args(Reading))}")
