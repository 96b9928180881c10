"""Intervals cover what they should, whatever people and seeds do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from recsim_gen.core.errors import DataError
from recsim_gen.experiments.simulation.intervals import jackknife

GROUPS, EACH, RUNS = 20, 10, 2_000


def left_out(x: np.ndarray) -> np.ndarray:
    """(S, G + 1) means of ``x`` (S, G, n)."""
    seeds, groups, _ = x.shape
    total, count = x.sum((1, 2)), x[0].size
    without = (total[:, None] - x.sum(2)) / (count - x.shape[2])
    return np.concatenate([(total / count)[:, None], without], axis=1).reshape(seeds, groups + 1)


def test_of_a_mean_it_is_the_t_interval_of_the_groups():
    x = np.random.default_rng(0).standard_normal((1, GROUPS, EACH)) + 0.3
    e = jackknife(left_out(x), n=GROUPS * EACH)
    of_groups = x[0].mean(1)
    error = of_groups.std(ddof=1) / np.sqrt(GROUPS)
    assert e.value == pytest.approx(x.mean())
    assert e.high - e.value == pytest.approx(2.0930 * error, rel=1e-4)  # t of 19 degrees of freedom
    assert e.n == GROUPS * EACH


def test_p_values_are_uniform_where_nothing_differs():
    draw = np.random.default_rng(1)
    p = [jackknife(left_out(draw.exponential(size=(1, GROUPS, EACH)) - 1), n=1).p for _ in range(RUNS)]
    assert kstest(p, "uniform").pvalue > 0.001


def test_what_seeds_do_is_in_the_interval():
    """People alone would call chance of seeds a difference; three seeds with them do so about as often as
    they should (Satterthwaite's degrees of freedom are approximate)."""
    draw = np.random.default_rng(2)
    wrong = {1: 0, 3: 0}
    for _ in range(RUNS):
        x = draw.standard_normal((3, 1, 1)) * 0.3 + draw.standard_normal((3, GROUPS, EACH))
        values = left_out(x)
        wrong[3] += jackknife(values, n=1).p < 0.05
        wrong[1] += jackknife(values.mean(0, keepdims=True), n=1).p < 0.05
    assert wrong[3] / RUNS < 0.08
    assert wrong[1] / RUNS > 0.2


def test_seeds_that_deny_each_other_are_told():
    values = np.array([[0.5, 0.4, 0.6], [-0.1, -0.2, 0.0], [0.5, 0.5, 0.5]])
    e = jackknife(values, n=1)
    assert e.signs == "+ − +"
    assert e.decided(0.001) == 0
    assert jackknife(values[:1], n=1).signs == ""


def test_what_never_varies_is_certain():
    assert jackknife(np.zeros((2, 5)), n=3).p == 1
    e = jackknife(np.full((2, 5), 0.25), n=3)
    assert (e.value, e.low, e.high, e.p) == (0.25, 0.25, 0.25, 0)


def test_what_has_no_interval_says_so():
    e = jackknife(np.array([[0.5, 0.5]]), n=1)
    assert e.value == 0.5
    assert np.isnan([e.low, e.high, e.p]).all()
    assert np.isnan(jackknife(np.full((1, 4), np.nan), n=1).value)
    with pytest.raises(DataError, match=r"values must be \(seeds, groups \+ 1\), got \(3,\)"):
        jackknife(np.zeros(3), n=1)
