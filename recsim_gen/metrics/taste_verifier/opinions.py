"""Training data of the verifier: who liked what, by person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng

if TYPE_CHECKING:
    from recsim_gen.core.types import Dataset


@dataclass(frozen=True, eq=False)
class Opinions:
    """Who liked what.

    Parameters
    ----------
    person
        (m,) rows of ``people``.
    item
        (m,) item rows.
    liked
        (m,) bool.
    together
        (m,) group numbers; a choice and the sampled item paired with it stay in the same split.
    people
        (p,) ids.
    labels
        How the labels were obtained.
    """

    person: np.ndarray
    item: np.ndarray
    liked: np.ndarray
    together: np.ndarray
    people: np.ndarray
    labels: str

    def only(self, rows: np.ndarray) -> Opinions:
        """Return the opinions at ``rows``, of the same people."""
        columns = (self.person[rows], self.item[rows], self.liked[rows], self.together[rows])
        return Opinions(*columns, self.people, self.labels)


def opinions(dataset: Dataset, threshold: float, rng: Rng) -> Opinions:
    """Return each person's opinions of items with an image, over all of the person's sequences.

    Liked: weight ≥ ``threshold``, of choices and of ratings too low to be choices (`Ratings`), if the data
    has them. If all weights are equal there are no ratings: then every choice is liked, and each is paired
    with a uniformly sampled item that this person did not choose. Each person and item counts once. Raises
    DataError if the threshold does not separate two classes.
    """
    chosen, images = dataset.interactions, dataset.catalog.images
    if images is None:
        raise DataError(f"a verifier learns from pictures, {dataset.name} has none")
    given = pd.DataFrame({"person": dataset.people[chosen.user], "item": chosen.item, "score": chosen.weight})
    low = getattr(dataset, "not_chosen", None)
    dislikes = 0
    if low is not None and len(low.score):
        dislikes = len(low.score)
        more = pd.DataFrame({"person": low.person, "item": low.item, "score": low.score})
        given = pd.concat([given, more], ignore_index=True)
    people, given["person"] = np.unique(given["person"].to_numpy(dtype=str), return_inverse=True)
    given = given.drop_duplicates(["person", "item"], keep="last")
    rated = given["score"].nunique() > 1
    seen = given[images.present[given["item"]]]
    if seen.empty:
        raise DataError("items with pictures are wanted, none of those that were chosen has one")
    person, item = seen["person"].to_numpy(), seen["item"].to_numpy()
    if not rated:
        taken = given["person"].to_numpy() * len(dataset.catalog) + given["item"].to_numpy()
        other = _not_chosen(person, taken, images.present, rng)
        liked = np.repeat([True, False], len(person))
        labels = "chosen against not chosen (there are no ratings)"
        pair = np.tile(np.arange(len(person)), 2)
        return Opinions(np.tile(person, 2), np.concatenate([item, other]), liked, pair, people, labels)
    liked = (seen["score"] >= threshold).to_numpy()
    if liked.all() or not liked.any():
        low_score, high_score = seen["score"].min(), seen["score"].max()
        raise DataError(
            f"ratings above and below {threshold:g} are wanted, got {low_score:g} to {high_score:g}",
            remedy="Set another threshold: --verifier.threshold",
        )
    more_of = f", {dislikes:,} of them too low to be choices" if dislikes else ""
    labels = f"rating of {threshold:g} and more{more_of}"
    return Opinions(person, item, liked, np.arange(len(person)), people, labels)


def _not_chosen(person: np.ndarray, taken: np.ndarray, present: np.ndarray, rng: Rng) -> np.ndarray:
    """Return (m,) a random item with an image for each ``person`` (m,); ``taken`` are person · n + item."""
    generator, n = rng.for_("not chosen").numpy(), len(present)
    choices = np.flatnonzero(present)
    item = generator.choice(choices, len(person))
    for _ in range(100):
        again = np.flatnonzero(np.isin(person * n + item, taken))
        if not len(again):
            return item
        item[again] = generator.choice(choices, len(again))
    raise DataError("each person needs items that they did not choose; one person chose nearly all")
