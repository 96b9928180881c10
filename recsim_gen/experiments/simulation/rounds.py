"""Rounds of the shop: lists, images, choices, and retraining of the ranker before the next round.

A round is stored under a hash of everything it depends on: the world, the data, the images, the ranker, the
settings, the seed and the previous round. An interrupted simulation resumes from stored rounds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsim_gen import __version__
from recsim_gen.artifacts.trained_rankers import make_ranker, trained_ranker
from recsim_gen.core.errors import DataError
from recsim_gen.core.processes import this_process
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.store import cache_dir, cached_array, fingerprint
from recsim_gen.experiments.simulation.arms import Arm, visitors_of
from recsim_gen.experiments.simulation.choice import ChoiceModel
from recsim_gen.experiments.simulation.shelves import Shelves, shelves
from recsim_gen.experiments.simulation.visits import Shown, Visits, visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.types import Catalog, Dataset, Interactions
    from recsim_gen.experiments.simulation.arms import Showroom
    from recsim_gen.experiments.simulation.rules import Rules
    from recsim_gen.experiments.simulation.world import World

KEPT = "simulation"
ROUNDS = 1  # increase it when equal settings give other rounds, so that stored rounds are not used


class Worth(NamedTuple):
    """Utility (P, L) of lists as shown, and of the items; and the look (P, k) at the first place."""

    seen: np.ndarray
    own: np.ndarray
    first_look: np.ndarray


@dataclass(frozen=True, eq=False)
class Shop:
    """Everything needed to play rounds; ``catalog`` is the data set's, encoded."""

    dataset: Dataset
    catalog: Catalog
    world: World
    arms: Sequence[Arm]
    showroom: Showroom
    choice: ChoiceModel
    ranker: RankerSpec
    rules: Rules
    device: str = "cpu"

    def __post_init__(self) -> None:
        chosen = np.bincount(self.dataset.interactions.user).max()
        left = len(self.catalog) - chosen - self.rules.rounds
        if left < self.rules.length:
            raise DataError(
                f"every round needs lists of {self.rules.length} items, but people who chose "
                f"{chosen} of {len(self.catalog)} run out of them",
                remedy="Lower --length or --rounds, or name data with more items",
            )

    @cached_property
    def visitors(self) -> np.ndarray:
        """(P,) rows of the people who visit, ascending."""
        everybody = Rng(0).for_("visitors").numpy().permutation(visitors_of(self.dataset))
        return np.sort(everybody[: self.rules.people or None])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything except arms, seed and number of rounds."""
        items = [self.catalog.item_ids, self.catalog.categories, dict(self.catalog.features)]
        rules = asdict(self.rules) | {"rounds": None}
        made = [self.world.fingerprint, asdict(self.choice), self.ranker.name, dict(self.ranker.settings)]
        parts = [self.dataset.interactions.fingerprint, self.dataset.people]
        return fingerprint(__version__, ROUNDS, items, parts, rules, made)

    def name(self, arm: Arm, seed: int) -> str:
        """Return a hash of everything that the first round of an arm depends on."""
        alone = self.rules.assignment == "paired" and not self.rules.explore
        shown = [self.showroom.fingerprint(other) for other in ([arm] if alone else self.arms)]
        return fingerprint(self.fingerprint, shown, 0 if alone else self.arms.index(arm), arm.chance, seed)

    def people(self, arm: Arm, seed: int) -> np.ndarray:
        """Return (P,) rows of the people in this arm, ascending."""
        if self.rules.assignment == "paired":
            return self.visitors
        lot = Rng(seed).for_("assignment").numpy().permutation(len(self.visitors))
        return np.sort(self.visitors[lot[self.arms.index(arm) :: len(self.arms)]])

    def worth(self, people: np.ndarray, lists: np.ndarray, shown: np.ndarray) -> Worth:
        """Return the utilities of lists (P, L) for people (P,) with the images of the arms ``shown`` (P,)."""
        world, places = self.world, self.rules.personal
        looks = world.looks(lists.ravel())
        own = world.utility(np.repeat(people, lists.shape[1]), looks).reshape(lists.shape)
        seen, first_look = own.copy(), looks.reshape(*lists.shape, -1)[:, 0].copy()
        for number in np.unique(shown).tolist() if places else ():
            arm, rows = self.arms[number], np.flatnonzero(shown == number)
            if arm.method is None:
                continue
            viewers = np.repeat(people[rows], places)
            personal = self.showroom.looks(arm, viewers, lists[rows, :places].ravel())
            seen[rows, :places] = world.utility(viewers, personal).reshape(-1, places)
            first_look[rows] = personal[::places]
        return Worth(seen, own, first_look)


@dataclass(frozen=True, eq=False)
class History:
    """The rounds of one arm with one seed, and the final ranker's recall (P,)."""

    arm: Arm
    seed: int
    rounds: tuple[Visits, ...]
    last_recall: np.ndarray


