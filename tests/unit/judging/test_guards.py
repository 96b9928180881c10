"""Each guard on a world where its answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_gen.artifacts.trained_rankers import make_ranker, trained_ranker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.judging import guards
from recsim_gen.judging.controls import noise_features, shuffled_rows
from recsim_gen.judging.modality_use import modality_use, permuted, validation_loss
from recsim_gen.judging.neighbourhood import Neighbourhood
from recsim_gen.judging.verdicts import FILE, REWARDS, gate, store, stored
from recsim_gen.testing import worlds

DRAW = np.random.default_rng(0)


def test_identity_is_exact_or_fails():
    assert guards.identity(np.zeros(5), np.zeros(5)).verdict == "holds"
    failed = guards.identity(np.array([0, 1e-12]), np.zeros(2))
    assert failed.verdict == "fails"
    assert "exactly" not in failed.sentence


@pytest.mark.parametrize(("shift", "verdict"), [(0.5, "above"), (-0.5, "below"), (0.0, "not told apart")])
def test_a_control_is_told_apart_by_its_paired_difference(shift, verdict):
    control = DRAW.normal(0, 5, 400)  # a null far wider than the shift: only pairing sees it
    images = control + shift + np.tile([0.3, -0.3], 200)
    found = guards.against("placebo", images, control, np.arange(400), Rng(0))
    assert found.verdict == verdict
    assert found.numbers["difference"] == pytest.approx((images - control).mean())
    assert f"{found.numbers['difference']:+.3f}" in found.sentence


def test_one_person_gives_no_interval():
    found = guards.against("noise", np.ones(3), np.zeros(3), np.zeros(3), Rng(0))
    assert found.verdict == "unknown"


def test_cannot_move_is_not_did_not_move():
    original = np.array([1.0, 5, 9])
    stuck = np.repeat(original[:, None], 4, axis=1)
    assert guards.headroom(original, stuck).verdict == "none"
    ranks = stuck.copy()
    ranks[1] = [5, 2, 5, 11]  # could rise to 2 and fall to 11
    found = guards.headroom(original, ranks)
    assert found.verdict == "little"
    assert found.numbers["cannot_move"] == pytest.approx(2 / 3)
    assert found.numbers["best_delta_r"] == pytest.approx((5 - 2) / 6 / 3)
    ranks[2] = [8, 9, 9, 9]
    assert guards.headroom(original, ranks).verdict == "room"


def test_held_out_judges_agree_disagree_or_are_missing():
    a, b = np.array([0.1, 0.3, 0.2]), np.array([0.2, 0.9, 0.4])
    see = {"a": False, "b": False, "bpr": True}
    zero = np.zeros(3)
    found = guards.held_out({"a": a, "b": b, "bpr": zero}, see)
    assert found.verdict == "agree"
    assert found.numbers["b_spearman"] == pytest.approx(1)
    assert "bpr, blind to images, exactly 0" in found.sentence
    assert guards.held_out({"a": a, "b": -b}, see).verdict == "disagree"
    assert guards.held_out({"a": a, "bpr": zero}, see).verdict == "missing"
    assert guards.held_out({"a": a, "b": b, "bpr": zero + 1e-9}, see).verdict == "fails"


def clustered(n: int = 200, d: int = 16) -> np.ndarray:
    """Tight clusters on a sphere: a catalogue that noise of its own mean and spread does not resemble."""
    centres = np.random.default_rng(1).standard_normal((10, d))
    return (centres[np.arange(n) % 10] + 0.05 * np.random.default_rng(2).standard_normal((n, d))).astype(
        np.float32
    )


@pytest.mark.usefixtures("apart")
def test_own_features_give_the_catalogues_own_numbers():
    x = clustered()
    near = Neighbourhood.of(x, np.ones(200, dtype=bool), k=7)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    distance, lists = near.look_up(x, np.arange(200))
    np.testing.assert_allclose(distance, 1 - cosine.max(1), atol=1e-6)
    in_degree = np.bincount(np.argsort(-cosine, axis=1)[:, :7].ravel(), minlength=200)
    assert (near.in_degree == in_degree).all()
    assert (lists == in_degree).all()
    assert near.percentile(distance).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.usefixtures("apart")
def test_lists_entered_are_those_of_a_catalogue_built_again():
    x, k = clustered(60, 5), 4
    near = Neighbourhood.of(x, np.ones(60, dtype=bool), k)
    items, new = np.arange(0, 60, 3), np.random.default_rng(3).standard_normal((20, 5)).astype(np.float32)
    _, lists = near.look_up(new, items)
    for item, look, count in zip(items, new, lists, strict=True):
        changed = x.copy()
        changed[item] = look
        again = Neighbourhood.of(changed, np.ones(60, dtype=bool), k)
        assert again.in_degree[item] == count


@pytest.mark.usefixtures("apart")
def test_distance_catches_noise_and_hubs_catch_a_hub():
    x, everyone = clustered(), np.ones(200, dtype=bool)
    near = Neighbourhood.of(x, everyone, 5)
    noise, _ = near.look_up(noise_features(x, everyone, Rng(0)), np.arange(200))
    own, _ = near.look_up(x, np.arange(200))
    assert guards.distance({"images": noise, "own": own}, near).verdict == "outside"
    found = guards.distance({"images": own, "noise": noise}, near)
    assert found.verdict == "inside"
    assert found.numbers["noise_percentile"] > 0.95
    hub = np.concatenate([np.eye(40), np.ones((1, 40)) / 40**0.5]).astype(np.float32)  # near to everyone
    near = Neighbourhood.of(hub[:40], everyone[:40], 2)
    _, lists = near.look_up(hub[40:], np.array([0]))
    assert lists.tolist() == [39]
    assert guards.hubs({"images": lists}, near).verdict == "hubs"
    assert guards.hubs({"images": near.in_degree}, near).verdict == "none"


@pytest.mark.usefixtures("apart")
def test_items_without_picture_are_nobodys_neighbours():
    x = clustered(60)
    present = np.arange(60) % 3 > 0
    x[~present] = x[present].mean(0)
    near = Neighbourhood.of(x, present, 5)
    alone = Neighbourhood.of(x[present], np.ones(40, dtype=bool), 5)
    assert (near.in_degree == alone.in_degree).all()
    distance, _ = near.look_up(x[:1], np.array([0]))  # an item without picture has no place of its own
    unit = x[present] / np.linalg.norm(x[present], axis=1, keepdims=True)
    assert distance[0] == pytest.approx(1 - (unit @ (x[0] / np.linalg.norm(x[0]))).max(), abs=1e-6)


def test_noise_has_the_catalogues_mean_spread_and_length():
    x = (DRAW.standard_normal((4000, 6)) * [1, 2, 3, 1, 1, 1] + 10).astype(np.float32)
    noise = noise_features(x, np.ones(4000, dtype=bool), Rng(0))
    np.testing.assert_allclose(noise.mean(0), x.mean(0), rtol=0.03)
    np.testing.assert_allclose(noise.std(0)[1:3], x.std(0)[1:3], rtol=0.2)
    lengths = [np.linalg.norm(a, axis=1) for a in (noise, x)]
    np.testing.assert_allclose(*(np.quantile(a, [0.1, 0.5, 0.9]) for a in lengths), rtol=0.02)
    again = noise_features(x, np.ones(4000, dtype=bool), Rng(0))
    assert (noise == again).all()


def test_shuffled_pictures_are_another_items_each_used_once():
    present = np.arange(50) % 5 > 0
    rows = shuffled_rows(present, Rng(0))
    assert (rows != np.arange(50)).all()
    assert present[rows].all()
    assert len(np.unique(rows[present])) == present.sum()
    with pytest.raises(DataError, match="at least 2 of 3 items"):
        shuffled_rows(np.array([True, False, False]), Rng(0))


SETTINGS = {"epochs": 12, "eval_step": 12, "learning_rate": 0.01, "train_batch_size": 64, "knn_k": 5}


def test_where_only_the_picture_tells_the_ranker_uses_it_and_a_blind_one_does_not(apart):
    catalog, chosen = worlds.pictures_only(warm=10, cold=10)
    catalog = worlds.catalog({"image": catalog.features["image"]})
    used = {}
    for spec in ("micro", "bpr"):
        settings = {k: v for k, v in SETTINGS.items() if spec == "micro" or k != "knn_k"}

        def train(items, seed, spec=spec, settings=settings):
            return trained_ranker(RankerSpec(spec, settings), items, chosen, seed=seed)

        used[spec] = modality_use(train, catalog, chosen, (0, 1, 2))
    assert used["micro"].verdict == "uses"
    assert used["micro"].numbers["valid_loss_permuted"] > used["micro"].numbers["valid_loss"]
    assert used["bpr"].verdict == "does not use"
    assert used["bpr"].numbers["valid_loss_permuted"] == used["bpr"].numbers["valid_loss"]
    assert used["bpr"].numbers["valid_loss_p"] == 1
    with pytest.raises(SettingError, match="give 2 seeds or more, got 1"):
        modality_use(train, catalog, chosen, (0, 0))
    with pytest.raises(SettingError, match=r"no features 'image'.*\['text'\]"):
        modality_use(train, worlds.catalog({"text": np.eye(3)}), chosen, (0, 1))


def test_pictures_that_say_nothing_are_not_used(apart):
    catalog, chosen = worlds.noise()
    settings = {**SETTINGS, "epochs": 2, "eval_step": 2}

    def train(items, seed):
        return trained_ranker(RankerSpec("micro", settings), items, chosen, seed=seed)

    assert modality_use(train, catalog, chosen, (0, 1)).verdict == "does not use"


def test_validation_loss_is_the_mean_over_pairs(apart):
    catalog, chosen = worlds.noise()
    ranker = make_ranker(RankerSpec("bpr", {"epochs": 1})).fit(catalog, chosen, rng=Rng(0))
    user, item = chosen.only("valid")
    seen_user, seen_item = chosen.only("train", "valid")
    losses = []
    for u, i in zip(user, item, strict=True):
        score = ranker.score(np.array([u]))[0].double()
        others = np.setdiff1d(np.arange(40), seen_item[seen_user == u])
        losses.append(float(-torch.log(torch.sigmoid(score[i] - score[others])).mean()))
    assert validation_loss(ranker, chosen) == pytest.approx(np.mean(losses), abs=1e-6)


def test_permuting_keeps_the_features_and_the_other_modality():
    catalog, _ = worlds.noise()
    other = permuted(catalog, "image", 0)
    assert (other.features["text"] == catalog.features["text"]).all()
    assert not (other.features["image"] == catalog.features["image"]).all()
    for c in (catalog, other):
        assert c.features["image"].sum(0) == pytest.approx(catalog.features["image"].sum(0), abs=1e-4)
    assert not (permuted(catalog, "image", 1).features["image"] == other.features["image"]).all()


def test_a_verdict_lies_beside_its_ranker_and_is_of_no_other(apart):
    catalog, chosen = worlds.noise()
    folder = apart / "popularity"
    make_ranker("popularity").fit(catalog, chosen, rng=Rng(0)).save(folder)
    assert stored(folder) == {}
    assert "not tested" in gate({}, "popularity")[0]
    guard = guards.Guard("modality use", "does not use", {"seeds": 2, "valid_loss_p": float("nan")}, "blind")
    store(folder, guard)
    assert stored(folder)["modality use"].verdict == "does not use"
    with pytest.raises(SettingError, match=r"popularity must not judge images: blind.*--force"):
        gate(stored(folder), "popularity")
    assert "by force" in gate(stored(folder), "popularity", force=True)[0]
    assert gate({"modality use": guards.Guard("modality use", "uses")}, "x") == []
    store(folder, guards.Guard("swap test", "is blind", {}, "it is blind"))
    assert sorted(stored(folder)) == ["modality use", "swap test"]
    seeing = {"modality use": guards.Guard("modality use", "uses"), "swap test": stored(folder)["swap test"]}
    assert gate(seeing, "x") == []
    with pytest.raises(SettingError, match="x must not judge images: it is blind"):
        gate(seeing, "x", asked=REWARDS)
    verdict = (folder / FILE).read_text()
    make_ranker("popularity").fit(*worlds.noise(seed=1), rng=Rng(0)).save(folder)
    assert not (folder / FILE).exists()  # saved anew, it was never tested
    (folder / FILE).write_text(verdict)
    assert stored(folder) == {}
    (folder / FILE).write_text("{")
    with pytest.raises(DataError, match=r"guards.json: no readable guards.*--for-reward"):
        stored(folder)
