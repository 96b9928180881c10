"""Helpers of the writers of layouts: ids that a layout can represent, and choices person by person."""

from __future__ import annotations

import re

import numpy as np

from recsim_gen.core.types import Dataset


def plain_ids(ids: np.ndarray, pattern: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the (n,) ids if all match ``pattern``, else row numbers from 1 with a note."""
    if all(re.fullmatch(pattern, item) for item in ids.tolist()):
        return ids, ()
    note = f"items are called 1 to {len(ids):,}: ids like {str(ids[0])!r} have no place in this layout"
    return np.arange(1, len(ids) + 1).astype(str), (note,)


def by_person(dataset: Dataset) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the (k,) rows of the choices person by person, oldest first; the (k,) str person; and notes.

    The users of a person are consecutive. If several of them chose the same item, only the last choice is
    kept, because layouts by person hold it once.
    """
    import pandas as pd

    chosen = dataset.interactions
    who = dataset.people[chosen.user]
    order = np.lexsort((chosen.time, chosen.user, pd.factorize(who)[0]))
    again = pd.DataFrame({"who": who[order], "item": chosen.item[order]}).duplicated(keep="last").to_numpy()
    note = f"{again.sum():,} choices left out: the same person chose the item later"
    order = order[~again]
    return order, who[order], (note,) if again.any() else ()
