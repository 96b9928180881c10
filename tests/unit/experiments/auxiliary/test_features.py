"""From pictures to new features: rules, controls, and what must stay as it was."""

from dataclasses import replace

import numpy as np
import pytest
from pictures import plain_picture

from recsim_gen.artifacts.drawn_images import write_image
from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.episodes import test_episodes as episodes_of
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.datasets.manifests import Provenance
from recsim_gen.experiments.auxiliary.conditions import conditions
from recsim_gen.experiments.auxiliary.features import NewFeatures, aggregate, features_of, replacements
from recsim_gen.testing import worlds

DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def world():
    catalog, chosen = worlds.noise(30, 40)
    return Dataset("world", catalog, chosen, episodes_of(chosen, chosen.user_ids), {})


# ---- several pictures of one item ----


def test_rules_by_hand():
    x = np.array([[1, 0], [0.9, 0.1], [0, 1], [5, 5], [7, 0]], dtype=np.float32)
    group = np.array([3, 3, 3, 1, 8])
    assert aggregate(x, group, "latest").tolist() == [[5, 5], [0, 1], [7, 0]]
    assert aggregate(x, group, "vote")[1].tolist() == pytest.approx([0.9, 0.1])
    assert aggregate(x, group, "mean")[1] == pytest.approx(x[:3].mean(0))
    pair = x[[0, 2]]
    assert aggregate(pair, np.zeros(2), "vote").tolist() == [[0, 1]]  # each likes the other: the latest


