"""What reasons name: PETER's measures and the shares of what is right, by hand and by their laws."""

import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_gen.metrics.explanations.features import (
    feature_coverage_ratio,
    feature_diversity,
    feature_matching,
    precision,
    recall,
    unique_sentence_ratio,
)

REASONS = st.lists(st.sets(st.sampled_from("abcdef")), min_size=2, max_size=12)


def test_by_hand():
    named = [{"red"}, {"red", "dots"}, {"dots", "red"}, set()]
    assert unique_sentence_ratio(["a", "b", "a"]) == pytest.approx(2 / 3)
    assert feature_coverage_ratio(named, ["red", "dots", "blue", "plain"]) == 0.5
    assert feature_diversity(named) == pytest.approx((1 + 1 + 2) / 6)  # of six pairs
    np.testing.assert_array_equal(feature_matching(named, ["red", "blue", "dots", None]), [1, 0, 1, np.nan])
    np.testing.assert_array_equal(precision(named, [{"red"}] * 4), [1, 0.5, 0.5, np.nan])
    np.testing.assert_array_equal(recall(named, [{"red", "dots"}] * 3 + [set()]), [0.5, 1, 1, np.nan])


def test_what_is_not_to_be_known_is_nan():
    assert np.isnan(feature_diversity([{"red"}]))
    assert np.isnan(feature_coverage_ratio([{"red"}], []))


def test_a_feature_that_no_item_has_covers_nothing():
    assert feature_coverage_ratio([{"sparkling"}], ["red"]) == 0


@given(REASONS)
def test_diversity_is_the_mean_over_all_pairs(named):
    pairs = [len(a & b) for a, b in combinations(named, 2)]
    assert feature_diversity(named) == pytest.approx(np.mean(pairs))


@given(REASONS, st.randoms())
def test_the_order_of_reasons_makes_no_difference(named, random):
    again = random.sample(named, len(named))
    assert feature_diversity(again) == feature_diversity(named)
    assert feature_coverage_ratio(again, "abcdef") == feature_coverage_ratio(named, "abcdef")


@given(REASONS, st.sets(st.sampled_from("abcdef"), min_size=1))
def test_who_names_more_finds_no_less(named, right):
    wanted = [right] * len(named)
    more = [features | {"a"} for features in named]
    assert (recall(more, wanted) >= recall(named, wanted)).all()
    assert (feature_matching(more, ["b"] * len(named)) == feature_matching(named, ["b"] * len(named))).all()
    assert (recall([right] * len(named), wanted) == 1).all()
    assert (precision([right] * len(named), wanted) == 1).all()


def test_two_hundred_thousand_reasons_take_no_second():
    named = [{f"f{k % 997}", f"g{k % 13}"} for k in range(200_000)]
    start = time.process_time()
    assert 0 < feature_diversity(named) < 0.1
    assert time.process_time() - start < 1
