"""ΔR and ΔMRR: by hand, their ranges, and what an interval says of people, not pairs."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Counterfactual
from recsim_gen.metrics.delta_rank import METRICS, delta_mrr, delta_r, improved, per_sample, summarise


def test_by_hand():
    original, new = np.array([9.0, 1, 4, 2.5]), np.array([4.0, 1, 9, 2.5])
    assert delta_r(original, new).tolist() == [0.5, 0, -1, 0]
    assert delta_mrr(original, new).tolist() == pytest.approx([1 / 4 - 1 / 9, 0, 1 / 9 - 1 / 4, 0])
    assert improved(original, new).tolist() == [1, 0, 0, 0]


def test_ranges_and_signs():
    draw = np.random.default_rng(0)
    original, new = draw.integers(1, 500, 1000), draw.integers(1, 500, 1000)
    r, mrr = delta_r(original, new), delta_mrr(original, new)
    assert (r < 1).all()
    assert (r > -250).all()
    assert (np.abs(mrr) < 1).all()
    for values in (r, mrr, improved(original, new) - improved(new, original)):
        assert (np.sign(values) == np.sign(original - new)).all()


def counterfactual(rank: list[float]) -> Counterfactual:
    n, ones = len(rank), np.ones(len(rank))
    return Counterfactual("graph", 2 * ones, np.array(rank), ones, 3 * ones, np.arange(n), 0 * ones)


def test_one_row_per_triple():
    table = per_sample(counterfactual([1, 3, 7]))
    assert table["delta_r"].tolist() == [0.5, 0, -1]
    assert table["delta_score"].tolist() == [1, 1, 1]
    assert table["touched"].tolist() == [0, 1, 2]
    found = summarise(table, np.array(["a", "b", "c"]), Rng(0))
    assert [*found] == [*METRICS]
    assert found["delta_r"].value == pytest.approx(-1 / 6)
    assert found["delta_r"].low == -1
    assert found["delta_r"].high == 0.5


def test_people_are_drawn_not_pairs():
    people = np.repeat(np.arange(10), 50)
    values = {metric: np.repeat(np.arange(10.0), 50) for metric in METRICS}
    clustered = summarise(values, people, Rng(0))["delta_r"]
    alone = summarise(values, np.arange(500), Rng(0))["delta_r"]
    assert clustered.value == alone.value == 4.5
    assert clustered.high - clustered.low > 5 * (alone.high - alone.low)


def test_what_cannot_be_is_told():
    with pytest.raises(DataError, match="ranks count from 1, got 0"):
        delta_r(np.array([1, 2]), np.array([1, 0]))
    with pytest.raises(DataError, match="got nan"):
        delta_mrr(np.array([np.nan]), np.array([1]))
    with pytest.raises(DataError, match=r"alike, got \(2,\) and \(3,\)"):
        delta_r(np.ones(2), np.ones(3))
