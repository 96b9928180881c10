"""Boutique: the shop is reproducible, its choices follow the documented model, the oracle is right."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.boutique import images as boutique_images
from recsim_gen.datasets.boutique import world as boutique
from recsim_gen.datasets.boutique.attributes import (
    CATEGORIES,
    COLOURS,
    GROUP_CODES,
    PATTERNS,
    Attributes,
    all_codes,
)
from recsim_gen.datasets.boutique.canvas import PALETTE
from recsim_gen.datasets.boutique.drawing import render


@pytest.fixture(scope="module")
def shop():
    """The full shop; its pictures are not drawn unless a test asks for them."""
    return boutique.load()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path))
    return tmp_path


# --- size and shape -----------------------------------------------------------------------------


def test_size_is_as_promised_and_everything_occurs(shop):
    assert len(shop.catalog) == 2000
    assert shop.interactions.n_users == 600
    for axis, names in enumerate((CATEGORIES, COLOURS, COLOURS, PATTERNS)):
        share = np.bincount(shop.world.codes[:, axis], minlength=len(names)) / 2000 * len(names)
        assert share.min() > 0.7, f"axis {axis}: a value is rare"
        assert share.max() < 1.3, f"axis {axis}: a value is common"
    assert (shop.world.codes[:, 1] != shop.world.codes[:, 2]).all()
    counts = np.bincount(shop.interactions.user)
    assert (counts.min(), counts.max()) == (20, 40)


def test_last_choice_is_test_and_the_one_before_valid(shop):
    x = shop.interactions
    count = np.bincount(x.user)[x.user]
    assert (x.split[x.time == count - 1] == "test").all()
    assert (x.split[x.time == count - 2] == "valid").all()
    assert (x.split[x.time < count - 2] == "train").all()
    assert len(shop.episodes) == 600
    assert all(e.source_user == x.user_ids[e.user] for e in shop.episodes)


# --- the choice model ---------------------------------------------------------------------------


def _value(shop):
    return shop.utility(np.arange(600)[:, None], shop.world.codes)


def _chosen(shop):
    chosen = np.zeros((600, 2000), dtype=bool)
    chosen[shop.interactions.user, shop.interactions.item] = True
    return chosen


def test_choices_follow_the_documented_probabilities(shop):
    """With a Gumbel noise an item is taken with probability 1 − exp(−exp(V − t)), t the user's bar.

    The bar is solved for so that the expected number of choices is the observed one.
    """
    value, chosen = _value(shop), _chosen(shop)
    low, high = np.full((600, 1), -20.0), np.full((600, 1), 20.0)
    for _ in range(50):
        bar = (low + high) / 2
        too_many = (-np.expm1(-np.exp(value - bar))).sum(1, keepdims=True) > chosen.sum(1, keepdims=True)
        low, high = np.where(too_many, bar, low), np.where(too_many, high, bar)
    expected = -np.expm1(-np.exp(value - bar))
    edges = np.quantile(expected, [0.5, 0.75, 0.9, 0.95, 0.99])
    bins = np.digitize(expected, edges)
    for b in range(len(edges) + 1):
        ratio = chosen[bins == b].sum() / expected[bins == b].sum()
        assert 0.94 < ratio < 1.06, f"bin {b}: taken {ratio:.3f} times as often as the model says"


def test_a_colour_is_chosen_more_often_by_those_who_like_it_in_that_group_only(shop):
    w, x = shop.world, shop.interactions
    group, main = GROUP_CODES[w.codes[x.item, 0]], w.codes[x.item, 1]
    counts = np.zeros(w.main.shape)
    np.add.at(counts, (x.user, group, main), 1)
    fifths = np.digitize(w.main, np.quantile(w.main, [0.2, 0.4, 0.6, 0.8]))
    means = [counts[fifths == f].mean() for f in range(5)]
    assert means == sorted(means)
    assert means[4] > 5 * means[0]
    elsewhere = np.corrcoef(w.main[:, 0].ravel(), counts[:, 2].ravel())[0, 1]
    assert abs(elsewhere) < 0.05


def test_time_does_not_tell_the_taste(shop):
    x = shop.interactions
    liked = shop.utility(x.user, shop.world.codes[x.item])
    late = x.time > np.bincount(x.user)[x.user] / 2
    gap = liked[late].mean() - liked[~late].mean()
    assert abs(gap) < 4 * liked.std() / np.sqrt(len(x) / 2)
    assert liked.mean() > _value(shop).mean() + 1  # while the choices themselves do


def test_tastes_have_the_documented_deviations(shop):
    w = shop.world
    for taste, sd in ((w.category, 0.7), (w.main, 1.3), (w.second, 0.4), (w.pattern, 0.9)):
        assert taste.std() == pytest.approx(sd, rel=0.05)
        assert abs(taste.mean()) < 0.1 * sd


# --- the oracle ---------------------------------------------------------------------------------


def test_utility_is_the_sum_of_four_tastes_and_broadcasts(shop):
    w = shop.world
    look = Attributes("lamp", "pink", "black", "dots")
    by_hand = w.category[7, 8] + w.main[7, 2, 6] + w.second[7, 2, 8] + w.pattern[7, 2, 2]
    assert shop.utility(7, look) == by_hand
    users = np.array([7, 3])
    np.testing.assert_array_equal(shop.utility(users, [look, look])[0], by_hand)
    table = shop.utility(users[:, None], w.codes[:5])
    assert table.shape == (2, 5)
    np.testing.assert_array_equal(np.diag(table), shop.utility(users, w.codes[:2]))


@pytest.mark.parametrize("user", [0, 1, 599])
def test_nothing_in_the_category_beats_the_best_or_loses_to_the_worst(shop, user):
    for category in CATEGORIES:
        best, worst = (f(user, category) for f in (shop.world.best_attributes, shop.world.worst_attributes))
        assert best.category == worst.category == category
        values = shop.utility(user, all_codes(category))
        assert shop.utility(user, best) == values.max()
        assert shop.utility(user, worst) == values.min()


# --- words --------------------------------------------------------------------------------------


def test_every_caption_names_category_colours_pattern_and_group():
    adjective = {"stripes": "striped", "dots": "dotted", "checks": "checked"}
    group = {"clothes": "cloth", "accessories": "accessor", "home": "home"}
    for category in CATEGORIES:
        for look in map(Attributes.of, all_codes(category)):
            for template in range(4):
                text = look.caption(template)
                assert all(f" {c}" in text for c in (look.main, look.second)), text
                assert category in text, text
                assert look.pattern in text or adjective.get(look.pattern, "?") in text.lower(), text
                assert group[look.group] in text, text
                assert "a orange" not in text.lower(), text


def test_codes_and_names_are_two_forms_of_one_thing():
    for codes in all_codes("mug"):
        np.testing.assert_array_equal(Attributes.of(codes).codes, codes)


# --- pictures -----------------------------------------------------------------------------------


SCRIPT = """
from recsim_gen.datasets.boutique.world import load
shop = load(seed={seed}, n_items=80, n_users=30)
print(shop.fingerprint, hash(shop.catalog.images.pixels.tobytes()))
"""


def _other_process(seed, folder):
    env = {"RECSIM_CACHE": str(folder), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-c", SCRIPT.format(seed=seed)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_a_seed_gives_the_same_bytes_in_every_process_and_another_seed_does_not(tmp_path):
    one, again, other = (_other_process(s, tmp_path / n) for s, n in ((5, "a"), (5, "b"), (6, "c")))
    assert one == again
    assert one.split()[0] != other.split()[0]
    assert one.split()[1] != other.split()[1]


def test_pictures_are_drawn_once_and_read_from_the_cache(cache, monkeypatch):
    first = boutique.load(n_items=80, n_users=5).catalog.images
    drawn = np.array(first.pixels)
    monkeypatch.setattr(boutique_images, "render", None)  # calling it would fail
    again = boutique.load(n_items=80, n_users=9).catalog.images
    np.testing.assert_array_equal(again.pixels, drawn)
    assert isinstance(again.pixels, np.memmap)
    picture = again.read(3)
    assert (picture.size, picture.mode) == ((64, 64), "RGB")
    np.testing.assert_array_equal(np.asarray(picture), drawn[3])


def test_the_cache_is_named_by_all_code_that_draws(cache, monkeypatch, tmp_path_factory):
    script = "import sys, recsim_gen.datasets.boutique.drawing; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    package = "recsim_gen.datasets.boutique."
    assert {name for name in loaded.split() if name.startswith(package)} == {
        module.__name__ for module in boutique_images.DRAWING
    }
    boutique.load(n_items=80, n_users=5).catalog.images.read(0)
    for k, module in enumerate(boutique_images.DRAWING, start=2):
        changed = tmp_path_factory.mktemp("code") / "changed.py"
        changed.write_bytes(Path(module.__file__).read_bytes() + b"# changed")
        monkeypatch.setattr(module, "__file__", str(changed))
        boutique.load(n_items=80, n_users=5).catalog.images.read(0)
        assert len([*cache.rglob("*.npy")]) == k, module.__name__


def test_an_interrupted_drawing_leaves_nothing_behind(cache, monkeypatch):
    calls = iter(range(20))

    def stop(look, rng):
        if next(calls) == 10:
            raise KeyboardInterrupt
        return np.zeros((64, 64, 3))

    monkeypatch.setattr(boutique_images, "render", stop)
    with pytest.raises(KeyboardInterrupt):
        boutique.load(n_items=80, n_users=5).catalog.images.read(0)
    assert not [p for p in cache.rglob("*") if p.is_file()]


def test_a_broken_cache_file_is_named_with_its_remedy(cache):
    boutique.load(n_items=80, n_users=5).catalog.images.read(0)
    (path,) = cache.rglob("*.npy")
    for broken in (path.read_bytes()[:1000], b"", b"not an array"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="Delete it") as caught:
            boutique.load(n_items=80, n_users=5).catalog.images.read(0)
        assert caught.value.file == path


def _area(picture, colour):
    """Share of the picture in this colour of the palette, the fall of light allowed for."""
    wanted = np.array(PALETTE[colour]) * np.linspace(1, 0.9, 64)[:, None, None]
    return (np.linalg.norm(np.asarray(picture) - wanted, axis=2) < 45).mean()


@pytest.mark.parametrize("category", CATEGORIES)
def test_both_colours_are_seen_and_the_main_one_covers_more(category):
    pairs = (("red", "blue"), ("blue", "yellow"), ("green", "pink"), ("orange", "purple"))
    for pattern in PATTERNS:
        pictures = [(render(Attributes(category, m, s, pattern), Rng(1)), m, s) for m, s in pairs]
        main = np.array([_area(picture, m) for picture, m, _ in pictures])
        second = np.array([_area(picture, s) for picture, _, s in pictures])
        assert second.min() > 0.01, f"{pattern}: the second colour is hard to see"
        assert main.mean() > 1.1 * second.mean(), f"{pattern}: which colour is the main one?"


def _edge_directions(pixels):
    """(n, 12) how much of each picture's edges runs in each of 12 directions."""
    down, right = np.gradient(pixels, axis=(1, 2))
    angle = np.arctan2((down * np.sign(right)).sum(3), np.abs(right).sum(3))
    bins = np.floor((angle / np.pi + 0.5) * 11.999).astype(int)
    strength = (down**2 + right**2).sum(3)
    sums = [np.bincount(b.ravel(), s.ravel(), minlength=12) for b, s in zip(bins, strength, strict=True)]
    return np.sqrt(sums)


