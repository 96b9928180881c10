"""Intervals against scipy and against the truth of simulated data; Holm by hand."""

import numpy as np
import pytest
from scipy import stats

from recsim_gen.core import statistics
from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.statistics import bootstrap, bootstrap_columns, holm


def numbers(e: statistics.Estimate) -> tuple[float, ...]:
    return e.value, e.low, e.high, e.p, e.n


def test_without_clusters_it_is_scipys_percentile_interval():
    x = np.random.default_rng(0).exponential(size=80)
    ours = bootstrap(x, np.arange(80), Rng(0))
    theirs = stats.bootstrap((x,), np.mean, method="percentile", n_resamples=10_000, random_state=1)
    low, high = theirs.confidence_interval
    assert ours.value == pytest.approx(x.mean())
    assert ours.n == 80
    width = high - low
    assert ours.low == pytest.approx(low, abs=0.03 * width)
    assert ours.high == pytest.approx(high, abs=0.03 * width)


def clustered(seed: int, people: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """People of 1 to 8 rows with an effect of their own; the mean is 1."""
    draw = np.random.default_rng(seed)
    size = draw.integers(1, 9, size=people)
    person = np.repeat(np.arange(people), size)
    return 1 + draw.standard_normal(people)[person] + 0.5 * draw.standard_normal(len(person)), person


def test_95_percent_intervals_hold_the_truth_95_times_in_100():
    clustered_hits, row_hits = 0, 0
    for seed in range(300):
        x, person = clustered(seed)
        for clusters in (person, np.arange(len(x))):
            e = bootstrap(x, clusters, Rng(seed), resamples=400)
            hit = e.low <= 1 <= e.high
            clustered_hits += hit and clusters is person
            row_hits += hit and clusters is not person
    assert 0.90 <= clustered_hits / 300 <= 0.98
    assert row_hits / 300 < 0.80  # rows of one person taken for independent: too narrow


def test_p_is_uniform_where_nothing_is_there_and_small_where_something_is():
    p = np.array(
        [bootstrap(clustered(s)[0] - 1, clustered(s)[1], Rng(s), resamples=400).p for s in range(300)]
    )
    assert 0.02 <= (p < 0.05).mean() <= 0.10
    assert 0.40 <= (p < 0.5).mean() <= 0.60
    assert bootstrap(clustered(0)[0], clustered(0)[1], Rng(0)).p < 0.01


def test_p_reaches_neither_zero_nor_more_than_one():
    assert bootstrap(np.array([1.0, 2.0, 3.0]), np.arange(3), Rng(0), resamples=999).p == 1 / 1000
    assert bootstrap(np.zeros(5), np.arange(5), Rng(0), resamples=999).p == pytest.approx(1, abs=0.01)


def test_columns_share_their_draws_and_blocks_do_not_matter(monkeypatch):
    x, person = clustered(3)
    both = bootstrap_columns(np.stack([x, 2 * x + 1], axis=1), person, Rng(0), resamples=500)
    assert both[1].low == pytest.approx(2 * both[0].low + 1)
    assert both[1].high == pytest.approx(2 * both[0].high + 1)
    alone = bootstrap(x, person, Rng(0), resamples=500)
    assert numbers(both[0]) == pytest.approx(numbers(alone))
    monkeypatch.setattr(statistics, "DRAWS_HELD", 40 * 7)
    assert numbers(bootstrap(x, person, Rng(0), resamples=500)) == pytest.approx(numbers(alone), rel=1e-12)


def test_names_and_order_of_people_do_not_matter_much_and_streams_do():
    x, person = clustered(4)
    one = bootstrap(x, person, Rng(0))
    assert bootstrap(x, np.array([f"p{i:03d}" for i in person]), Rng(0)) == one
    order = np.random.default_rng(0).permutation(len(x))
    shuffled = bootstrap(x[order], person[order], Rng(0))
    assert (shuffled.low, shuffled.high) == (pytest.approx(one.low), pytest.approx(one.high))
    assert bootstrap(x, person, Rng(1)).low != one.low


def test_one_person_has_no_interval():
    e = bootstrap(np.array([1.0, 2.0]), np.array(["a", "a"]), Rng(0))
    assert e.value == 1.5
    assert np.isnan([e.low, e.high, e.p]).all()


def test_what_cannot_be_averaged_is_told():
    with pytest.raises(DataError, match="got NaN"):
        bootstrap(np.array([1.0, np.nan]), np.arange(2), Rng(0))
    with pytest.raises(DataError, match=r"clusters \(B,\)"):
        bootstrap(np.ones(3), np.arange(2), Rng(0))
    with pytest.raises(DataError, match=r"values must be \(B,\)"):
        bootstrap(np.ones((3, 2)), np.arange(3), Rng(0))


def test_holm_by_hand():
    """0.01·4, then 0.02·3, then max(0.03·2, before), then max(0.5·1, before)."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    found = holm([0.01, np.nan, 0.04])
    assert found[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(found[1])
    assert np.isnan(holm([np.nan])).all()


def trained(seed: int, spread: float, trainings: int = 5, people: int = 60) -> tuple[np.ndarray, ...]:
    """Each training asked about the same people: effects of both and of neither; the mean is 1."""
    draw = np.random.default_rng(seed)
    training, person = np.repeat(np.arange(trainings), people), np.tile(np.arange(people), trainings)
    of_training, of_person = spread * draw.standard_normal(trainings), 0.5 * draw.standard_normal(people)
    noise = 0.5 * draw.standard_normal(len(person))
    return 1 + of_training[training] + of_person[person] + noise, person, training


def test_intervals_hold_for_other_trainings_too():
    """Where trainings differ, people alone miss the truth; where they do not, trainings cost little."""
    hits, people_alone, wider = 0, 0, []
    for seed in range(200):
        x, person, training = trained(seed, spread=0.3)
        e = bootstrap(x, person, Rng(seed), trainings=training, resamples=400)
        hits += e.low <= 1 <= e.high
        e = bootstrap(x, person, Rng(seed), resamples=400)
        people_alone += e.low <= 1 <= e.high
        x, person, training = trained(seed, spread=0)
        both = bootstrap(x, person, Rng(seed), trainings=training, resamples=400)
        alone = bootstrap(x, person, Rng(seed), resamples=400)
        wider.append((both.high - both.low) / (alone.high - alone.low))
    assert 0.84 <= hits / 200 <= 0.97  # of 5 trainings; a normal quantile for a t of 4 degrees gives 0.88
    assert people_alone / 200 < 0.75
    assert np.mean(wider) < 1.25


def test_a_difference_that_one_training_denies_is_undecided():
    x, person, training = np.repeat([1.0, 2.0, 0.5], 50), np.tile(np.arange(50), 3), np.repeat([4, 5, 9], 50)
    agreed = bootstrap(x, person, Rng(0), trainings=training)
    assert (agreed.signs, agreed.n, agreed.decided(agreed.p)) == ("+ + +", 50, 1)
    denied = bootstrap(np.where(training == 5, -0.1, x), person, Rng(0), trainings=training)
    assert (denied.signs, denied.decided(0.001)) == ("+ − +", 0)
    assert bootstrap(x, person, Rng(0)).signs == ""
    assert agreed.decided(0.09) == 0
    with pytest.raises(DataError, match=r"trainings must be \(B,\)"):
        bootstrap(x, person, Rng(0), trainings=training[:3])
