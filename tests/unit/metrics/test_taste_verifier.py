"""The verifier learns a taste that is there, none that is not; its AUC is scikit-learn's."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from brought import folder, shop
from sklearn.metrics import roc_auc_score

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.types import Interactions
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.datasets.unified.styles import Ratings, StyledDataset
from recsim_gen.encoders.features import make_encoder
from recsim_gen.metrics.auc import auc, auc_interval, auc_within
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.rows import rows_of_files
from recsim_gen.metrics.scoring import open_metric
from recsim_gen.metrics.taste_verifier.config import VerifierConfig
from recsim_gen.metrics.taste_verifier.metric import TasteVerifier, load, pictures_key
from recsim_gen.metrics.taste_verifier.opinions import Opinions, opinions
from recsim_gen.metrics.taste_verifier.scores import MEAN_PICTURE, MEANS, VERIFIER, add_rows, scored
from recsim_gen.metrics.taste_verifier.training import train

ITEMS, PEOPLE, WIDTH = 120, 6, 8
NAMES = np.array([f"p{k}" for k in range(PEOPLE)])


def world(blind: bool = False) -> tuple[Opinions, np.ndarray]:
    """Everybody likes one direction of the features, and that alone; ``blind``: likes at random."""
    draw = np.random.default_rng(0)
    features = draw.standard_normal((ITEMS, WIDTH)).astype(np.float32)
    taste = draw.standard_normal((PEOPLE, WIDTH))
    person, item = np.divmod(np.arange(PEOPLE * ITEMS), ITEMS)
    liked = (taste[person] * features[item]).sum(1) > 0
    liked = draw.permutation(liked) if blind else liked
    return Opinions(person, item, liked, np.arange(len(person)), NAMES, "by a taste"), features


def trained(given: Opinions, features: np.ndarray, seed: int = 0, **settings):
    config = VerifierConfig(**{"epochs": 15, "lr": 3e-3, "batch": 64, **settings})
    return train(given, features, config=config, rng=Rng(seed))


def table(given: Opinions, features: np.ndarray, seeds=(0,), **settings) -> Results:
    frames = [scored(given, features, trained(given, features, seed, **settings), seed) for seed in seeds]
    results = Results("train_verifier", {}, {})
    add_rows(pd.concat(frames), results, Rng(0))
    return results


def row(results: Results, variant: str, metric: str, seed: int | None = None) -> dict:
    (found,) = [r for r in results.rows if (r["variant"], r["metric"], r["seed"]) == (variant, metric, seed)]
    return found


def test_it_learns_a_taste_that_is_there_and_nothing_else_does():
    found = table(*world())
    for metric in ("auc", "auc_within"):
        of = row(found, VERIFIER, metric)
        assert of["value"] > 0.85
        assert 0.5 < of["low"] < of["value"] < of["high"] <= 1
        assert row(found, MEANS, metric)["value"] < 0.65
        assert row(found, "chance", metric)["value"] == 0.5
    assert row(found, MEAN_PICTURE, "auc_within")["value"] == 0.5
    assert row(found, VERIFIER, "auc")["n"] == round(0.15 * PEOPLE * ITEMS)
    assert row(found, VERIFIER, "auc_within")["n"] == PEOPLE
    assert next(iter(found.verdicts.values())).startswith("yes (+0.")


def test_it_learns_none_where_there_is_none():
    found = table(*world(blind=True), epochs=4)
    assert abs(row(found, VERIFIER, "auc")["value"] - 0.5) < 0.15
    assert abs(row(found, VERIFIER, "auc_within")["value"] - 0.5) < 0.15
    assert next(iter(found.verdicts.values())).startswith("undecided")


def test_who_likes_much_helps_over_all_and_not_within_people():
    """Half the people like nearly all, half nearly nothing, whatever is shown."""
    draw, items = np.random.default_rng(0), 900
    person, item = np.divmod(np.arange(PEOPLE * items), items)
    liked = draw.random(len(person)) < np.where(person % 2 == 0, 0.85, 0.15)
    features = draw.standard_normal((items, WIDTH)).astype(np.float32)
    found = table(
        Opinions(person, item, liked, np.arange(len(person)), NAMES, ""), features, lr=1e-3, epochs=6
    )
    for variant in (VERIFIER, MEAN_PICTURE, MEANS):
        assert row(found, variant, "auc")["value"] > 0.75
        assert abs(row(found, variant, "auc_within")["value"] - 0.5) < 0.1


def test_over_several_seeds_there_is_an_interval_that_draws_them_too():
    """The table's line over all seeds has one, and it is no narrower than people alone make it."""
    from recsim_gen.core.table import pooled

    given, features = world()
    found = table(given, features, seeds=(0, 1, 2), epochs=3)
    for metric in ("auc", "auc_within"):
        of_seeds = [row(found, VERIFIER, metric, seed)["value"] for seed in (0, 1, 2)]
        whole = row(found, VERIFIER, metric)
        assert whole["value"] == pytest.approx(np.mean(of_seeds), abs=1e-9)
        assert whole["low"] < whole["value"] < whole["high"]
    lines = pooled(found).query("variant != 'chance'")
    assert lines[["low", "high"]].notna().all(axis=None)


