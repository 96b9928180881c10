"""The log of the shop as a table: what was shown to whom, with which probability, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from recsim_gen.experiments.simulation.rounds import History, Shop
    from recsim_gen.experiments.simulation.visits import Visits


def log_table(shop: Shop, histories: Mapping[int, Sequence[History]]) -> pd.DataFrame:
    """Return one row per seed, arm, round and person.

    ``person`` and ``items`` (best first, separated by spaces) are ids; ``pictures`` the arm whose images were
    at the personal places, ``propensity`` the probability with which this arm showed them, ``explored``
    whether they were randomised; ``chosen`` an item id, empty for nothing; ``sent_back``: whether it is
    returned if the image is packaging.
    """
    frames = [
        _of_round(shop, visits).assign(seed=seed, arm=life.arm.label, round=number)
        for seed, lives in histories.items()
        for life in lives
        for number, visits in enumerate(life.rounds, 1)
    ]
    whole = pd.concat(frames, ignore_index=True)
    first = ["seed", "arm", "round"]
    return whole[[*first, *(c for c in whole.columns if c not in first)]]


def _of_round(shop: Shop, visits: Visits) -> pd.DataFrame:
    ids, labels = shop.catalog.item_ids, np.array([arm.label for arm in shop.arms])
    chosen = np.full(len(visits.people), "", dtype=ids.dtype)
    chosen[visits.chose] = ids[visits.choices[1]]
    return pd.DataFrame(
        {
            "person": shop.dataset.interactions.user_ids[visits.people],
            "items": [" ".join(row) for row in ids[visits.lists].tolist()],
            "pictures": labels[visits.shown],
            "propensity": visits.propensity,
            "explored": visits.explored,
            "chosen": chosen,
            "sent_back": visits.returned,
        }
    )
