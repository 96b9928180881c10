"""Off-policy estimates: the value of an arm from the log of another, and their accuracy.

For each visit t a log has the action a_t that was shown, the probability π(a_t) with which the logging arm
showed it, and the reward r_t. The value of another policy π' is estimated, with w_t = π'(a_t) / π(a_t), by

    IPS    mean of w_t r_t                                  (Horvitz and Thompson 1952)
    SNIPS  Σ w_t r_t / Σ w_t                                (Swaminathan and Joachims 2015)
    DR     mean of Σ_a π'(a) q(x_t, a) + w_t (r_t − q(x_t, a_t))   (Dudík, Langford and Li 2011)

q is a model of the reward given the context of a visit (x) and the action, fitted on the other half of the
log. The last axis of all arrays is the visit, so many logs can be estimated at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.randomness import Rng

ESTIMATORS = ("ips", "snips", "dr")
RIDGE = 1.0  # penalty of the ridge regression


def ips(reward: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return (…) the mean of w·r over the visits; ``reward`` and ``weight`` (…, T)."""
    value: np.ndarray = (weight * reward).mean(-1)
    return value


def snips(reward: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return (…) Σ w·r / Σ w, NaN if all weights are 0; ``reward`` and ``weight`` (…, T)."""
    total, weights = (weight * reward).sum(-1), weight.sum(-1)
    return np.divide(total, weights, out=np.full(np.shape(total), np.nan), where=weights > 0)


def dr(
    reward: np.ndarray, weight: np.ndarray, expected: np.ndarray, expected_shown: np.ndarray
) -> np.ndarray:
    """Return the (…) doubly robust value.

    ``reward`` and ``weight`` (…, T); ``expected`` (…, T) Σ_a π'(a) q(x_t, a); ``expected_shown`` (…, T)
    q(x_t, a_t).
    """
    value: np.ndarray = (expected + weight * (reward - expected_shown)).mean(-1)
    return value


def reward_model(context: np.ndarray, action: np.ndarray, reward: np.ndarray, *, actions: int) -> np.ndarray:
    """Return q (T, K): the expected reward of each visit under each of K actions, fitted on the other half.

    Ridge regression on the context (T, d) and an intercept per action; ``action`` and ``reward`` (T,). Even
    visits are predicted from odd ones and vice versa, so that no visit is predicted from itself.
    """
    x = np.concatenate([np.ones((len(context), 1)), _standard(context)], axis=1)
    shown = np.eye(actions)[action]
    q = np.empty((len(x), actions))
    penalty = RIDGE * np.eye(x.shape[1] + actions)
    penalty[0, 0] = 1e-9  # the mean is not shrunk
    for half in (0, 1):
        predicted, fitted = np.arange(half, len(x), 2), np.arange(1 - half, len(x), 2)
        design = np.concatenate([x[fitted], shown[fitted]], axis=1)
        coefficients = np.linalg.solve(design.T @ design + penalty, design.T @ reward[fitted])
        q[predicted] = (x[predicted] @ coefficients[: x.shape[1]])[:, None] + coefficients[x.shape[1] :]
    return q


def _standard(x: np.ndarray) -> np.ndarray:
    spread = x.std(0)
    scaled: np.ndarray = (x - x.mean(0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def estimates(
    action: np.ndarray,
    reward: np.ndarray,
    propensity: np.ndarray,
    policy: np.ndarray,
    context: np.ndarray,
) -> dict[str, float]:
    """Return {estimator: value} of ``policy`` (K,), the probability of each action, from one log of T visits.

    ``action``, ``reward`` and ``propensity`` (T,); ``context`` (T, d). Raises DataError for a propensity
    outside (0, 1].
    """
    if not ((propensity > 0) & (propensity <= 1)).all():
        bad = int((~((propensity > 0) & (propensity <= 1))).argmax())
        raise DataError(f"propensities must be in (0, 1], got {propensity[bad]}", row=bad)
    weight = policy[action] / propensity
    q = reward_model(context, action, reward, actions=len(policy))
    at = np.arange(len(action))
    return {
        "ips": float(ips(reward, weight)),
        "snips": float(snips(reward, weight)),
        "dr": float(dr(reward, weight, q @ policy, q[at, action])),
    }


def trial(
    value: np.ndarray, logging: np.ndarray, context: np.ndarray, *, logs: int, rng: Rng
) -> pd.DataFrame:
    """Evaluate the estimators over many logs of one policy, with each action as the target policy.

    ``value`` (T, K) true probability of a reward for each visit and action; ``logging`` (K,) probability of
    each action in the logs; ``context`` (T, d). Columns: ``action``, ``estimator``, ``truth``, and ``mean``,
    ``sd`` and ``rmse`` over ``logs`` logs.
    """
    import pandas as pd

    count, actions = value.shape
    draw = rng.numpy()
    all_estimates = np.empty((logs, actions, len(ESTIMATORS)))
    at, edges = np.arange(count), np.cumsum(logging)
    for log in range(logs):
        action = np.minimum(np.searchsorted(edges, draw.random(count), side="right"), actions - 1)
        reward = (draw.random(count) < value[at, action]).astype(float)
        q = reward_model(context, action, reward, actions=actions)
        for target in range(actions):
            weight = (action == target) / logging[action]
            all_estimates[log, target] = (
                ips(reward, weight),
                snips(reward, weight),
                dr(reward, weight, q[:, target], q[at, action]),
            )
    truth = value.mean(0)
    rows = [
        (target, name, truth[target], *_summary(all_estimates[:, target, k], truth[target]))
        for target in range(actions)
        for k, name in enumerate(ESTIMATORS)
    ]
    return pd.DataFrame(rows, columns=["action", "estimator", "truth", "mean", "sd", "rmse"])


def _summary(found: np.ndarray, truth: float) -> tuple[float, float, float]:
    known = found[~np.isnan(found)]
    if not len(known):
        return np.nan, np.nan, np.nan
    spread = known.std(ddof=1) if len(known) > 1 else np.nan
    return float(known.mean()), float(spread), float(np.sqrt(((known - truth) ** 2).mean()))
