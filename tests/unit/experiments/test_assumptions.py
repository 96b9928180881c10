"""The verdicts in worlds where the answer is known, and the rules of the sub-histories."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Episode
from recsim_gen.datasets.episodes import test_episodes as episodes_of
from recsim_gen.experiments import assumptions
from recsim_gen.experiments.assumptions import (
    ASSUMPTIONS,
    VARIANTS,
    compare,
    estimates,
    explain,
    fold_in_ranks,
    per_episode,
    reference_ranks,
    retrain_interactions,
    sub_histories,
    usable,
    verdict,
    without_valid,
)
from recsim_gen.testing import worlds


def table(gain: dict[str, float], seed: int, people: int = 60, each: int = 4):
    """`per_episode`'s table where a variant hits with probability 0.3 + gain; people differ."""
    draw = np.random.default_rng(seed)
    person = {f"e{i}": f"p{i % people}" for i in range(people * each)}
    liked = draw.normal(0, 0.1, people)
    frames = []
    for variant in VARIANTS:
        chance = 0.3 + gain.get(variant, 0) + np.tile(liked, each)
        hit = (draw.random(people * each) < chance).astype(float)
        numbers = {"recall@10": hit, "ndcg@10": hit * draw.uniform(0.3, 1, people * each)}
        frames.append(pd.DataFrame({"variant": variant, "seed": 0, "episode": [*person], **numbers}))
    return pd.concat(frames, ignore_index=True), person


def verdicts(gain: dict[str, float], seed: int) -> list[str]:
    comparisons = compare(*table(gain, seed), Rng(seed))
    return [verdict(assumption, comparisons) for assumption in ASSUMPTIONS]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels' Holm calls it: 0.3 s in a large process
    found = assumptions.bootstrap_columns
    monkeypatch.setattr(assumptions, "bootstrap_columns", partial(found, resamples=500))


def test_what_is_planted_is_found():
    for seed in range(3):
        assert verdicts({"ret": 0.5, "exp_ret": 0.25}, seed) == ["holds", "holds"]
        assert verdicts({"ret": -0.25, "exp_ret": 0.25, "random": 0.5}, seed) == ["does not hold"] * 2
        assert verdicts({"ret": 0.4, "exp_ret": 0.4}, seed)[0] == "holds"
        assert verdicts({"ret": 0.4, "exp_ret": 0.4}, seed)[1] != "holds"


def test_where_all_are_alike_nothing_holds_more_often_than_by_chance():
    found = [verdicts({}, seed) for seed in range(40)]
    decided = sum(any(v != "undecided" for v in pair) for pair in found)
    assert decided <= 6  # 2 expected at most, over all comparisons together
    assert sum("holds" in pair for pair in found) <= 3


def test_a_hit_in_one_metric_alone_does_not_hold():
    values, person = table({"ret": 0.5, "exp_ret": 0.25}, 0)
    values["ndcg@10"] = 0.5
    assert [verdict(a, compare(values, person, Rng(0))) for a in ASSUMPTIONS] == ["undecided"] * 2


def test_with_one_person_nothing_is_decided():
    values, person = table({"ret": 0.7}, 0)
    comparisons = compare(values, dict.fromkeys(person, "the same"), Rng(0))
    assert verdict("assumption 2", comparisons) == "undecided"


def test_comparisons_are_paired_and_corrected_over_all():
    values, person = table({"ret": 0.1}, 1)
    comparisons = compare(values, person, Rng(0))
    assert len(comparisons) == 2 * 6
    hit = values.pivot(index="episode", columns="variant", values="recall@10")
    for c in comparisons:
        assert c.p_holm >= c.estimate.p
        if c.metric == "recall@10":
            assert c.estimate.value == pytest.approx((hit[c.better] - hit[c.worse]).mean())
    text = explain("assumption 2", comparisons)
    assert text.count("ret − exp_ret") == 2
    assert "random" not in text


