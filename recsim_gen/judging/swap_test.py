"""Swap test: does a judge distinguish better from worse images of the same item?

For a choice (u, i) that the judge was not trained on, the images of other items of i's category with similar
popularity are put onto i, one at a time, with everything else unchanged. A judge that recognises taste scores
the chosen image above them: AUC = P(own > other) + ½ P(own = other), 0.5 for a blind judge. No ground truth
is needed, so the test works on any log. It cannot tell why images differ: among posters of one genre, the era
also counts as taste, unless all candidates are of one era (``groups``).

The images put onto an item are copies of images in the catalogue, which an item graph may link to, and its
own is not. If there is another image of each item (``again``), it can be used on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.protocols import Ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.statistics import bootstrap
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.judging.guards import Guard
from recsim_gen.judging.queries import MODALITY, Triples, ask
from recsim_gen.judging.variants import has_image

NAME = "swap test"
OTHERS = 20  # images put onto each item, if the category has so many


@dataclass(frozen=True, eq=False)
class Swaps:
    """Held-out choices, each with images of other items to put onto the chosen item.

    Parameters
    ----------
    users, items
        (B,) rows of the choices.
    people
        (B,) str, the person behind each user: the clusters of intervals.
    choice, other
        (S,) which of the B choices, and the catalogue row whose image is put onto its item.
    left_out
        Number of choices without an image, or without another item to compare with.
    """

    users: np.ndarray
    items: np.ndarray
    people: np.ndarray
    choice: np.ndarray
    other: np.ndarray
    left_out: int

    def triples(self, features: np.ndarray) -> Triples:
        """Return the S queries: user, item, and the other item's image; ``features`` (n, d) of all items."""
        return Triples(self.users[self.choice], self.items[self.choice], self.other, features)

    def own(self, features: np.ndarray) -> Triples:
        """Return the B queries: user, item, and the item's own image."""
        return Triples(self.users, self.items, self.items, features)


def swaps_of(
    dataset: Dataset,
    catalog: Catalog,
    rng: Rng,
    *,
    split: str = "test",
    others: int = OTHERS,
    most: int = 0,
    groups: np.ndarray | None = None,
    by_popularity: bool = True,
    pictured: np.ndarray | None = None,
) -> Swaps:
    """Return the swaps of the choices in a split, with the items nearest in popularity as candidates.

    Candidates are in the chosen item's group, have an image, and were not chosen by the user; popularity is
    the number of training choices, with ties in random order. If no item has a category, all are in one
    group.

    Parameters
    ----------
    dataset, catalog
        The data, and the items with image features.
    rng
        Source of the sampling.
    split
        Split of the choices.
    others
        Number of candidates per choice, if the group has so many.
    most
        Number of choices, sampled at random; 0: all.
    groups
        (n,) labels that candidates share with the chosen item; None: categories.
    by_popularity
        False: candidates are sampled at random.
    pictured
        (n,) bool, items to use; None: those with an image.

    Returns
    -------
    Swaps
        The choices and their candidates.

    Raises
    ------
    SettingError
        If ``others`` is below 1, or ``groups`` is not one label per item.
    DataError
        If no choice has a candidate.
    """
    if others < 1:
        raise SettingError(f"others must be 1 picture or more, got {others}")
    groups = catalog.categories if groups is None else np.asarray(groups)
    if groups.shape != (len(catalog),):
        raise SettingError(f"groups must be ({len(catalog)},), a label for each item, got {groups.shape}")
    chosen, image = dataset.interactions, has_image(catalog) if pictured is None else pictured
    _, group = np.unique(groups, return_inverse=True)
    degree = np.bincount(chosen.only("train")[1], minlength=len(catalog))
    if not by_popularity:
        degree = np.zeros_like(degree)
    members = {g: np.flatnonzero((group == g) & image) for g in np.unique(group).tolist()}
    order = np.argsort(chosen.user, kind="stable")
    bounds = np.searchsorted(chosen.user[order], np.arange(chosen.n_users + 1))
    users, items = chosen.only(split)
    if 0 < most < len(users):
        drawn = np.sort(rng.for_("swap choices").numpy().permutation(len(users))[:most])
        users, items = users[drawn], items[drawn]
    choice: list[np.ndarray] = []
    other: list[np.ndarray] = []
    kept: list[tuple[int, int]] = []
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        own = chosen.item[order[bounds[user] : bounds[user + 1]]]
        pool = np.setdiff1d(members[int(group[item])], own)
        if not image[item] or not len(pool):
            continue
        tie = rng.for_("swap", user, item).numpy().random(len(pool))
        nearest = np.lexsort((tie, np.abs(degree[pool] - degree[item])))[:others]
        choice.append(np.full(len(nearest), len(kept)))
        other.append(pool[nearest])
        kept.append((user, item))
    if not kept:
        raise DataError(
            f"swaps need {split} choices of items with a picture and another of their category, got none",
            remedy="Give data with pictures and several items in a category",
        )
    user, item = np.array(kept).T
    left_out = len(users) - len(kept)
    return Swaps(user, item, dataset.people[user], np.concatenate(choice), np.concatenate(other), left_out)


def auc_of(ranker: Ranker, swaps: Swaps, catalog: Catalog, again: np.ndarray | None = None) -> np.ndarray:
    """Return the (B,) AUC of each choice's own image against those put in its place; see `swap_test`."""
    features = catalog.features[MODALITY] if again is None else again
    answer = ask(ranker, swaps.triples(features), what="swap test")
    own, swapped = answer.original_score, answer.score
    if again is not None:
        own = ask(ranker, swaps.own(again), what="swap test, own").score[swaps.choice]
    wins = (own > swapped) + 0.5 * (own == swapped)
    count = np.bincount(swaps.choice)
    auc: np.ndarray = np.bincount(swaps.choice, weights=wins) / count
    return auc


def swap_test(
    rankers: Sequence[Ranker], swaps: Swaps, catalog: Catalog, again: np.ndarray | None = None
) -> Guard:
    """Return the mean AUC of the own image over choices and rankers.

    The interval resamples people and rankers.

    Parameters
    ----------
    rankers
        Seeds of one judge.
    swaps
        Choices and their candidates, from `swaps_of`.
    catalog
        The items as the rankers see them.
    again
        (n, d) features of another image of each item that ``swaps`` name: on both sides instead of the
        catalogue's, so that no image is a copy of one in the catalogue.

    Returns
    -------
    Guard
        Verdict ``sees`` if the 95% interval is above 0.5, ``is blind`` if it contains 0.5 or all scores are
        tied, ``prefers others`` if it is below; ``unknown`` with one person.
    """
    by_choice = np.concatenate([auc_of(ranker, swaps, catalog, again) for ranker in rankers])
    people, trainings = (
        np.tile(swaps.people, len(rankers)),
        np.repeat(np.arange(len(rankers)), len(swaps.people)),
    )
    e = bootstrap(by_choice, people, Rng(0), trainings=trainings)
    verdict = "unknown" if np.isnan(e.low) else "sees" if e.low > 0.5 else "is blind"
    if e.high < 0.5:
        verdict = "prefers others"
    count = len(swaps.choice) / len(swaps.items)
    numbers = {"auc": e.value, "auc_low": e.low, "auc_high": e.high, "n": e.n, "others": count}
    text = (
        f"own picture against {count:.0f} of other items of the category and of like popularity: AUC "
        f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}] over {e.n:,} held-out choices of "
        f"{len(np.unique(swaps.people)):,} people (0.5 is blind)"
    )
    return Guard(NAME, verdict, numbers, text)
