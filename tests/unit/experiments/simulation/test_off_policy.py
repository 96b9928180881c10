"""Off-policy estimates: unbiased where theory says so, and equal to the Open Bandit Pipeline's."""

from __future__ import annotations

import numpy as np
import pytest
import shops

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.experiments.simulation.log_trust import COLUMNS, log_trust, markdown
from recsim_gen.experiments.simulation.off_policy import dr, estimates, ips, snips, trial
from recsim_gen.experiments.simulation.rounds import play

# Eight visits and three actions; what obp 0.5.7 makes of them by IPW, SNIPW and DoublyRobust.
ACTION = np.array([2, 0, 2, 0, 0, 2, 1, 2])
REWARD = np.array([1.0, 0, 1, 0, 1, 1, 0, 0])
PROPENSITY = np.array([0.64, 0.85, 0.3, 0.86, 0.63, 0.18, 0.45, 0.81])
POLICY = np.array([0.2, 0.5, 0.3])
Q = np.array(
    [
        [0.7, 0.33, 0.73],
        [0.22, 0.08, 0.16],
        [0.34, 0.47, 0.27],
        [0.82, 0.19, 0.13],
        [0.09, 0.6, 0.85],
        [0.6, 0.93, 0.72],
        [0.86, 0.93, 0.55],
        [0.94, 0.49, 0.27],
    ]
)
LOGS = 200


def test_equal_to_the_open_bandit_pipeline():
    weight = POLICY[ACTION] / PROPENSITY
    assert ips(REWARD, weight) == pytest.approx(0.431609623015873, abs=1e-12)
    assert snips(REWARD, weight) == pytest.approx(0.6391599960290826, abs=1e-12)
    value = dr(REWARD, weight, Q @ POLICY, Q[np.arange(8), ACTION])
    assert value == pytest.approx(0.5330402927401581, abs=1e-12)


def world(visits: int = 400, actions: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Chances of a reward (T, K) that depend on the context (T, 2), and the context."""
    draw = np.random.default_rng(0)
    context = draw.standard_normal((visits, 2))
    level = np.linspace(-0.8, 0.8, actions) + context @ [[1.2], [-0.7]]
    return 1 / (1 + np.exp(-level)), context


def test_unbiased_over_many_logs_and_doubly_robust_varies_less():
    value, context = world()
    logging = np.array([0.7, 0.1, 0.1, 0.1])
    table = trial(value, logging, context, logs=LOGS, rng=Rng(0)).set_index(["action", "estimator"])
    for action in range(4):
        assert table.loc[(action, "ips"), "truth"] == pytest.approx(value[:, action].mean())
        for estimator in ("ips", "dr"):
            row = table.loc[(action, estimator)]
            assert abs(row["mean"] - row["truth"]) < 2.58 * row["sd"] / np.sqrt(LOGS)
        assert table.loc[(action, "dr"), "sd"] < 0.9 * table.loc[(action, "ips"), "sd"]


def test_estimators_of_a_log_are_those_of_the_trial():
    """The same log by both ways: many logs of one estimate their own mean."""
    value, context = world(visits=6_000)
    draw = np.random.default_rng(3)
    logging = np.array([0.4, 0.3, 0.2, 0.1])
    action = draw.choice(4, size=len(value), p=logging)
    reward = (draw.random(len(value)) < value[np.arange(len(value)), action]).astype(float)
    for target in range(4):
        told = estimates(action, reward, logging[action], np.eye(4)[target], context)
        assert {name: pytest.approx(value[:, target].mean(), abs=0.06) for name in told} == told


def test_snips_of_a_reward_that_is_always_the_same_is_that_reward():
    weight = np.random.default_rng(0).random(9)
    assert snips(np.full(9, 3.0), weight) == pytest.approx(3)
    assert np.isnan(snips(np.ones(4), np.zeros(4)))


def test_a_perfect_model_leaves_doubly_robust_no_variance():
    value, _ = world()
    rows = np.arange(len(value))
    for seed in range(3):
        action = np.random.default_rng(seed).integers(4, size=len(value))
        told = dr(value[rows, action], (action == 2) / 0.25, value[:, 2], value[rows, action])
        assert told == pytest.approx(value[:, 2].mean(), abs=1e-12)


def test_a_propensity_of_nothing_is_refused():
    with pytest.raises(DataError, match=r"propensities must be in \(0, 1\], got 0"):
        estimates(np.zeros(2, dtype=int), np.ones(2), np.array([0.5, 0.0]), np.ones(1), np.zeros((2, 1)))


def test_the_table_of_a_shop(apart):
    """Two arms that show the same: every estimate is of one truth, and logs of each tell of the other."""
    shop = shops.shop(200, rounds=1)
    trust = log_trust(shop, {0: play(shop, 0)}, logs=LOGS)
    assert list(trust.columns) == COLUMNS
    assert len(trust) == 2 * 2 * 3
    assert trust["truth"].nunique() == 1
    spread = trust["sd"] / np.sqrt(LOGS)
    unbiased = trust["estimator"] != "snips"
    assert ((trust["mean"] - trust["truth"]).abs() < 2.9 * spread)[unbiased].all()
    assert "| aa" in markdown(trust, "original")
    alone = shops.shop(60, rounds=1, explore=0.0)
    assert log_trust(alone, {0: play(alone, 0)}, logs=2).empty