def test_estimates_are_means_over_seeds_then_episodes():
    values, person = table({}, 2)
    other = values.assign(seed=1, **{"recall@10": 1.0})
    found = estimates(pd.concat([values, other]), person, Rng(0))
    assert set(found) == {(v, m) for v in VARIANTS for m in ("recall@10", "ndcg@10")}
    mean = values[values["variant"] == "full"]["recall@10"].mean()
    assert found["full", "recall@10"].value == pytest.approx((mean + 1) / 2)
    assert found["full", "recall@10"].n == 240


# ---- sub-histories ----

DRAW = np.random.default_rng(0)
TEXT = DRAW.standard_normal((50, 6)).astype(np.float32)


def random_episodes(count: int = 40, k: int = 3) -> list[Episode]:
    found = []
    for b in range(count):
        *history, reference = DRAW.permutation(50)[: DRAW.integers(2 * k + 1, 15)].tolist()
        found.append(Episode(f"e{b}", b, f"p{b}", tuple(history), reference))
    return found


def test_every_sub_history_comes_from_the_history_and_never_holds_the_reference():
    episodes = random_episodes()
    found = sub_histories(episodes, TEXT, 3, Rng(0), draws=4)
    assert set(found) == set(VARIANTS)
    assert [len(found[v]) for v in VARIANTS] == [1, 1, 4, 1, 1, 1]
    for variant, lists in found.items():
        for chosen in lists:
            for e, history in zip(episodes, chosen, strict=True):
                items = history.tolist()
                assert e.reference not in items
                assert set(items) <= set(e.history)
                assert len(set(items)) == len(items) == (len(e.history) if variant == "full" else 3)


def test_what_each_variant_is():
    episodes = random_episodes()
    found = sub_histories(episodes, TEXT, 3, Rng(0))
    unit = TEXT / np.linalg.norm(TEXT, axis=1, keepdims=True)
    for b, e in enumerate(episodes):
        by_similarity = sorted(e.history, key=lambda i, e=e: -unit[i] @ unit[e.reference])
        assert found["ret"][0][b].tolist() == by_similarity[:3]
        assert found["exp_ret"][0][b].tolist() == by_similarity[3:6]
        assert tuple(found["recent"][0][b]) == e.history[-3:]
        assert tuple(found["full"][0][b]) == e.history
    differ = sum(set(a) != set(b) for a, b in zip(found["ret"][0], found["ret_wrong"][0], strict=True))
    assert differ > 20


