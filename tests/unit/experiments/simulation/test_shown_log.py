"""A log in which people chose by what the shop showed: who sees which picture, and what chance does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.datasets.boutique import world as boutique
from recsim_gen.datasets.image_sets import ANY
from recsim_gen.experiments.simulation.shown_log import known_shop, shown_log

SHOP = boutique.load(n_items=120, n_users=30)
BEST = 50.0


class Tagged:
    """Looks are (0, item) for real ones and (1, tag) for pictures; whose tag is liked, is told below."""

    name = fingerprint = "tagged"
    outside = 0.0

    def __init__(self, liked: dict[tuple[int, int], float]) -> None:
        self.liked = liked

    def looks(self, items: np.ndarray) -> np.ndarray:
        return np.stack([np.zeros_like(items), items], axis=1)

    def read(self, images: list[int]) -> np.ndarray:
        return np.array([[1, tag] for tag in images]).reshape(-1, 2)

    def utility(self, people: np.ndarray, looks: np.ndarray) -> np.ndarray:
        real = SHOP.utility(people, SHOP.world.codes[np.minimum(looks[:, 1], 119)])
        told = [self.liked.get((u, tag), -BEST) for u, tag in zip(people, looks[:, 1], strict=True)]
        return np.where(looks[:, 0] == 0, real, told)

    def misread(self) -> float:
        return 0.0


def pictures(user: list[int], item: list[int]) -> SimpleNamespace:
    """Pictures of these people and items, which read as their row."""
    reader = SimpleNamespace(read=lambda row: row)
    return SimpleNamespace(user=np.array(user), item=np.array(item), reader=reader)


def test_a_person_sees_their_own_picture_and_others_one_of_the_items():
    seen: list[tuple[int, int]] = []

    class Noted(Tagged):
        def utility(self, people, looks):
            seen.extend((u, tag) for u, (kind, tag) in zip(people, looks, strict=True) if kind == 1)
            return super().utility(people, looks)

    images = pictures([3, 4, ANY, 5], [7, 7, 9, 11])  # rows 0…3
    shown_log(SHOP, Noted({}), images, np.array([7, 9]))
    tags = {u: {tag for who, tag in seen if who == u} for u in range(30)}
    assert tags[3] == {0, 2}
    assert tags[4] == {1, 2}
    assert {frozenset(tags[u]) for u in range(5, 30)} == {
        frozenset({0, 2}),
        frozenset({1, 2}),
    }  # 11 keeps its own


def test_people_choose_by_what_they_see():
    images = pictures([3, 4], [7, 9])
    log = shown_log(SHOP, Tagged({(3, 0): BEST, (4, 0): BEST}), images, np.array([7, 9]))
    chosen = set(zip(log.user.tolist(), log.item.tolist(), strict=True))
    assert {(3, 7), (4, 7)} <= chosen
    assert not any(item == 9 for _, item in chosen)
    assert {user for user, item in chosen if item == 7} == {3, 4}
    assert (log.split == "test").sum() == 30


def test_pictures_that_show_the_items_leave_the_log_as_it_is():
    class Same(Tagged):
        def utility(self, people, looks):
            return SHOP.utility(people, SHOP.world.codes[looks[:, 1]])

    images = pictures([ANY] * 20, list(range(20)))
    assert shown_log(SHOP, Same({}), images, np.arange(20)).fingerprint == SHOP.interactions.fingerprint


def test_people_of_real_data_are_not_asked():
    with pytest.raises(SettingError, match="--world shown: people choose again by what they see"):
        known_shop(SimpleNamespace(name="ml-100k"))
