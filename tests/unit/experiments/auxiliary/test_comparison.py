"""Retrained rankers in worlds where the answer is known, the statistics, and the tables of them."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.auxiliary_figures import _draw, fraction_curves
from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.table import by_variant, table
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.episodes import test_episodes as episodes_of
from recsim_gen.experiments.auxiliary import comparison as auxiliary
from recsim_gen.experiments.auxiliary.comparison import conclude, numbers, verdict
from recsim_gen.experiments.auxiliary.conditions import conditions
from recsim_gen.experiments.auxiliary.features import NewFeatures
from recsim_gen.experiments.auxiliary.training import METRICS, Case, by_popularity, cases, measured, retrained
from recsim_gen.testing import worlds

ORI = Case("original")
SETTINGS = {"epochs": 15, "eval_step": 15, "embedding_size": 16, "learning_rate": 0.01}


@pytest.fixture(autouse=True)
def _quick(apart, monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels' Holm calls it: 0.3 s in a large process
    found = auxiliary.bootstrap_columns
    monkeypatch.setattr(auxiliary, "bootstrap_columns", partial(found, resamples=800))


# ---- known worlds ----


def styles(true: bool) -> tuple[Dataset, NewFeatures]:
    """`worlds.pictures_only`, where pictures are of true styles or noise; and pictures of the true styles.

    What is asked for was never chosen in training: a user finds it by the pictures of what was.
    """
    catalog, chosen = worlds.pictures_only()
    own = worlds.catalog({"image": catalog.features["image"]})
    if not true:
        warm = np.unique(chosen.only("train")[1])
        noise = np.random.default_rng(1).standard_normal((len(warm), 10))
        own = own.with_features("image", warm, noise)
    world = Dataset("styles", own, chosen, episodes_of(chosen, chosen.user_ids), {})
    items = conditions(world, "strict").items
    return world, NewFeatures(np.arange(len(items)), catalog.features["image"][items])


def compared(world: Dataset, drawn: NewFeatures, ranker: str = "micro", seeds=(0,)) -> Results:
    chosen, frames = conditions(world, "strict"), []
    groups = by_popularity(world.interactions, 0)
    spec = RankerSpec(ranker, SETTINGS if ranker == "micro" else {"epochs": 3})
    for seed in seeds:
        catalogs = cases(world.catalog, [(chosen, {"gen": drawn})], [1.0], seed)
        for case, trained in retrained(spec, catalogs, world.interactions, seed=seed):
            frames.append(measured(case, trained, groups, seed))
    results = Results("aux_rec", {})
    conclude(pd.concat(frames, ignore_index=True), world.interactions.user_ids, "mean", results)
    return results


def said(results: Results, variant: str) -> str:
    return results.verdicts[f"{variant} (strict, 100% of the chosen items)"].partition(" (")[0]


def test_pictures_that_tell_the_style_help_where_the_items_own_do_not():
    results = compared(*styles(true=False), seeds=(0, 1))
    assert "(by seed: helps, helps)" in results.verdicts["gen (strict, 100% of the chosen items)"]
    assert said(results, "gen") == "helps"
    gain = {
        r["variant"]: r["value"]
        for r in results.rows
        if r["metric"] == "recall@20_minus_original" and r["seed"] is None
    }
    assert gain["gen"] > 0.3
    assert gain["gen"] > 3 * gain["shuffled"]  # at other items they are at least no noise


def test_noise_and_shuffled_pictures_hurt_where_the_items_own_tell_the_style():
    world, drawn = styles(true=True)
    results = compared(world, drawn)
    assert [said(results, v) for v in ("noise", "shuffled", "mean_feature")] == ["hurts"] * 3
    same = [r for r in results.rows if r["variant"] == "gen" and "_minus_" in r["metric"]]
    assert {r["value"] for r in same} == {0.0}  # the items' own pictures: nothing may change
    assert said(results, "gen") == "undecided"
    cold = {r["metric"]: r["value"] for r in results.rows if r["variant"] == "noise" and r["seed"] is None}
    assert cold["recall@20_cold"] == cold["recall@20"]  # all that is asked for is cold here
    assert not any(m.endswith("_warm") for m in cold)


def test_a_ranker_blind_to_pictures_is_not_moved_by_any():
    results = compared(*styles(true=False), ranker="bpr")
    differences = [r["value"] for r in results.rows if "_minus_" in r["metric"]]
    assert len(differences) > 0
    assert set(differences) == {0.0}
    assert {v.partition(" (")[0] for v in results.verdicts.values()} == {"undecided"}


def test_all_variants_start_alike_and_see_the_same_negatives(monkeypatch):
    """What may differ is the pictures: not the weights that training starts from, not the batches."""
    from rankers.micro import MICRO

    seen: list[list] = []
    loss = MICRO.loss

    def noted(self, batch):
        if not self._step:
            weights = {k: v.clone() for k, v in self.state_dict().items() if "modalities" not in k}
            learned = {k: v.detach().clone() for k, v in self.named_parameters()}
            seen.append([{**weights, **learned}])
        seen[-1].append(torch.stack(batch))
        return loss(self, batch)

    monkeypatch.setattr(MICRO, "loss", noted)
    world, drawn = styles(true=False)
    catalogs = cases(world.catalog, [(conditions(world, "strict"), {"gen": drawn})], [0.5, 1.0], 0)
    spec = RankerSpec("micro", {**SETTINGS, "epochs": 2, "train_batch_size": 64})
    assert len(list(retrained(spec, catalogs, world.interactions, seed=0))) == len(catalogs) == 9
    assert len(seen) == 9
    (weights, *batches), *others = seen
    assert len(batches) >= 10
    for start, *rest in others:
        assert start.keys() == weights.keys()
        assert all(torch.equal(start[k], weights[k]) for k in weights)
        assert all(torch.equal(a, b) for a, b in zip(rest, batches, strict=True))


def test_a_second_time_nothing_is_trained(monkeypatch):
    world, drawn = styles(true=True)
    first = compared(world, drawn).rows
    monkeypatch.setattr("rankers.learned_ranker.train", None)
    assert compared(world, drawn).rows == first


# ---- cold and warm ----


def test_cold_and_warm_test_choices_are_all_of_them_apart():
    _, chosen = worlds.noise(40, 20)
    times = np.bincount(chosen.only("train")[1], minlength=20)
    for cold in (0, 8, 1000):
        groups = by_popularity(chosen, cold)
        pairs = {
            g: set(zip(*(x.tolist() for x in part.only("test")), strict=True)) for g, part in groups.items()
        }
        assert pairs[""] == pairs.get("_cold", set()) | pairs.get("_warm", set())
        assert all(times[i] <= cold for _, i in pairs.get("_cold", ()))
        assert all(times[i] > cold for _, i in pairs.get("_warm", ()))
        for part in groups.values():
            assert all((a == b).all() for a, b in zip(part.only("train"), chosen.only("train"), strict=True))


# ---- statistics ----


def values(gain: dict[Case, float], seeds=(0, 1), people: int = 150, seed: int = 0) -> pd.DataFrame:
    """Numbers of users: hits with chance 0.3 + gain; the same users in every case, two a person."""
    draw = np.random.default_rng(seed)
    frames = []
    liked = draw.random(2 * people)
    for case, more in {ORI: 0.0, **gain}.items():
        for s in seeds:
            flip = draw.random(2 * people) < 0.05
            hit = ((liked < 0.3 + more) ^ flip).astype(float)
            numbers = {m: hit * (1.0 if "recall" in m else 0.6) for m in METRICS}
            about = {"variant": case.variant, "leakage": case.leakage, "fraction": case.fraction, "seed": s}
            frames.append(pd.DataFrame({"user": np.arange(2 * people), **numbers}).assign(**about))
    return pd.concat(frames, ignore_index=True)


def people(n: int = 300) -> np.ndarray:
    return np.array([f"p{u // 2}" for u in range(n)])


GOOD, BAD, SAME = Case("good", "strict", 1.0), Case("bad", "strict", 1.0), Case("same", "strict", 1.0)


def test_what_is_planted_is_found():
    for seed in range(3):
        found = numbers(values({GOOD: 0.2, BAD: -0.2, SAME: 0.0}, seed=seed), people(), Rng(0))
        assert [verdict(c, found) for c in (GOOD, BAD, SAME)] == ["helps", "hurts", "undecided"]


def test_where_all_are_alike_hardly_anything_is_decided():
    some = [Case(f"v{k}", "strict", 1.0) for k in range(4)]
    decided = 0
    for seed in range(25):
        found = numbers(values(dict.fromkeys(some, 0.0), seeds=(0,), seed=seed), people(), Rng(0))
        decided += any(verdict(c, found) != "undecided" for c in some)
    assert decided <= 5  # 1.25 expected at most


def test_differences_are_paired_by_user_and_seeds_are_averaged():
    table = values({GOOD: 0.1})
    found = {(n.case, n.metric): n for n in numbers(table, people(), Rng(0))}
    mean = table.groupby("variant")["ndcg@20"].mean()
    assert found[GOOD, "ndcg@20"].estimate.value == pytest.approx(mean["good"])
    difference = found[GOOD, "ndcg@20_minus_original"]
    assert difference.estimate.value == pytest.approx(mean["good"] - mean["original"])
    assert difference.estimate.n == 300
    assert difference.p_holm >= difference.estimate.p
    plain = found[GOOD, "ndcg@20"].estimate
    assert difference.estimate.high - difference.estimate.low < plain.high - plain.low


def leaky_results() -> Results:
    gain = {
        Case(name, policy, fraction): more * fraction
        for policy in ("strict", "paper")
        for fraction in (0.5, 1.0)
        for name, more in (("gen", 0.3 if policy == "paper" else 0.1), ("noise", -0.1))
    }
    results = Results("aux_rec", {})
    conclude(values(gain), people(), "vote", results)
    return results


def test_every_policy_and_fraction_is_a_table_of_its_own():
    results = leaky_results()
    frame = results.frame()
    plain = frame[frame["metric"].isin(METRICS)]
    counts = plain.groupby(["leakage", "fraction", "variant"]).size()
    assert len(counts) == 2 * 2 * 3
    assert set(counts) == {4 * 3}  # metrics, and two seeds and both
    assert set(frame["aggregate"]) == {"vote"}
    original = plain[(plain["variant"] == "original") & plain["seed"].isna()]
    assert (original.groupby("metric")["value"].nunique() == 1).all()
    minus = frame[frame["metric"].str.endswith("_minus_original")]
    assert minus["p_holm"].between(0, 1).all()
    assert frame.loc[~frame.index.isin(minus.index), "p_holm"].isna().all()
    json.dumps(results.document(), allow_nan=False)


def test_how_much_of_the_gain_is_leakage_is_told():
    results = leaky_results()
    rows = {
        (r["variant"], r["leakage"], r["fraction"], r["metric"]): r for r in results.rows if r["seed"] is None
    }
    leak = rows["gen", "paper", 1.0, "recall@10_minus_strict"]
    gains = [rows["gen", policy, 1.0, "recall@10_minus_original"]["value"] for policy in ("paper", "strict")]
    assert leak["value"] == pytest.approx(gains[0] - gains[1])
    assert leak["low"] > 0
    assert "against strict" in results.verdicts["gen (paper: leaky, 100% of the chosen items), leakage"]
    assert not any(name.startswith("noise") and "leakage" in name for name in results.verdicts)


def test_the_leaky_policy_is_marked_in_every_table():
    both = leaky_results()
    lines = [line for line in table(both, metrics=["recall@10"]).splitlines() if "gen" in line]
    assert [("strict" in x, "leaky" in x, " 0.5 " in x, " 1.0 " in x) for x in lines] == [
        (True, False, True, False),
        (True, False, False, True),
        (False, True, True, False),
        (False, True, False, True),
    ]
    alone = Results("aux_rec", {})
    conclude(values({Case("gen", "paper", 1.0): 0.1}), people(), "mean", alone)
    assert table(alone, metrics=["recall@10"]).count("leaky") == 2
    assert all("leaky" in name for name in alone.verdicts)
    assert "paper: leaky/recall@10" in by_variant(alone, ["recall@10"])["gen"]
    strict = Results("aux_rec", {})
    conclude(values({Case("gen", "strict", 1.0): 0.1}), people(), "mean", strict)
    assert "strict" not in table(strict, metrics=["recall@10"])
    assert "recall@10" in by_variant(strict, ["recall@10"])["gen"]


def test_the_curve_is_drawn_for_both_policies_and_the_same_each_time(tmp_path):
    results = leaky_results()
    paths = fraction_curves(results, tmp_path / "curve", title="x")
    assert [p.name for p in paths] == ["curve.png", "curve.svg"]
    again = fraction_curves(results, tmp_path / "again", title="x")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    with pytest.raises(DataError, match="recall@10_minus_original"):
        fraction_curves(Results("aux_rec", {}), tmp_path / "none", title="x")
    assert not list(tmp_path.glob("none*"))


def test_one_fraction_is_bars_and_several_are_lines():
    def drawn(results):
        rows = results.frame()
        rows = rows[rows["seed"].isna() & (rows["metric"] == "recall@10_minus_original")]
        return _draw(rows, ["recall@10_minus_original"], "x").axes, rows

    (axes, *_), rows = drawn(leaky_results())
    assert not axes.patches
    assert axes.get_xlabel() == "share of the items replaced"
    alone = Results("aux_rec", {})
    cases = {Case("gen", "strict", 1.0): 0.1, Case("placebo", "strict", 1.0): -0.05}
    conclude(values(cases), people(), "mean", alone)
    (axes,), rows = drawn(alone)
    bars = [bar.get_height() for bar in axes.patches]
    assert bars == pytest.approx(rows.set_index("variant").loc[["gen", "placebo"], "value"].tolist())
    assert [label.get_text() for label in axes.get_xticklabels()] == ["gen", "placebo"]
    assert axes.get_xlabel() == ""