def test_random_draws_depend_on_the_episode_alone():
    episodes = random_episodes()
    found = sub_histories(episodes, TEXT, 3, Rng(0), draws=2)["random"]
    backwards = sub_histories(episodes[::-1], TEXT, 3, Rng(0), draws=3)["random"]
    for draw in range(2):
        for one, other in zip(found[draw], backwards[draw][::-1], strict=True):
            assert np.array_equal(one, other)
    assert any(not np.array_equal(a, b) for a, b in zip(*found, strict=True))
    other = sub_histories(episodes, TEXT, 3, Rng(1))["random"][0]
    assert any(not np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_short_histories_are_left_out_and_none_left_is_told():
    episodes = [Episode("a", 0, "a", (1, 2, 3, 4), 0), Episode("b", 1, "b", (1, 2, 3), 0)]
    assert [e.id for e in usable(episodes, 2)] == ["a"]
    with pytest.raises(DataError, match=r"at least 2k = 6 items, the longest has 4. Lower --k"):
        usable(episodes, 3)
    with pytest.raises(SettingError, match="k must be at least 1, got 0"):
        usable(episodes, 0)
    with pytest.raises(SettingError, match="draws must be at least 1"):
        sub_histories(episodes, TEXT, 2, Rng(0), draws=0)


# ---- ranks and protocols ----


class Liking:
    """Folds in as the sum of the items' vectors: what a history holds is what it likes."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = torch.from_numpy(x)

    def fold_in(self, histories):
        return torch.stack([self.x[list(h)].sum(0) for h in histories]) @ self.x.T

    def score(self, users):
        return self.x[torch.from_numpy(np.asarray(users))] @ self.x.T


def test_the_rank_masks_the_whole_history_in_every_variant(monkeypatch):
    episodes = random_episodes()
    ranker = Liking(TEXT)
    chosen = [np.array(e.history[:2]) for e in episodes]
    found = reference_ranks(ranker, episodes, chosen)
    for b, e in enumerate(episodes):
        scores = (TEXT[chosen[b]].sum(0) @ TEXT.T).astype(float)
        rivals = [i for i in range(50) if i not in e.history and i != e.reference]
        assert found[b] == 1 + (scores[rivals] > scores[e.reference]).sum()
    monkeypatch.setattr(assumptions, "BLOCK", 7)
    assert np.array_equal(reference_ranks(ranker, episodes, chosen), found)
    assert reference_ranks(ranker, episodes, None).shape == (40,)


def test_a_ranker_that_sees_similarity_makes_the_assumptions_hold():
    """No training: histories of three styles, the reference of one of them."""
    draw = np.random.default_rng(0)
    style = np.repeat(np.arange(6), 20)
    x = (2 * np.eye(6)[style] + 0.3 * draw.standard_normal((120, 6))).astype(np.float32)
    episodes = []
    for b in range(80):
        mine = draw.permutation(6)[:3]
        rows = [draw.permutation(20)[:7] + 20 * s for s in mine]
        history = draw.permutation(np.concatenate([rows[0][:6], rows[1][:4], rows[2][:4]]))
        episodes.append(Episode(f"e{b}", b, f"p{b % 40}", tuple(history.tolist()), int(rows[0][6])))
    histories = sub_histories(episodes, x, 5, Rng(0), draws=3)
    values = per_episode(fold_in_ranks(Liking(x), episodes, histories, seed=0))
    assert len(values) == 80 * len(VARIANTS)
    person = {e.id: e.source_user for e in episodes}
    comparisons = compare(values, person, Rng(0))
    assert verdict("assumption 2", comparisons) == "holds"
    mean = values.groupby("variant")["recall@10"].mean()
    assert mean["ret"] > mean["random"] > mean["ret_wrong"]


def test_per_episode_averages_draws():
    long = pd.DataFrame(
        {
            "variant": ["random"] * 3 + ["ret"],
            "seed": 0,
            "draw": [0, 1, 2, 0],
            "episode": "e",
            "rank": [1, 3, 11, 2.5],
        }
    )
    found = per_episode(long).set_index("variant")
    assert found.loc["random", "recall@10"] == pytest.approx(2 / 3)
    assert found.loc["random", "ndcg@10"] == pytest.approx((1 + 0.5) / 3)
    assert found.loc["ret", "ndcg@10"] == pytest.approx(1 / np.log2(3.5))


def test_retraining_data_hold_the_sub_history_alone():
    _, chosen = worlds.noise()
    all_episodes = episodes_of(chosen, chosen.user_ids)
    episodes = usable(without_valid(all_episodes, chosen), 2)
    assert len(episodes) > 0
    valid = set(zip(*(a.tolist() for a in chosen.only("valid")), strict=True))
    assert not any((e.user, i) in valid for e in episodes for i in e.history)
    histories = sub_histories(episodes, np.eye(40, dtype=np.float32), 2, Rng(0))["ret"][0]
    thin = retrain_interactions(chosen, episodes, histories)
    for e, history in zip(episodes, histories, strict=True):
        mine = thin.item[(thin.user == e.user) & (thin.split == "train")]
        assert sorted(mine.tolist()) == sorted(history.tolist())
    for split in ("valid", "test"):
        assert all(np.array_equal(a, b) for a, b in zip(thin.only(split), chosen.only(split), strict=True))
    untouched = ~np.isin(chosen.user, [e.user for e in episodes])
    assert np.isin(thin.user, chosen.user[untouched]).sum() == untouched.sum()
