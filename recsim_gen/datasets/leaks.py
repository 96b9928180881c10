"""Answers that stand in the question: targets in a history, known to the person, shown twice.

A published split can hold its targets inside their own histories (the POG part of one public
benchmark takes ``ids[-2]`` as the target of the history ``ids[:-1]``). A ranker or a generator that
sees such a history copies the answer. Loaders take the target out and say how often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsim_gen.core.types import Dataset, ImageReader
from recsim_gen.datasets.files.images import ImageFiles
from recsim_gen.datasets.pmg_bench.pickled_images import PickledImages
from recsim_gen.datasets.splits import TEST

STORED = (ImageFiles, PickledImages)
"""Readers of images that somebody brought, whose bytes can be compared."""


def holds_target(record: np.ndarray, item: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(m,) bool: history rows that are their own record's target.

    ``record`` (m,) and ``item`` (m,) are the histories, row by row; ``target`` (r,) the target item
    of each record, negative where a record has none. Items are ints.
    """
    return item == target[record]


@dataclass(frozen=True)
class Leaks:
    """What ``find_leaks`` counts among the test choices of a dataset.

    ``known``: the same person chose the item in a train or valid row too, as another user of theirs.
    ``same_picture``: the reference's picture is, byte for byte, that of another item in the history.
    ``shared_people``: people with test episodes who have valid rows or users without a test row as
    well: none after a split by user, everybody (by design) after leave-last-out.
    """

    known: int
    same_picture: int
    shared_people: int

    def sentences(self) -> tuple[str, ...]:
        """What was found, in words; empty where nothing was."""
        found = []
        if self.known:
            found.append(f"{self.known:,} test choices that the same person made outside the test too")
        if self.same_picture:
            found.append(f"{self.same_picture:,} episodes with a picture of the reference in the history")
        return tuple(found)


def find_leaks(dataset: Dataset) -> Leaks:
    """Count the answers that a dataset gives away. Reads every picture once (kept by content)."""
    chosen, people = dataset.interactions, dataset.people
    test = chosen.split == TEST
    _, person = np.unique(people[chosen.user], return_inverse=True)
    pair = person * chosen.n_items + chosen.item
    tested = np.unique(person[test])
    untested_user = ~np.isin(chosen.user, chosen.user[test])
    elsewhere = (chosen.split == "valid") | untested_user
    return Leaks(
        known=int(np.isin(pair[test], pair[~test]).sum()),
        same_picture=_same_pictures(dataset),
        shared_people=int(np.isin(tested, person[elsewhere]).sum()),
    )


def looks(images: ImageReader | None, n: int) -> np.ndarray:
    """(n,) ints: equal where two rows have, byte for byte, the same picture; all different without one.

    Pictures that are made by code have no bytes of a file: none is taken for another.
    """
    own = -1 - np.arange(n)
    if not isinstance(images, STORED) or not images.present.any():
        return own
    own[images.present] = np.unique(images.digests, axis=0, return_inverse=True)[1].reshape(-1)
    return own


def duplicates(images: ImageReader | None, n: int) -> list[np.ndarray]:
    """Rows of each group of two and more byte-identical pictures, by first row."""
    look = looks(images, n)
    order = np.argsort(look, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(look[order])) + 1)
    return sorted((g for g in groups if len(g) > 1), key=lambda g: int(g[0]))


def _same_pictures(dataset: Dataset) -> int:
    if not dataset.episodes:
        return 0
    look = looks(dataset.catalog.images, len(dataset.catalog))
    length = [len(e.history) for e in dataset.episodes]
    history = np.concatenate([e.history for e in dataset.episodes])
    reference = np.repeat([e.reference for e in dataset.episodes], length)
    episode = np.repeat(np.arange(len(length)), length)
    return len(np.unique(episode[look[history] == look[reference]]))
