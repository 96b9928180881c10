"""Styles: people of one style agree, deviations stay, and without styles nothing moves."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.core.store import fingerprint
from recsim_gen.datasets.boutique import world as boutique

PEOPLE, STYLES = 2_000, 8
WORLD, CHOICES = "6eb12b4f5dca3153b371d143dbb1529a", "417f09592102798440e8ed6256c5d0a3"


def tastes(shop: boutique.Boutique) -> np.ndarray:
    """(n_users, d) all tastes in units of their deviation."""
    world, n = shop.world, len(shop.world.category)
    parts = [
        (world.category, boutique.SD_CATEGORY),
        (world.main, boutique.SD_MAIN),
        (world.second, boutique.SD_SECOND),
        (world.pattern, boutique.SD_PATTERN),
    ]
    return np.concatenate([(x / sd).reshape(n, -1) for x, sd in parts], axis=1)


def agreement(x: np.ndarray) -> np.ndarray:
    """(n, n) mean product of two people's tastes."""
    return x @ x.T / x.shape[1]


def test_people_of_a_style_agree_by_half_and_others_do_not():
    x = tastes(boutique.load(n_items=80, n_users=PEOPLE, styles=STYLES))
    pairs = agreement(x)[np.triu_indices(PEOPLE, 1)]
    alike = pairs > 0.25
    assert alike.mean() == pytest.approx(1 / STYLES, abs=0.02)
    assert pairs[alike].mean() == pytest.approx(boutique.SHARED, abs=0.06)
    assert pairs[~alike].mean() == pytest.approx(0, abs=0.06)
    assert x.std() == pytest.approx(1, abs=0.06)


def test_without_styles_the_shop_is_what_it_was():
    """Of the 80 items and 20 people of seed 0, as the release before had them."""
    shop = boutique.load(n_items=80, n_users=20)
    assert fingerprint(shop.world) == WORLD
    assert shop.interactions.fingerprint == CHOICES
    assert boutique.load(n_items=80, n_users=20, styles=0).fingerprint == shop.fingerprint


def test_what_others_like_tells_more_where_tastes_are_of_styles():
    """Items that are chosen with one's own: the held-back choice is among them more often than by chance."""

    def found(styles: int) -> float:
        chosen = boutique.load(n_items=400, n_users=600, styles=styles).interactions
        bought = np.zeros((chosen.n_users, chosen.n_items))
        bought[chosen.only("train", "valid")] = 1
        like_me = bought @ bought.T
        np.fill_diagonal(like_me, 0)
        scores = np.where(bought > 0, -np.inf, like_me @ bought)
        user, item = chosen.only("test")
        return float(np.mean((scores[user] > scores[user, item][:, None]).sum(1) < 20))

    assert found(STYLES) > 1.3 * found(0)


def test_choices_by_another_utility_are_by_the_same_chance():
    shop = boutique.load(n_items=120, n_users=30)
    own = shop.utility(np.arange(30)[:, None], shop.world.codes)
    assert shop.chosen_by(own).fingerprint == shop.interactions.fingerprint
    wanted = own.copy()
    wanted[:, 7] += 50
    other = shop.chosen_by(wanted)
    assert (other.item == 7).sum() == 30
    assert len(other) == len(shop.interactions)
    kept = set(zip(shop.interactions.user, shop.interactions.item, strict=True))
    assert len(kept & set(zip(other.user, other.item, strict=True))) >= len(kept) - 30


def test_fewer_than_no_styles_are_refused():
    with pytest.raises(SettingError, match=r"styles must be 0 \(tastes are independent\) or more, got -1"):
        boutique.load(styles=-1)