def test_pictures_alone_tell_the_look(cache):
    """Plain linear classifiers name category, main colour and pattern of pictures they never saw."""
    from sklearn.linear_model import RidgeClassifier

    shop = boutique.load(n_items=900, n_users=5)
    pixels = shop.catalog.images.pixels / np.float32(255)
    background = pixels[:, 0, 0][:, None, None]
    silhouette = (np.abs(pixels - background).sum(3) > 0.3)[:, 1::3, 1::3].reshape(900, -1)
    bins = np.floor(pixels * 3.999).astype(int) @ np.array([16, 4, 1])
    colours = np.stack([np.bincount(b.ravel(), minlength=64) for b in bins]) ** 0.5
    known, new = slice(0, 700), slice(700, 900)
    for axis, x, floor in ((0, silhouette, 0.97), (1, colours, 0.9), (3, _edge_directions(pixels), 0.55)):
        codes = shop.world.codes[:, axis]
        accuracy = RidgeClassifier(alpha=10).fit(x[known], codes[known]).score(x[new], codes[new])
        assert accuracy > floor, f"axis {axis}: {accuracy:.2f}"


def test_equal_looks_are_not_the_same_picture_and_a_stream_repeats_its_picture():
    look = Attributes("mug", "green", "white", "checks")
    one, two, again = (np.asarray(render(look, Rng(0).for_(n)), dtype=float) for n in ("a", "b", "a"))
    other = np.asarray(render(Attributes("dress", "red", "black", "zigzag"), Rng(0).for_("a")), dtype=float)
    np.testing.assert_array_equal(one, again)
    assert 1 < np.abs(one - two).mean() < np.abs(one - other).mean()


# --- errors -------------------------------------------------------------------------------------


def test_mistakes_are_answered_with_what_was_wanted():
    with pytest.raises(SettingError, match=r"unknown main 'rde'.*mean 'red'"):
        Attributes("mug", "rde", "white", "plain")
    with pytest.raises(SettingError, match="must differ, got 'red' twice"):
        Attributes("mug", "red", "red", "plain")
    with pytest.raises(SettingError, match=r"unknown category 'hut'.*mean 'hat'"):
        all_codes("hut")
    with pytest.raises(SettingError, match=r"at least 80 items.*n_items=79"):
        boutique.load(n_items=79)
