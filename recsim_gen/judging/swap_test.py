"""Swap test: does a judge distinguish better from worse images of the same item?

For a choice (u, i) that the judge was not trained on, the images of other items of i's category with similar
popularity are put onto i, one at a time, with everything else unchanged. A judge that recognises taste scores
the chosen image above them: AUC = P(own > other) + ½ P(own = other), 0.5 for a blind judge. No ground truth
is needed, so the test works on any log. It cannot tell why images differ: among posters of one genre, the era
also counts as taste, unless all candidates are of one era (``groups``).

A judge may rank any item lower, or higher, with its own image than with another's, whoever looks: an image
of another item is a copy of one in the catalogue, which an item graph links to. The control is therefore the
same question about an item that the user did not choose: the candidate nearest in popularity, with the images
of the other candidates. What the chosen item has above it is the ``gain``, 0 for a judge without taste, and
decides. If there is another image of each item (``again``), it can be used on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    control
        (B,) row of the candidate nearest in popularity, which the user did not choose.
    left_out
        Number of choices without an image, or with fewer than two candidates.
    """

    users: np.ndarray
    items: np.ndarray
    people: np.ndarray
    choice: np.ndarray
    other: np.ndarray
    control: np.ndarray
    left_out: int

    @property
    def apart(self) -> np.ndarray:
        """(S,) whether the image is not that of the control."""
        return self.other != self.control[self.choice]

    def controls(self) -> Swaps:
        """Return the swaps of the controls instead of the chosen items, with the same other images."""
        rest = {"choice": self.choice[self.apart], "other": self.other[self.apart]}
        return replace(self, items=self.control, **rest)

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
        Number of candidates per choice, at least 2, if the group has so many.
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
        If ``others`` is below 2, or ``groups`` is not one label per item.
    DataError
        If no choice has two candidates.
    """
    if others < 2:
        raise SettingError(f"others must be 2 pictures or more, got {others}")
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
    other: list[np.ndarray] = []
    kept: list[tuple[int, int]] = []
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        own = chosen.item[order[bounds[user] : bounds[user + 1]]]
        pool = np.setdiff1d(members[int(group[item])], own)
        if not image[item] or len(pool) < 2:
            continue
        tie = rng.for_("swap", user, item).numpy().random(len(pool))
        other.append(pool[np.lexsort((tie, np.abs(degree[pool] - degree[item])))[:others]])
        kept.append((user, item))
    if not kept:
        raise DataError(
            f"swaps need {split} choices of items with a picture and two others of their category, got none",
            remedy="Give data with pictures and several items in a category",
        )
    user, item = np.array(kept).T
    return Swaps(
        user,
        item,
        dataset.people[user],
        np.repeat(np.arange(len(kept)), [len(rows) for rows in other]),
        np.concatenate(other),
        np.array([rows[0] for rows in other]),
        len(users) - len(kept),
    )


@dataclass(frozen=True)
class Wins:
    """(B,) each: AUC of the own image of the chosen item, and what it has above the control (``gain``)."""

    auc: np.ndarray
    gain: np.ndarray


def wins_of(ranker: Ranker, swaps: Swaps, catalog: Catalog, again: np.ndarray | None = None) -> Wins:
    """Return how often each choice's own image wins; see `swap_test`."""
    features = catalog.features[MODALITY] if again is None else again

    def wins(asked: Swaps) -> np.ndarray:
        answer = ask(ranker, asked.triples(features), what="swap test")
        own = answer.original_score
        if again is not None:
            own = ask(ranker, asked.own(again), what="swap test, own").score[asked.choice]
        return (own > answer.score) + 0.5 * (own == answer.score)

    def mean(value: np.ndarray, choice: np.ndarray) -> np.ndarray:
        share: np.ndarray = np.bincount(choice, weights=value) / np.bincount(choice)
        return share

    chosen, control, apart = wins(swaps), swaps.controls(), swaps.apart
    gain = mean(chosen[apart], swaps.choice[apart]) - mean(wins(control), control.choice)
    return Wins(mean(chosen, swaps.choice), gain)


def swap_test(
    rankers: Sequence[Ranker], swaps: Swaps, catalog: Catalog, again: np.ndarray | None = None
) -> Guard:
    """Return the mean AUC of the own image over choices and rankers, and its gain above the control.

    The intervals resample people and rankers.

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
        Verdict ``sees`` if the 95% interval of the gain is above 0, ``is blind`` if it contains 0, ``prefers
        others`` if it is below; ``unknown`` with one person.
    """
    wins = [wins_of(ranker, swaps, catalog, again) for ranker in rankers]
    people, trainings = (
        np.tile(swaps.people, len(rankers)),
        np.repeat(np.arange(len(rankers)), len(swaps.people)),
    )
    auc, gain = (
        bootstrap(np.concatenate(values), people, Rng(0), trainings=trainings)
        for values in ([w.auc for w in wins], [w.gain for w in wins])
    )
    verdict = "unknown" if np.isnan(gain.low) else "sees" if gain.low > 0 else "is blind"
    if gain.high < 0:
        verdict = "prefers others"
    count = len(swaps.choice) / len(swaps.items)
    numbers = {"auc": auc.value, "auc_low": auc.low, "auc_high": auc.high, "n": auc.n, "others": count}
    numbers |= {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}
    text = (
        f"own picture against {count:.0f} of other items of the category and of like popularity: AUC "
        f"{auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}] over {auc.n:,} held-out choices of "
        f"{len(np.unique(swaps.people)):,} people, which is {gain.value:+.3f} [{gain.low:+.3f}, "
        f"{gain.high:+.3f}] above that of items that they did not choose (0 is blind)"
    )
    return Guard(NAME, verdict, numbers, text)