def test_who_has_opinions_of_one_kind_alone_counts_for_no_within():
    given, features = world()
    generous = Opinions(
        given.person, given.item, given.liked | (given.person == 0), given.together, NAMES, ""
    )
    found = table(generous, features, epochs=1)
    assert row(found, VERIFIER, "auc_within")["n"] == PEOPLE - 1
    assert "1 people have test opinions of one kind alone: no AUC within them" in found.notes


def test_the_same_seed_gives_the_same_verifier():
    one, two = (trained(*world(), epochs=2).model.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_probability_depends_on_direction_person_and_nothing_else():
    torch.manual_seed(0)
    model, x = (
        TasteVerifier(3, WIDTH).eval(),
        np.random.default_rng(0).standard_normal((5, WIDTH)).astype(np.float32),
    )
    people = np.array([0, 1, 2, 0, 1])
    p = model.probability(people, x)
    assert ((p > 0) & (p < 1)).all()
    assert model.probability(people, 9 * x) == pytest.approx(p, abs=1e-6)
    assert model.probability(people, x, batch=2) == pytest.approx(p, abs=1e-6)
    assert np.abs(model.probability(people[::-1].copy(), x) - p).max() > 1e-4


def test_saved_and_loaded_it_says_the_same(tmp_path):
    torch.manual_seed(0)
    model, x = TasteVerifier(3, WIDTH), np.ones((3, WIDTH), dtype=np.float32)
    model.save(tmp_path / "v", {"data": "d"})
    again, about = load(tmp_path / "v")
    assert about["data"] == "d"
    assert again.probability(np.arange(3), x).tolist() == model.probability(np.arange(3), x).tolist()


def test_there_is_no_verifier_or_another_thing(tmp_path):
    with pytest.raises(
        MissingDependency, match=r"needs a verifier in .*: run python -m recsim_gen\.train_verifier"
    ):
        load(tmp_path)
    for seed in (0, 1):
        (tmp_path / f"seed{seed}").mkdir()
        (tmp_path / f"seed{seed}" / "config.json").write_text("{}")
    with pytest.raises(MissingDependency, match=r": give one of .*/seed0, .*/seed1$"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"class": "ImageVerifier"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="a TasteVerifier is wanted, got 'ImageVerifier'"):
        load(tmp_path)


def test_ratings_are_split_at_the_threshold_and_choices_get_others_beside_them():
    data = shop()
    chosen = opinions(data, 4.0, Rng(0))
    log = data.interactions
    assert chosen.liked.sum() == len(log) == (~chosen.liked).sum()
    assert chosen.people.tolist() == sorted(log.user_ids.tolist())
    pairs = set(zip(log.user_ids[log.user].tolist(), log.item.tolist(), strict=True))
    people = chosen.people[chosen.person[~chosen.liked]]
    others = zip(people.tolist(), chosen.item[~chosen.liked].tolist(), strict=True)
    assert not pairs & set(others)
    rated = dataclasses.replace(log, weight=np.where(np.arange(len(log)) % 3, 4.0, 3.5))
    data = dataclasses.replace(data, interactions=rated)
    assert opinions(data, 4.0, Rng(0)).liked.tolist() == (rated.weight >= 4).tolist()
    with pytest.raises(DataError, match=r"ratings above and below 5 are wanted, got 3\.5 to 4"):
        opinions(data, 5.0, Rng(0))


def test_a_choice_and_what_was_made_up_beside_it_are_never_parted():
    """Else who liked more in training would have liked less in the test: an AUC below chance of itself."""
    given = opinions(shop(), 4.0, Rng(0))
    config = VerifierConfig(epochs=1)
    trained = train(given, np.zeros((90, 3), dtype=np.float32), config=config, rng=Rng(0))
    for rows in (trained.learned, trained.test):
        part = given.only(rows)
        liked = np.bincount(part.person, part.liked)
        np.testing.assert_array_equal(liked, np.bincount(part.person, ~part.liked))


def test_items_without_picture_teach_nothing():
    data = shop()
    images = SimpleNamespace(present=np.arange(len(data.catalog)) % 2 == 0, fingerprint="")
    halved = dataclasses.replace(data, catalog=dataclasses.replace(data.catalog, images=images))
    assert (opinions(halved, 4.0, Rng(0)).item % 2 == 0).all()


def test_a_person_is_one_however_many_sequences_they_were_cut_into_and_their_dislikes_count():
    data = shop()
    log = data.interactions
    two = Interactions(
        user=[0, 0, 1, 1],
        item=[0, 1, 2, 3],
        time=np.arange(4),
        weight=[5, 3, 5, 4],
        split=["train"] * 4,
        user_ids=["ann/0", "ann/1"],
        n_items=log.n_items,
    )
    low = Ratings(np.array(["ann", "bob"]), np.array([7, 8]), np.array([1.0, 2.0]))
    cut = StyledDataset("d", data.catalog, two, (), {}, people=np.array(["ann", "ann"]), not_chosen=low)
    given = opinions(cut, 4.0, Rng(0))
    told = {
        (str(given.people[p]), int(i), bool(y))
        for p, i, y in zip(given.person, given.item, given.liked, strict=True)
    }
    assert told == {
        ("ann", 0, True),
        ("ann", 1, False),
        ("ann", 2, True),
        ("ann", 3, True),
        ("ann", 7, False),
        ("bob", 8, False),
    }
    assert given.labels == "rating of 4 and more, 2 of them too low to be choices"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": 0.9, "valid": 0.1}, "train and valid must leave a rest for test"),
        ({"batch": 1}, "batch >= 2"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(SettingError, match=message):
        VerifierConfig(**settings)


def test_the_metric_knows_its_people_and_its_encoder(apart):
    data = shop()
    encoder = make_encoder("pixels")
    people = np.unique(data.people)[::-1]  # the order is the verifier's own
    about = {
        "data": "boutique",
        "people": people.tolist(),
        "pictures": pictures_key(data.catalog),
        "encoder": "pixels",
        "encoder_fingerprint": encoder.fingerprint,
        "labels": "l",
        "auc": (0.6, 0.5, 0.7),
        "auc_within": (0.55, 0.5, 0.6),
    }
    torch.manual_seed(0)
    model = TasteVerifier(len(people), 384)
    model.save(apart / "v", about)
    metric = open_metric(f"verifier[{apart}/v]", Resources(dataset=data))
    names = [f"{data.catalog.item_ids[e.reference]}.png" for e in data.episodes[:3]]
    rows = rows_of_files(data, read_images(folder(apart / "images", sorted(set(names))), data), "mine")
    x = encoder.encode_images([rows.store.album.read(i) for i in rows.image])
    row_of = {person: row for row, person in enumerate(people.tolist())}
    embeddings = np.array([row_of[data.people[user]] for user in rows.user])
    assert metric(rows) == pytest.approx(model.probability(embeddings, x), abs=1e-6)
    assert "AUC 0.600 [0.500, 0.700], within people 0.550 [0.500, 0.600], chance 0.5" in metric.recipe.note
    for wrong in ({"people": people[1:].tolist()}, {"pictures": "others"}):
        model.save(apart / "w", {**about, **wrong})
        with pytest.raises(SettingError, match="trained for the people and pictures of 'boutique', which"):
            open_metric(f"verifier[{apart}/w]", Resources(dataset=data))
    with pytest.raises(MissingDependency, match="needs a verifier: run"):
        open_metric("verifier", Resources(dataset=data))


def test_auc_is_scikit_learns_with_ties_and_weights():
    draw = np.random.default_rng(0)
    label, score = draw.random(300) < 0.3, draw.integers(0, 20, 300) / 20
    weight = draw.integers(0, 4, 300).astype(float)
    assert auc(label, score) == pytest.approx(roc_auc_score(label, score))
    assert auc(label, score, weight) == pytest.approx(roc_auc_score(label, score, sample_weight=weight))
    assert np.isnan(auc(np.ones(3, dtype=bool), np.arange(3)))
    group = draw.integers(0, 9, 300)
    by_hand = {g: roc_auc_score(label[group == g], score[group == g]) for g in range(9)}
    assert auc_within(label, score, group).to_dict() == pytest.approx(by_hand)


def test_the_interval_resamples_people_not_rows():
    """Ten people whose rows are all alike: a hundred copies of a row tell no more than one."""
    draw = np.random.default_rng(0)
    label, score = np.arange(10) % 2 == 0, draw.standard_normal(10) + (np.arange(10) % 2 == 0)
    copies = [np.repeat(x, 100) for x in (label, score, np.arange(10))]
    few = auc_interval(label, score, np.arange(10), Rng(0), resamples=400)
    many = auc_interval(*copies, Rng(0), resamples=400)
    assert (many.value, many.low, many.high) == pytest.approx((few.value, few.low, few.high))
    with pytest.raises(DataError, match="got 10 of 10 liked"):
        auc_interval(np.ones(10, dtype=bool), score, np.arange(10), Rng(0))
