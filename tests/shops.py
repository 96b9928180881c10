"""Small shops whose tastes are known, without pictures: looks are vectors, people like directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.types import Catalog, Dataset, Interactions
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.experiments.simulation.arms import AGAIN, Arm, Showroom
from recsim_gen.experiments.simulation.choice import ChoiceModel
from recsim_gen.experiments.simulation.rounds import Shop
from recsim_gen.experiments.simulation.rules import Rules

WIDTH, CATEGORIES, CHOICES = 8, 6, 12
ORIGINAL_AND_AGAIN = (Arm("original"), Arm(AGAIN, chance=AGAIN))


@dataclass(frozen=True)
class Directions:
    """A world: V(u, look) = taste_u · look."""

    items: np.ndarray
    tastes: np.ndarray
    name: str = "directions"
    fingerprint: str = "directions"
    outside: float = 1.0

    def looks(self, items: np.ndarray) -> np.ndarray:
        return self.items[items]

    def read(self, images: Sequence[object]) -> np.ndarray:
        return np.zeros((len(images), self.items.shape[1]))

    def utility(self, people: np.ndarray, looks: np.ndarray) -> np.ndarray:
        return (self.tastes[people] * looks).sum(1)

    def misread(self) -> float:
        return 0.0


def dataset(n_users: int, n_items: int, seed: int = 0) -> tuple[Dataset, Directions]:
    """People with `CHOICES` choices each, the last held back, and their world."""
    draw = np.random.default_rng(seed)
    looks = draw.standard_normal((n_items, WIDTH)).astype(np.float32)
    world = Directions(looks, draw.standard_normal((n_users, WIDTH)) * 0.6)
    ids = [f"i{k}" for k in range(n_items)]
    catalog = Catalog(ids, ids, ids, [f"c{k % CATEGORIES}" for k in range(n_items)], None, {"image": looks})
    user = np.repeat(np.arange(n_users), CHOICES)
    first = draw.integers(n_items, size=n_users)
    item = (first[:, None] + np.arange(CHOICES) * 7).ravel() % n_items
    place = np.tile(np.arange(CHOICES, dtype=float), n_users)
    split = np.select([place == CHOICES - 1, place == CHOICES - 2], ["test", "valid"], default="train")
    names = [f"u{k}" for k in range(n_users)]
    chosen = Interactions(user, item, place, np.ones(len(user)), split, names, n_items)
    episodes = test_episodes(chosen, chosen.user_ids)
    return Dataset("directions", catalog, chosen, episodes, {"image": "pixels"}), world


def shop(
    n_users: int = 60,
    n_items: int = 120,
    *,
    arms: Sequence[Arm] = ORIGINAL_AND_AGAIN,
    ranker: RankerSpec = RankerSpec("taste", {"noise": 4.0}),
    **rules: object,
) -> Shop:
    """A shop of these sizes, run by the rules with those given over them."""
    data, world = dataset(n_users, n_items)
    showroom = Showroom({}, data, world, seed=0)
    choice = ChoiceModel(world.outside, 1.0)
    return Shop(data, data.catalog, world, arms, showroom, choice, ranker, Rules(**rules))
