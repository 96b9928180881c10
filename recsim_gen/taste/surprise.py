"""How well a taste model predicts unseen choices: the criterion for its settings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from recsim_gen.taste.histories import Histories
from recsim_gen.taste.model import TasteModel

CHOICES = 1_000  # most choices to predict, evenly spaced
OTHERS = 1_000  # most items of a category to compare a choice with, evenly spaced


def surprise(model: TasteModel, histories: Histories, items: NDArray[Any]) -> float:
    """Return the mean −log softmax, in nats, of the chosen item's worth among items of its category.

    Person b of ``histories`` chose ``items`` (B,) afterwards; items in the history are excluded. The measure
    is which of two items of one category was chosen, as in the swap test, not which category.
    """
    step = -(-len(items) // CHOICES)
    histories, items = histories.take(np.arange(0, len(items), step)), items[::step]
    lost = []
    for c in np.unique(model.category[items]).tolist():
        at = np.flatnonzero(model.category[items] == c)
        theirs, members = histories.take(at), np.flatnonzero(model.category == c)
        members = members[:: -(-len(members) // OTHERS)]
        taste = model.tastes(theirs, np.full((len(at), 1), c)).mean[:, 0]
        worth = taste @ model.features[members].T
        own = (taste * model.features[items[at]]).sum(1)
        place = np.searchsorted(members, theirs.items).clip(max=len(members) - 1)
        chosen = members[place] == theirs.items
        worth[theirs.person[chosen], place[chosen]] = -np.inf
        worth[members == items[at, None]] = -np.inf
        lost.append(logsumexp(np.column_stack([worth, own]), axis=1) - own)
    return float(np.concatenate(lost).mean())