@pytest.mark.parametrize("rule", ["mean", "latest", "vote"])
def test_rules_agree_with_a_loop(rule):
    group = DRAW.integers(0, 9, 60)
    x = DRAW.standard_normal((60, 5)).astype(np.float32)
    found = aggregate(x, group, rule)
    for row, g in zip(found, np.unique(group), strict=True):
        mine = x[group == g].astype(float)
        unit = mine / np.linalg.norm(mine, axis=1, keepdims=True)
        votes = np.round((unit @ unit.T).sum(1), 9)
        best = np.flatnonzero(votes == votes.max())[-1]
        wanted = {"mean": mine.mean(0), "latest": mine[-1], "vote": mine[best]}[rule]
        assert row == pytest.approx(wanted, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("rule", ["mean", "latest", "vote"])
def test_one_picture_is_itself_under_every_rule(rule):
    x = DRAW.standard_normal((6, 3)).astype(np.float32)
    group = np.array([4, 0, 5, 1, 3, 2])
    assert (aggregate(x, group, rule) == x[np.argsort(group)]).all()


def test_a_black_picture_gets_and_gives_no_votes():
    x = np.array([[0, 0], [1, 1], [1, 0.9]], dtype=np.float32)
    assert aggregate(x, np.zeros(3), "vote").tolist() != [[0, 0]]


# ---- pictures read from files ----


def test_features_are_of_the_pictures_of_the_conditions(world, tmp_path, apart):
    chosen = conditions(world, "strict", items=4, each=2)
    for k, e in enumerate(chosen.episodes):
        place = tmp_path / "set" / f"u{e.user}" / f"i{e.reference}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        plain_picture((20 * k, 100, 200)).save(place)
    images = read_images(tmp_path / "set", world)
    found = features_of(images, chosen, "pixels", world, rule="latest")
    assert found.place.tolist() == [0, 1, 2, 3]
    one = features_of(images, conditions(world, "strict", items=4), "pixels", world)
    assert (one.x == found.x).all()  # the latest of two is the one
    mean = features_of(images, chosen, "pixels", world, rule="mean")
    several = np.bincount(chosen.place) > 1
    assert ((mean.x != found.x).any(1) == several).all()


def test_a_picture_for_a_test_pair_is_refused_wherever_it_comes_from(world, tmp_path, apart):
    chosen = conditions(world, "strict", items=3)
    asked = world.episodes[0]
    pairs = [(e.user, e.reference) for e in chosen.episodes]
    for user, item in (*pairs, (asked.user, asked.reference)):
        place = tmp_path / f"u{user}" / f"i{item}.png"
        place.parent.mkdir(exist_ok=True)
        plain_picture((item, 0, 0)).save(place)
    images = read_images(tmp_path, world)
    with pytest.raises(
        DataError, match=rf"user 'u{asked.user}' with item row {asked.reference} is of the test"
    ):
        features_of(images, chosen, "pixels", world)
    leaky = conditions(world, "paper")
    assert len(features_of(images, leaky, "pixels", world).place) == 1


def drawn_for(episode, path, name, pixels=(9, 9, 9)):
    """As a generator writes it, under whatever name."""
    user, item = f"u{episode.user}", f"i{episode.reference}"
    made = Provenance("sd", "print", episode.id, user, item, seed=0, stream=0)
    return write_image(path / name, np.full((3, 8, 8), 0.5) * np.reshape(pixels, (3, 1, 1)) / 255, made)


def test_pictures_that_do_not_say_for_whom_they_are_need_a_statement(world, tmp_path, apart):
    chosen = conditions(world, "strict", items=3)
    for item in chosen.items.tolist():
        plain_picture((item, 9, 9)).save(tmp_path / f"i{item}.png")
    images = read_images(tmp_path, world)
    with pytest.raises(DataError, match=r"neither name nor content gives it for 3 of 3.*--placebo-is-real"):
        features_of(images, chosen, "pixels", world)
    assert len(features_of(images, chosen, "pixels", world, of_nobody=True).place) == 3
    for item in range(len(world.catalog)):
        plain_picture((item, 9, 9)).save(tmp_path / f"i{item}.png")
    leaky = conditions(world, "paper")
    assert len(features_of(read_images(tmp_path, world), leaky, "pixels", world).place) == len(leaky.items)


def test_no_statement_and_no_name_hides_whom_a_picture_was_drawn_for(world, tmp_path, apart):
    """A generated picture says inside for whom it is: renamed, it is found out."""
    chosen = conditions(world, "strict", items=3)
    mine, asked = chosen.episodes[0], world.episodes[0]
    drawn_for(mine, tmp_path / "fair", f"i{mine.reference}.png")
    assert features_of(read_images(tmp_path / "fair", world), chosen, "pixels", world).place.tolist() == [0]
    for name in (f"i{mine.reference}.png", f"u{mine.user}/i{mine.reference}.png"):
        place = tmp_path / name.replace("/", "-")
        drawn_for(asked, place, name)
        with pytest.raises(DataError, match=rf"user 'u{asked.user}'.* is of the test split"):
            features_of(read_images(place, world), chosen, "pixels", world, of_nobody=True)
    drawn_for(replace(mine, user=10_000), tmp_path / "strange", f"i{mine.reference}.png")
    with pytest.raises(DataError, match=r"made for user 'u10000'.*the data does not have both"):
        features_of(read_images(tmp_path / "strange", world), chosen, "pixels", world, of_nobody=True)


def test_a_placebo_of_some_items_is_of_these(world, tmp_path, apart):
    chosen = conditions(world, "strict", items=6)
    for item in chosen.items[[1, 4]].tolist():
        plain_picture((item, 9, 9)).save(tmp_path / f"i{item}.png")
    found = features_of(read_images(tmp_path, world), chosen, "pixels", world, of_nobody=True)
    assert found.place.tolist() == [1, 4]
    rest = tmp_path / "rest"
    rest.mkdir()
    plain_picture((1, 1, 1)).save(rest / f"i{chosen.items[-1]}.png")
    two = conditions(world, "strict", items=2)
    with pytest.raises(DataError, match="pictures of the 2 items to replace are wanted, got none"):
        features_of(read_images(rest, world), two, "pixels", world, of_nobody=True)


# ---- controls ----


def made(world, items: int, names=("gen",), seed: int = 0, fraction: float = 1.0):
    chosen = conditions(world, "strict", items=items)
    drawn = {
        name: NewFeatures(np.arange(items), np.full((items, 12), k + 1.0) + np.arange(items)[:, None])
        for k, name in enumerate(names)
    }
    return chosen, replacements(world.catalog, chosen, drawn, fraction=fraction, seed=seed)


def test_all_variants_change_the_same_items_and_nothing_else(world):
    chosen, found = made(world, 10)
    assert list(found) == ["gen", "shuffled", "mean_feature", "noise"]
    own = world.catalog.features
    for catalog in found.values():
        changed = (catalog.features["image"] != own["image"]).any(1)
        assert set(np.flatnonzero(changed)) == set(chosen.items.tolist())
        assert (catalog.features["text"] == own["text"]).all()


def test_shuffled_pictures_are_the_generators_at_other_items(world):
    chosen, found = made(world, 10)
    x, mixed = (found[n].features["image"][chosen.items] for n in ("gen", "shuffled"))
    assert (x != mixed).any(1).all()
    assert (np.sort(x, axis=0) == np.sort(mixed, axis=0)).all()
    assert (made(world, 10, seed=1)[1]["shuffled"].features["image"][chosen.items] != mixed).any()
    mean = world.catalog.features["image"].mean(0)
    assert found["mean_feature"].features["image"][chosen.items] == pytest.approx(
        np.tile(mean, (10, 1)), abs=1e-6
    )


def test_names_of_what_is_shuffled(world):
    assert list(made(world, 5, ("a", "b", "placebo"))[1]) == [
        "a",
        "b",
        "placebo",
        "shuffled_a",
        "shuffled_b",
        "mean_feature",
        "noise",
    ]
    chosen, alone = made(world, 5, ())
    assert list(alone) == ["shuffled", "mean_feature", "noise"]
    own = world.catalog.features["image"][chosen.items]
    mixed = alone["shuffled"].features["image"][chosen.items]
    assert (np.sort(own, axis=0) == np.sort(mixed, axis=0)).all()
    assert (own != mixed).any()


def test_a_smaller_fraction_changes_a_part_of_the_same_items_alike(world):
    own, half = world.catalog.features["image"], made(world, 12, fraction=0.5)[1]
    whole = made(world, 12)[1]
    for name in ("gen", "noise", "mean_feature"):
        x, y = (v[name].features["image"] for v in (half, whole))
        rows = (x != own).any(1)
        assert rows.sum() == 6
        assert (x[rows] == y[rows]).all()
    with pytest.raises(DataError, match=r"at least 2 items must be replaced, got 0.1 of 12"):
        made(world, 12, fraction=0.1)


def test_items_without_a_placebo_keep_their_own(world):
    chosen = conditions(world, "strict", items=8)
    some = NewFeatures(np.array([2, 5]), np.ones((2, 12)))
    found = replacements(world.catalog, chosen, {"placebo": some}, fraction=1.0, seed=0)["placebo"]
    changed = np.flatnonzero((found.features["image"] != world.catalog.features["image"]).any(1))
    assert set(changed) == set(chosen.items[[2, 5]].tolist())
