"""For whom the pictures that replace an item's own are drawn, and which items these are.

A picture that is drawn for (user, item) carries that user's taste into the item's features. Drawn for a
*test* pair it tells the ranker the answer, in two ways: by the taste that it shows, and by marking the
item as one that somebody will be asked about. So there are two policies:

- ``strict``: pictures are drawn for training pairs alone, of items that are chosen without a look at the
  test split; `assert_strict` sees to it.
- ``paper``: pictures are drawn for the test references, as the paper has it. Leaky.
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
    """B episodes to draw a picture for each, and the m items that these pictures replace.

    ``items`` (m,) catalogue rows in a random order that depends on nothing else, so that the first
    quarter of them is in the first half. ``episodes`` by item in that order, of one item oldest first;
    ``place`` (B,) is the position among ``items`` of each one's reference.
    """

    leakage: Leakage
    episodes: tuple[Episode, ...]
    items: np.ndarray
    place: np.ndarray

    @property
    def users(self) -> np.ndarray:
        """(B,) row of the user that each picture is drawn for."""
        return np.array([e.user for e in self.episodes])

    def first(self, fraction: float) -> int:
        """How many of the items are replaced at this fraction of them; at least one."""
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
    """The ``each`` latest episodes (0: all) of ``items`` random items that have a picture (0: of all).

    strict: of items that are the reference of a training episode; paper: of a test episode; each with
    ``least_history`` items before the reference or more. ``among`` rows of items, if given, are all that may
    be chosen. A larger number of items has those of a smaller one among them. Raises SettingError for a
    negative number, DataError where fewer than two items can be replaced, and where `assert_strict` does.
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
    """Rows of the items that both policies can draw for.

    Policies that are compared must replace the same items; these are somebody's test reference, so that
    being replaced tells the ranker who is asked about, under both.
    """
    references = [{e.reference for e in _episodes(dataset, p, least_history)} for p in get_args(Leakage)]
    return np.array(sorted(set.intersection(*references)), dtype=np.int64)


def _episodes(dataset: Dataset, leakage: Leakage, least_history: int) -> list[Episode]:
    every = training_episodes(dataset, least=least_history) if leakage == "strict" else dataset.episodes
    return [e for e in every if len(e.history) >= least_history]


def _times(table: pd.DataFrame, interactions: Interactions) -> np.ndarray:
    """(B,) when each (user, item) was chosen."""
    n = interactions.n_items
    when = pd.Series(interactions.time, index=interactions.user * n + interactions.item)
    return when.reindex(table["user"] * n + table["item"]).to_numpy()


def pairs_of(episodes: Sequence[Episode]) -> np.ndarray:
    """(k, 2) user and item rows of all that a picture of these episodes is made from: histories too."""
    parts = [(e.user, item) for e in episodes for item in (e.reference, *e.history)]
    return np.array(parts, dtype=np.int64).reshape(-1, 2)


def assert_strict(conditions: np.ndarray, interactions: Interactions) -> None:
    """DataError unless every (user, item) row of ``conditions`` (k, 2) is a training pair.

    A pair of the valid or test split would carry the answer into the features of the item.
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
            f"{interactions.user_ids[user]!r} with item row {item} is {where}, and {len(leaks) - 1:,} others "
            f"are no training pairs either",
            remedy="Draw them for training pairs, or say --leakage paper and have every table marked leaky",
        )
