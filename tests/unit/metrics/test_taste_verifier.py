"""The verifier learns a taste that is there, none that is not; its AUC is scikit-learn's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from brought import folder, shop
from sklearn.metrics import roc_auc_score

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.encoders.features import make_encoder
from recsim_gen.metrics.auc import auc, auc_interval
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.rows import rows_of_files
from recsim_gen.metrics.scoring import open_metric
from recsim_gen.metrics.taste_verifier.config import VerifierConfig
from recsim_gen.metrics.taste_verifier.metric import TasteVerifier, load, users_hash
from recsim_gen.metrics.taste_verifier.training import Opinions, opinions, train

ITEMS, USERS, WIDTH = 120, 6, 8


def world(blind: bool = False) -> tuple[Opinions, np.ndarray]:
    """Every user likes one direction of the features, and that alone; ``blind``: likes at random."""
    draw = np.random.default_rng(0)
    features = draw.standard_normal((ITEMS, WIDTH)).astype(np.float32)
    taste = draw.standard_normal((USERS, WIDTH))
    user, item = np.divmod(np.arange(USERS * ITEMS), ITEMS)
    liked = (taste[user] * features[item]).sum(1) > 0
    return Opinions(user, item, draw.permutation(liked) if blind else liked, "by a taste"), features


def trained(given: Opinions, features: np.ndarray, **settings):
    config = VerifierConfig(**{"epochs": 15, "lr": 3e-3, "batch": 64, **settings})
    return train(given, features, USERS, np.arange(USERS), config=config, rng=Rng(0))


def test_it_learns_a_taste_that_is_there():
    found = trained(*world())
    assert found.auc.value > 0.85
    assert 0.5 < found.auc.low < found.auc.value < found.auc.high <= 1
    assert found.auc.n == round(0.15 * USERS * ITEMS)
    assert found.epochs[-1]["loss"] < found.epochs[0]["loss"]


def test_it_learns_none_where_there_is_none():
    found = trained(*world(blind=True), epochs=4)
    assert abs(found.auc.value - 0.5) < 0.15


def test_the_same_seed_gives_the_same_verifier():
    one, two = (trained(*world(), epochs=2).model.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_probability_depends_on_direction_user_and_nothing_else():
    torch.manual_seed(0)
    model, x = (
        TasteVerifier(3, WIDTH).eval(),
        np.random.default_rng(0).standard_normal((5, WIDTH)).astype(np.float32),
    )
    users = np.array([0, 1, 2, 0, 1])
    p = model.probability(users, x)
    assert ((p > 0) & (p < 1)).all()
    assert model.probability(users, 9 * x) == pytest.approx(p, abs=1e-6)
    assert model.probability(users, x, batch=2) == pytest.approx(p, abs=1e-6)
    assert np.abs(model.probability(users[::-1].copy(), x) - p).max() > 1e-4


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
    (tmp_path / "config.json").write_text('{"class": "ImageVerifier"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="a TasteVerifier is wanted, got 'ImageVerifier'"):
        load(tmp_path)


def test_ratings_are_split_at_the_threshold_and_choices_get_others_beside_them():
    data = shop().interactions
    present = np.ones(data.n_items, dtype=bool)
    chosen = opinions(data, present, 4.0, Rng(0))
    assert chosen.liked.sum() == len(data) == (~chosen.liked).sum()
    pairs = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    others = zip(chosen.user[~chosen.liked].tolist(), chosen.item[~chosen.liked].tolist(), strict=True)
    assert not pairs & set(others)
    rated = dataclasses.replace(data, weight=np.where(np.arange(len(data)) % 3, 4.0, 3.5))
    assert opinions(rated, present, 4.0, Rng(0)).liked.tolist() == (rated.weight >= 4).tolist()
    with pytest.raises(DataError, match=r"ratings above and below 5 are wanted, got 3\.5 to 4"):
        opinions(rated, present, 5.0, Rng(0))


def test_items_without_picture_teach_nothing():
    data = shop().interactions
    present = np.arange(data.n_items) % 2 == 0
    assert (opinions(data, present, 4.0, Rng(0)).item % 2 == 0).all()


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


def test_the_metric_knows_its_users_and_its_encoder(apart):
    data = shop()
    encoder = make_encoder("pixels")
    about = {"data": "boutique", "users": users_hash(data.interactions.user_ids), "encoder": "pixels"}
    about |= {
        "encoder_fingerprint": encoder.fingerprint,
        "labels": "l",
        "auc": 0.6,
        "auc_low": 0.5,
        "auc_high": 0.7,
    }
    torch.manual_seed(0)
    model = TasteVerifier(data.interactions.n_users, 384)
    model.save(apart / "v", about)
    metric = open_metric(f"verifier[{apart}/v]", Resources(dataset=data))
    names = [f"{data.catalog.item_ids[e.reference]}.png" for e in data.episodes[:3]]
    rows = rows_of_files(data, read_images(folder(apart / "images", sorted(set(names))), data), "mine")
    x = encoder.encode_images([rows.store.album.read(i) for i in rows.image])
    assert metric(rows) == pytest.approx(model.probability(rows.user, x), abs=1e-6)
    assert "test AUC 0.600 [0.500, 0.700]" in metric.recipe.note
    model.save(apart / "w", {**about, "users": "others"})
    with pytest.raises(SettingError, match="trained for the users of 'boutique', which are not those"):
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
