"""For whom the replacing images are drawn, and which items are replaced.

An image drawn for (user, item) carries that user's taste into the item's features. Drawn for a *test* pair it
leaks the answer to the ranker in two ways: by the taste that it shows, and by marking the item as a test
item. So there are two policies:

- ``strict``: images are drawn only for training pairs, of items selected without the test split; enforced by
  `assert_strict`.
- ``paper``: images are drawn for the test references, as in the paper. Leaky.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Dataset, Episode, Interactions
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.judging.variants import has_image

Leakage = Literal["strict", "paper"]


@dataclass(frozen=True, eq=False)
class Conditions:
    """B episodes to draw an image for, and the m items that these images replace.

    Parameters
    ----------
    items
        (m,) catalogue rows in a random order, so that the first quarter of them is contained in the first
        half.
    episodes
        Ordered by item, for one item oldest first.
    place
        (B,) position among ``items`` of each episode's reference.
    """

    leakage: Leakage
    episodes: tuple[Episode, ...]
    items: np.ndarray
    place: np.ndarray

    @property
    def users(self) -> np.ndarray:
        """(B,) row of the user that each image is drawn for."""
        return np.array([e.user for e in self.episodes])

    def first(self, fraction: float) -> int:
        """Return the number of replaced items at this fraction; at least one."""
        return max(1, round(fraction * len(self.items)))


def conditions(
    dataset: Dataset,
    leakage: Leakage,
    *,
    items: int = 0,
    each: int = 1,
    least_history: int = 2,
    among: np.ndarray | None = None,
) -> Conditions:
    """Return the ``each`` latest episodes (0: all) of ``items`` random items with an image (0: all items).

    Parameters
    ----------
    dataset
        Data set.
    leakage
        strict: items that are the reference of a training episode; paper: of a test episode.
    items
        Number of items; a larger sample contains the smaller ones.
    each
        Episodes per item.
    least_history
        Minimal number of items before the reference.
    among
        Rows of the items that may be selected; None: all.

    Raises
    ------
    SettingError
        If a number is negative.
    DataError
        If fewer than two items can be replaced, and as `assert_strict`.
    """
    if items < 0 or each < 0:
        raise SettingError(f"items and each must be 0 (all) or more, got {items} and {each}")
    if least_history < 1:
        raise SettingError(f"least_history must be 1 item or more, got {least_history}")
    episodes = _episodes(dataset, leakage, least_history)
    table = pd.DataFrame(
        {"user": [e.user for e in episodes], "item": [e.reference for e in episodes]}, dtype=np.int64
    )
    table["time"] = _times(table, dataset.interactions)
    order = Rng(0).for_("replaced items").numpy().permutation(len(dataset.catalog))
    table["order"] = order[table["item"]]
    usable = has_image(dataset.catalog)
    if among is not None:
        usable = usable & np.isin(np.arange(len(usable)), among)
    table = table[usable[table["item"]]].sort_values(["order", "time", "user"])
    table = table.groupby("order").tail(each) if each else table
    chosen = table["item"].unique()[: items or None]
    if len(chosen) < 2:
        raise DataError(
            f"at least 2 items with a picture and a {'training' if leakage == 'strict' else 'test'} episode "
            f"must be replaced, got {len(chosen)}",
            remedy="Raise --items, lower --least-history, or name data with pictures",
        )
    table = table[table["item"].isin(chosen)]
    kept = tuple(episodes[row] for row in table.index)
    if leakage == "strict":
        assert_strict(pairs_of(kept), dataset.interactions)
    place = pd.Index(chosen).get_indexer(pd.Index(table["item"]))
    return Conditions(leakage, kept, chosen, place)


def shared_items(dataset: Dataset, *, least_history: int = 2) -> np.ndarray:
    """Return the rows of the items that both policies can draw for.

    Policies that are compared must replace the same items. These items are test references, so under both
    policies being replaced reveals that an item is in the test.
    """
    references = [{e.reference for e in _episodes(dataset, p, least_history)} for p in get_args(Leakage)]
    return np.array(sorted(set.intersection(*references)), dtype=np.int64)


def _episodes(dataset: Dataset, leakage: Leakage, least_history: int) -> list[Episode]:
    every = training_episodes(dataset, least=least_history) if leakage == "strict" else dataset.episodes
    return [e for e in every if len(e.history) >= least_history]


def _times(table: pd.DataFrame, interactions: Interactions) -> np.ndarray:
    """Return the (B,) times at which each (user, item) was chosen."""
    n = interactions.n_items
    when = pd.Series(interactions.time, index=interactions.user * n + interactions.item)
    return when.reindex(table["user"] * n + table["item"]).to_numpy()


def pairs_of(episodes: Sequence[Episode]) -> np.ndarray:
    """Return (k, 2) user and item rows of all that images of these episodes depend on, histories included."""
    parts = [(e.user, item) for e in episodes for item in (e.reference, *e.history)]
    return np.array(parts, dtype=np.int64).reshape(-1, 2)


def assert_strict(conditions: np.ndarray, interactions: Interactions) -> None:
    """Raise DataError unless every (user, item) row of ``conditions`` (k, 2) is a training pair.

    A pair of the valid or test split would leak the answer into the features of the item.
    """
    n = interactions.n_items
    split = pd.Series(interactions.split, index=interactions.user * n + interactions.item)
    of_pair = split.reindex(conditions[:, 0] * n + conditions[:, 1], fill_value="no").to_numpy(dtype=str)
    leaks = np.flatnonzero(of_pair != "train")
    if len(leaks):
        user, item = conditions[leaks[0]].tolist()
        where = f"of the {of_pair[leaks[0]]} split" if of_pair[leaks[0]] != "no" else "nobody's choice"
        raise DataError(
            f"leakage strict: pictures must be made from training pairs alone; user "
            f"{str(interactions.user_ids[user])!r} with item row {item} is {where}, and {len(leaks) - 1:,} "
            f"others are no training pairs either",
            remedy="Draw them for training pairs, or say --leakage paper and have every table marked leaky",
        )
