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

RUNS = 200
SURPRISE = 0.001  # chance of failing of each assertion, were all p-values uniform
CERTAIN = ("disappointment", "returns")
UNIFORM = ("choices", "kept", "expected", "delivered", "categories")


@pytest.mark.parametrize(("assignment", "rounds"), [("paired", 2), ("split", 1)])
def test_p_values_of_two_arms_that_are_the_same_are_uniform(apart, assignment, rounds):
    """Those of coverage, inequality and recall in so small a shop are uniform or too large."""
    shop = shops.shop(assignment=assignment, rounds=rounds, length=5)
    p: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for seed in range(RUNS):
        original, again = outcomes(shop, {seed: play(shop, seed)}, ["packaging"])
        for measure in MEASURES:
            difference = again.total[measure] - original.total[measure]
            p[measure].append(jackknife(difference, n=again.people).p)
    for measure in MEASURES:
        if measure in CERTAIN:
            assert set(p[measure]) == {1.0}, measure
        else:
            found = int((np.array(p[measure]) < 0.05).sum())
            assert found <= binom.ppf(1 - SURPRISE, RUNS, 0.05), measure
    for measure in UNIFORM:
        if len(set(p[measure])) > 1:  # lists of the first round are the same in both arms of a pair
            assert kstest(p[measure], "uniform").pvalue > SURPRISE, measure
