"""A/A: where nothing differs, differences are found as often as chance alone has it, and not more."""

from __future__ import annotations

import numpy as np
import pytest
import shops
from scipy.stats import binom, kstest

from recsim_gen.experiments.simulation.conclusions import outcomes
from recsim_gen.experiments.simulation.intervals import jackknife
from recsim_gen.experiments.simulation.measures import MEASURES
from recsim_gen.experiments.simulation.rounds import play

RUNS, SEEDS = 200, 3
SURPRISE = 0.001  # chance of failing of each assertion, were all p-values uniform
CERTAIN = ("disappointment", "returns")
OF_VISITS = ("choices", "kept", "expected", "delivered")


def seldom(p: list[float], level: float = 0.05) -> bool:
    """Whether p-values below 0.05 are no more than chance makes them of so many at this level."""
    found = int((np.array(p) < 0.05).sum())
    return found <= binom.ppf(1 - SURPRISE, len(p), level)


@pytest.mark.parametrize("assignment", ["paired", "split"])
def test_p_values_of_two_arms_that_are_the_same_are_uniform(apart, assignment):
    """Those of coverage, inequality and recall in so small a shop are uniform or too large."""
    shop = shops.shop(assignment=assignment, rounds=1, length=5)
    p: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for seed in range(RUNS):
        original, again = outcomes(shop, {seed: play(shop, seed)}, ["packaging"])
        for measure in MEASURES:
            difference = again.total[measure] - original.total[measure]
            p[measure].append(jackknife(difference, n=again.people).p)
    for measure in (*OF_VISITS, "recall@20", "coverage", "gini", "looks", "categories"):
        assert seldom(p[measure]), measure
    for measure in (*OF_VISITS, "categories"):
        if len(set(p[measure])) > 1:  # lists of the first round are the same in both arms of a pair
            assert kstest(p[measure], "uniform").pvalue > SURPRISE, measure
    for measure in CERTAIN:
        assert set(p[measure]) == {1.0}, measure


def test_what_a_ranker_spreads_to_everybody_is_told_by_seeds(apart):
    """It learns from all, so that one person's chance is in everybody's next list."""
    shop = shops.shop(rounds=2, length=5)
    p: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for run in range(RUNS // SEEDS):
        seeds = range(run * SEEDS, (run + 1) * SEEDS)
        original, again = outcomes(shop, {seed: play(shop, seed) for seed in seeds}, ["packaging"])
        for measure in MEASURES:
            difference = again.total[measure] - original.total[measure]
            p[measure].append(jackknife(difference, n=again.people).p)
    for measure in MEASURES:
        assert seldom(p[measure], 0.08), measure