def play(shop: Shop, seed: int) -> list[History]:
    """Play all arms with this seed, round by round; stored rounds are loaded."""
    learner = _Learner(shop, seed)
    lives = [_Life(shop, arm, seed, learner.first.fingerprint) for arm in shop.arms]
    for _ in bar(range(shop.rules.rounds), f"seed {seed}", unit="round"):
        for life in lives:
            life.next_round(learner)
    return [History(life.arm, seed, tuple(life.rounds), life.last_recall(learner)) for life in lives]


class _Learner:
    """The ranker trained on a log; the latest one is kept, for arms that do not differ yet."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self._shop, self._seed = shop, seed
        self._log = ""
        self._latest: Ranker | None = None

    @cached_property
    def first(self) -> Ranker:
        """The ranker of the first round, trained on the data."""
        shop = self._shop
        with this_process().main_process_first():  # the others load it from the cache
            return trained_ranker(
                shop.ranker, shop.catalog, shop.dataset.interactions, seed=self._seed, device=shop.device
            )

    def ranker(self, log: Interactions) -> Ranker:
        """Return the ranker trained on this log."""
        if self._latest is None or log.fingerprint != self._log:
            self._latest, self._log = self._learned(log), log.fingerprint
        return self._latest

    def _learned(self, log: Interactions) -> Ranker:
        shop = self._shop
        if log.fingerprint == shop.dataset.interactions.fingerprint:
            return self.first
        ranker = make_ranker(shop.ranker, device=shop.device)
        ranker.fit(shop.catalog, log, rng=Rng(self._seed))
        return ranker


class _Life:
    """An arm that is being played."""

    def __init__(self, shop: Shop, arm: Arm, seed: int, ranker: str) -> None:
        self.shop, self.arm = shop, arm
        self.rounds: list[Visits] = []
        self._people = shop.people(arm, seed)
        self._name = fingerprint(shop.name(arm, seed), ranker)
        self._rng = Rng(seed).for_("simulation", *([arm.chance] if arm.chance else []))

    def next_round(self, learner: _Learner) -> None:
        """Play one round, or load it."""
        key = fingerprint(self._name, len(self.rounds))
        path = cache_dir() / KEPT / f"{key}.npz"
        if path.exists():
            self.rounds.append(Visits.read(path))
            return
        visits = self._visits(learner)
        visits.write(path)
        self.rounds.append(visits)

    def last_recall(self, learner: _Learner) -> np.ndarray:
        """Return the (P,) recall of the ranker trained on all rounds."""
        key = fingerprint(self._name, len(self.rounds), "recall")
        return cached_array(KEPT, key, lambda: self._shelves(learner).recall)

    def _log(self) -> Interactions:
        """Return all choices before this round, as training choices after those of the data."""
        known = self.shop.dataset.interactions
        if not self.rounds:
            return known
        user, item = (np.concatenate(c) for c in zip(*(v.choices for v in self.rounds), strict=True))
        when = np.concatenate([np.full(v.chose.sum(), t + 1.0) for t, v in enumerate(self.rounds)])
        return replace(
            known,
            user=np.concatenate([known.user, user]),
            item=np.concatenate([known.item, item]),
            time=np.concatenate([known.time, known.time.max() + when]),
            weight=np.concatenate([known.weight, np.ones(len(user))]),
            split=np.concatenate([known.split, np.full(len(user), "train")]),
        )

    def _shelves(self, learner: _Learner) -> Shelves:
        log = self._log()
        return shelves(learner.ranker(log), log, self._people, self.shop.rules.length)

    def _visits(self, learner: _Learner) -> Visits:
        shop, rng = self.shop, self._rng.for_(len(self.rounds))
        lists, scores, recall = self._shelves(learner)
        share = 0.0 if self.rounds else shop.rules.explore  # in later rounds the lists differ between arms
        shown, explored = self._pictures(share, rng.for_("pictures"))
        seen, own, first_look = shop.worth(self._people, lists, shown)
        n_users = shop.dataset.interactions.n_users
        taken = visit(
            Shown(lists, seen, own), shop.choice, rng.for_("choices"), people=self._people, n_users=n_users
        )
        here = shown == shop.arms.index(self.arm)
        return Visits(
            people=self._people,
            lists=lists,
            scores=scores,
            shown=shown,
            propensity=np.where(here, 1 - share, 0.0) + share / len(shop.arms),
            explored=explored,
            place=taken.place,
            seen=taken.seen,
            own=taken.own,
            returned=taken.returned,
            first_look=first_look,
            recall=recall,
        )

    def _pictures(self, share: float, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        """Return (P,) the number of the arm whose images each person sees, and whether it was randomised."""
        draw, shop = rng.numpy(), self.shop
        n_users = shop.dataset.interactions.n_users
        explored = draw.random(n_users)[self._people] < share
        other = draw.integers(len(shop.arms), size=n_users)[self._people]
        return np.where(explored, other, shop.arms.index(self.arm)), explored
