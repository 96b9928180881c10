"""Means, deviations over seeds, intervals and differences of methods, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.statistics import bootstrap
from recsim_gen.metrics import summary


def numbers(n: int = 40, seeds: int = 3) -> pd.DataFrame:
    """Two persons an episode… the other way round: two episodes a person; b is a plus 1, c is a and noise."""
    draw = np.random.default_rng(0)
    base = draw.normal(size=n)
    frames = []
    for shift, variant in enumerate("abc"):
        for seed in range(seeds):
            x = base + (shift == 1) + 0.1 * draw.normal(size=n) * (variant != "b")
            episode = [f"e{i}" for i in range(n)]
            person = [f"p{i // 2}" for i in range(n)]
            rows = {"variant": variant, "seed": seed, "episode": episode, "person": person, "x": x, "y": -x}
            frames.append(pd.DataFrame(rows))
    table = pd.concat(frames, ignore_index=True)
    table["z"] = np.where(table["episode"].isin(["e0", "e1", "e2"]), np.nan, table["x"])
    table["none"] = np.nan
    return table


ABOUT = {name: {"block": "semantic"} for name in ("x", "y", "z", "none")}
OF = {variant: {"role": "method"} for variant in "abc"}


@pytest.fixture(scope="module")
def found() -> Results:
    results = Results("evaluate", {})
    summary.add_rows(numbers(), ABOUT, OF, results, Rng(0))
    return results


def row(results: Results, variant: str, metric: str, seed: int | None = None) -> dict:
    (one,) = [r for r in results.rows if (r["variant"], r["metric"], r["seed"]) == (variant, metric, seed)]
    return one


def test_means_and_deviations_of_seeds_are_numpys(found):
    table = numbers()
    for variant in "abc":
        mine = table[table["variant"] == variant]
        means = mine.groupby("seed")["x"].mean()
        whole = row(found, variant, "x")
        assert whole["value"] == pytest.approx(mine["x"].mean())
        assert whole["sd"] == pytest.approx(means.std(ddof=1))
        assert whole["n"] == 40
        for seed, mean in means.items():
            assert row(found, variant, "x", seed)["value"] == pytest.approx(mean)


def test_intervals_draw_persons_and_seeds(found):
    mine = numbers().query("variant == 'a'")
    x, person, seed = (mine[name].to_numpy() for name in ("x", "person", "seed"))
    for wanted, of_seed in (
        (bootstrap(x, person, Rng(0), trainings=seed), None),
        (bootstrap(x[seed == 1], person[seed == 1], Rng(0)), 1),
    ):
        whole = row(found, "a", "x", of_seed)
        assert (whole["low"], whole["high"]) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_what_one_training_denies_is_undecided_however_many_people_are_asked():
    """Two trainings of b lie above a by 1, the third below it by 0.1: people alone would be certain."""
    table = numbers(n=400)
    shift = (table["variant"] == "b") * np.where(table["seed"] == 2, -1.1, 0.0)
    table["x"] += shift
    (b,) = [c for c in summary.compared(table, ["x"], "a", Rng(0)) if c.variant == "b"]
    mean = table.groupby(["variant", "episode", "person"])["x"].mean().unstack("variant").reset_index()
    assert bootstrap((mean["b"] - mean["a"]).to_numpy(), mean["person"].to_numpy(), Rng(0)).p < 0.001
    assert (b.estimate.signs, b.sign) == ("+ + −", 0)
    assert b.estimate.low < 0
    results = Results("evaluate", {})
    summary.add_comparisons([b], "a", {"x": True}, OF, results)
    assert results.verdicts["b against a"].startswith("undecided in 1 of 1")
    assert row(results, "b", "x_minus_a")["signs"] == "+ + −"
    assert not row(results, "b", "x_minus_a")["decided"]


def test_images_of_one_seed_are_compared_with_every_training_of_the_other():
    table = numbers()
    one = table[(table["variant"] != "b") | (table["seed"] == 0)]
    found = {c.variant: c.estimate for c in summary.compared(one, ["x"], "a", Rng(0))}
    means = table.groupby(["variant", "seed"])["x"].mean()
    assert found["b"].value == pytest.approx(means["b", 0] - means["a"].mean())
    assert (found["b"].n, found["b"].signs) == (40, "+ + +")


def test_rows_without_a_number_do_not_count(found):
    assert row(found, "a", "z")["n"] == 37
    assert not [r for r in found.rows if r["metric"] == "none"]


def test_one_seed_has_no_deviation():
    results = Results("evaluate", {})
    summary.add_rows(numbers(seeds=1), ABOUT, OF, results, Rng(0))
    assert row(results, "a", "x")["sd"] is None


def test_differences_are_paired_by_episode_and_directions_are_understood():
    results = Results("evaluate", {})
    found = summary.compared(numbers(), ["x", "y"], "a", Rng(0))
    better = {"x": True, "y": False}
    summary.add_comparisons(found, "a", better, OF, results)
    b = row(results, "b", "x_minus_a")
    assert 0.9 < b["low"] < b["value"] < b["high"] < 1.1  # unpaired it would be ten times as wide
    assert b["p_holm"] < 0.05 < row(results, "c", "x_minus_a")["p_holm"]
    assert results.verdicts["b against a"].startswith("better in x, y (paired; Holm over the 2 variants of")
    assert results.verdicts["c against a"].startswith("undecided in 2 of 2")
    turned = Results("evaluate", {})
    summary.add_comparisons(found, "a", {"x": False, "y": None}, OF, turned)
    assert turned.verdicts["b against a"].startswith("worse in x; undecided in 1 of 2")


def test_only_episodes_that_both_have_are_compared():
    table = numbers()
    few = table[(table["variant"] != "b") | table["episode"].isin([f"e{i}" for i in range(10)])]
    found = {c.variant: c for c in summary.compared(few, ["x"], "a", Rng(0))}
    assert found["b"].estimate.n == 10
    assert found["c"].estimate.n == 40
