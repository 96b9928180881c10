"""Ranking quality of a ranker on a split: one row per user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.ranking import per_user, refuse_nan
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.statistics import bootstrap_columns
from recsim_gen.core.types import SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Interactions

SCORES_HELD = 1 << 25


def mask_of(rows: np.ndarray, user: np.ndarray, item: np.ndarray, n_items: int) -> np.ndarray:
    """Return (B, n) bool: the items that each of these users has in (user, item)."""
    place = pd.Index(rows).get_indexer(pd.Index(user))
    keep = place >= 0
    mask = np.zeros((len(rows), n_items), dtype=bool)
    mask[place[keep], item[keep]] = True
    return mask


def evaluate(
    ranker: Ranker,
    interactions: Interactions,
    *,
    split: str = "test",
    ks: Sequence[int] = (10, 20),
    masked: Sequence[str] = ("train", "valid"),
) -> pd.DataFrame:
    """Return Recall@k, NDCG@k and NDCG-retrieved@k of every user with a row in ``split``.

    Users are scored in blocks: O(block·n) memory. Ties at the end of a list are broken by `torch.topk`,
    whereas `ranking.ranks` would average them; only popularity has many ties.

    Parameters
    ----------
    ranker
        A trained ranker.
    interactions
        The data.
    split
        Split to predict.
    ks
        Lengths of the lists.
    masked
        Splits whose items are removed from each user's list; MICRO's published code masks only ``train``.

    Returns
    -------
    DataFrame
        Column ``user`` and one per metric, in [0, 1].

    Raises
    ------
    SettingError
        If a split is unknown.
    DataError
        If ``split`` is empty or a score is NaN.
    """
    import torch

    for name in (split, *masked):
        if name not in SPLITS:
            raise SettingError(f"unknown split {name!r}.{did_you_mean(name, SPLITS)}")
    user, item = interactions.only(split)
    if len(user) == 0:
        raise DataError(f"the {split} split must have interactions, got none")
    users = np.unique(user)
    seen = interactions.only(*[s for s in masked if s != split])
    block = max(1, SCORES_HELD // interactions.n_items)
    frames = []
    for start in range(0, len(users), block):
        rows = users[start : start + block]
        scores = ranker.score(rows)
        refuse_nan(scores)
        scores[torch.from_numpy(mask_of(rows, *seen, interactions.n_items)).to(scores.device)] = -torch.inf
        top = torch.topk(scores, min(max(ks), interactions.n_items), dim=1).indices.cpu().numpy()
        relevant = mask_of(rows, user, item, interactions.n_items)
        numbers = per_user(np.take_along_axis(relevant, top, 1), relevant.sum(1), ks)
        frames.append(pd.DataFrame({"user": rows, **numbers}))
    return pd.concat(frames, ignore_index=True)


def add_means(
    table: pd.DataFrame, people: NDArray[Any], results: Results, *, variant: str, suffix: str = ""
) -> None:
    """Add rows of every metric, for each seed and over all seeds: the mean with its interval.

    Parameters
    ----------
    table
        ``user``, ``seed``, and one column per metric.
    people
        (users,) cluster of each user for the interval.
    results
        Results to add to.
    variant
        Variant of the rows.
    suffix
        Suffix of the metrics' names.
    """
    metrics = [str(name) for name in table.columns if name not in ("user", "seed")]
    for seed in [*dict.fromkeys(table["seed"].tolist()), None]:
        part = table if seed is None else table[table["seed"] == seed]
        trainings = part["seed"].to_numpy()
        estimates = bootstrap_columns(
            part[metrics].to_numpy(), people[part["user"]], Rng(0), trainings=trainings
        )
        for metric, e in zip(metrics, estimates, strict=True):
            name = metric + suffix
            results.row(variant=variant, metric=name, seed=seed, value=e.value, low=e.low, high=e.high, n=e.n)
