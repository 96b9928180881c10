"""A trained ranker as a model that MLflow serves: user ids in, their best items out.

``mlflow.pyfunc.load_model("runs:/RUN/ranker-seed0").predict(users)`` works in a fresh process with
what was logged alone: the lists of all users are made when the ranker is logged, since a ranker by
itself needs the catalogue's features and the choices of everybody. MLflow finds `_load_pyfunc` here
by the module's name, so recsim-gen must be installed where the model is served; torch is not needed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.tracking import Run
    from recsim_gen.core.types import Catalog, Interactions

LONGEST = 100
"""Items of a kept list: the greatest k that can be asked for."""

K = 10
"""Items that are given where ``k`` is not said."""

LISTS, CHECKPOINT = "lists.npz", "checkpoint"


def log_ranker(
    run: Run, ranker: Ranker, catalog: Catalog, interactions: Interactions, *, name: str = "ranker"
) -> None:
    """Log the ranker as model ``name`` of this run: its users' best lists, and its checkpoint.

    The lists hold no item of a user's train and valid choices. The checkpoint (``data/model/checkpoint``
    among the model's files) is what ``Ranker.load`` reads. ``{"k": 20}`` as ``params`` of ``predict``
    asks for other than 10 items, at most 100.
    """
    run.log_model(name, partial(_write, ranker, catalog, interactions), loader=__name__, params={"k": K})


def _write(
    ranker: Ranker, catalog: Catalog, interactions: Interactions, folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is logged, into ``folder``; gives an example of what goes in and what comes out."""
    import pandas as pd

    ranker.save(folder / CHECKPOINT)
    ids = {"user_ids": interactions.user_ids, "item_ids": catalog.item_ids}
    np.savez_compressed(folder / LISTS, top=best_lists(ranker, interactions), **ids)
    example = pd.DataFrame({"user": interactions.user_ids[:3]})
    return example, _load_pyfunc(str(folder)).predict(example)


def best_lists(ranker: Ranker, interactions: Interactions) -> np.ndarray:
    """(n_users, min(100, n)) int32 rows of each user's best items, best first, −1 where none is left.

    Train and valid choices are taken out. Raises DataError where a score is NaN.
    """
    import torch

    from recsim_gen.metrics.evaluation import SCORES_HELD, mask_of
    from recsim_gen.metrics.ranking import refuse_nan

    n = interactions.n_items
    seen = interactions.only("train", "valid")
    block = max(1, SCORES_HELD // n)
    lists = []
    for start in range(0, interactions.n_users, block):
        users = np.arange(start, min(start + block, interactions.n_users))
        scores = ranker.score(users)
        refuse_nan(scores)
        scores[torch.from_numpy(mask_of(users, *seen, n)).to(scores.device)] = -torch.inf
        top = torch.topk(scores, min(LONGEST, n), dim=1)
        lists.append(torch.where(top.values.isinf(), -1, top.indices).cpu().numpy())
    return np.concatenate(lists).astype(np.int32)


class ServedRanker:
    """What ``mlflow.pyfunc.load_model`` wraps; `top` (n_users, L) as `best_lists` gives it."""

    def __init__(self, user_ids: np.ndarray, item_ids: np.ndarray, top: np.ndarray) -> None:
        self.row_of = {user: row for row, user in enumerate(user_ids.tolist())}
        self.item_ids, self.top = item_ids, top

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """The best items of each user, in the order asked; columns ``user`` and ``items`` (ids, best first).

        ``params["k"]`` is how many, default 10; a user of whom fewer are left gets fewer. Raises
        DataError for an unknown user, for a table without ``user``, and for k out of range.
        """
        import pandas as pd

        k, longest = int((params or {}).get("k", K)), self.top.shape[1]
        if not 1 <= k <= longest:
            raise DataError(f"k must be in [1, {longest}], got {k}", remedy="The logged lists end there")
        if "user" not in model_input:
            raise DataError(f"want a table with the column 'user', got columns {[*model_input.columns]}")
        users = model_input["user"].astype(str).tolist()
        for user in users:
            if user not in self.row_of:
                raise DataError(f"unknown user {user!r}", remedy=self._suggestion(user))
        lists = self.top[[self.row_of[user] for user in users], :k]
        items = [self.item_ids[rows[rows >= 0]].tolist() for rows in lists]
        return pd.DataFrame({"user": users, "items": items})

    def _suggestion(self, user: str) -> str:
        """What could have been meant by a user whom nobody knows."""
        near = difflib.get_close_matches(user, self.row_of, n=1)
        some = ", ".join(list(self.row_of)[:3])
        hint = f"Did you mean {near[0]!r}? " if near else ""
        return f"{hint}It knows the {len(self.row_of):,} users that it was trained on ({some}…)"


def _load_pyfunc(path: str) -> ServedRanker:
    """What MLflow calls with the folder that was logged."""
    with np.load(Path(path) / LISTS, allow_pickle=False) as kept:
        return ServedRanker(kept["user_ids"], kept["item_ids"], kept["top"])
