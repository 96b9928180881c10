"""A trained ranker as a model that MLflow serves: recommendations for people, and ranks of new images.

``mlflow.pyfunc.load_model("runs:/RUN/ranker-seed0").predict(people)`` works in a new process with the logged
files alone. The lists of known users are computed when the ranker is logged and need no torch; the ranker
itself, with its features and interactions, is loaded at the first request for a new person or an image.
MLflow finds `_load_pyfunc` by the name of this module, so recsim-gen must be installed on the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.artifacts.served_requests import COLUMNS, Request, read_requests, row_of
from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.tracking import Run
    from recsim_gen.core.types import Catalog, Interactions

LONGEST = 100
"""Length of the stored lists: the largest possible ``k``."""

K = 10
"""Default of ``k``."""

LISTS, CHECKPOINT, DATA = "lists.npz", "checkpoint", "data.npz"


def log_ranker(
    run: Run, ranker: Ranker, catalog: Catalog, interactions: Interactions, *, name: str = "ranker"
) -> None:
    """Log the ranker as a model of this run: its users' best items, its checkpoint and its data.

    The lists exclude each user's train and valid choices. The checkpoint (``data/model/checkpoint`` among the
    model's files) can be read by ``Ranker.load``. ``predict`` takes ``params={"k": 20}`` for another number
    of items than 10, at most 100.

    Parameters
    ----------
    run
        Run to log to.
    ranker
        The trained ranker.
    catalog, interactions
        The data that it was trained on.
    name
        Name of the logged model.
    """
    run.log_model(name, partial(_write, ranker, catalog, interactions), loader=__name__, params={"k": K})


def _write(
    ranker: Ranker, catalog: Catalog, interactions: Interactions, folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write the model into ``folder``; return an example of input and output."""
    import pandas as pd

    from recsim_gen.artifacts.served_data import write_served_data

    ranker.save(folder / CHECKPOINT)
    ids = {"user_ids": interactions.user_ids, "item_ids": catalog.item_ids}
    np.savez_compressed(folder / LISTS, top=best_lists(ranker, interactions), **ids)
    write_served_data(folder / DATA, catalog, interactions)
    user, items = str(interactions.user_ids[0]), catalog.item_ids[:2].tolist()
    requests = [[user, None, None, None], [None, items, None, None], [user, None, items[0], _grey()]]
    ranks = {"item": [None, items[0]], "original_rank": [np.nan, 2.0], "rank": [np.nan, 1.0]}
    answers = pd.DataFrame({"user": [None, user], "items": [items, items], **ranks})
    return pd.DataFrame(requests, columns=[*COLUMNS]), answers


def _grey() -> str:
    """Return an example image as base64 of a file."""
    import base64
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "grey").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def best_lists(ranker: Ranker, interactions: Interactions) -> np.ndarray:
    """Return each user's best items as (n_users, min(100, n)) int32 rows, best first, −1 as padding.

    Train and valid choices are excluded. Raises DataError if a score is NaN.
    """
    from recsim_gen.metrics.evaluation import SCORES_HELD, mask_of

    n = interactions.n_items
    seen = interactions.only("train", "valid")
    block = max(1, SCORES_HELD // n)
    lists = []
    for start in range(0, interactions.n_users, block):
        users = np.arange(start, min(start + block, interactions.n_users))
        lists.append(_best(ranker.score(users), mask_of(users, *seen, n)))
    return np.concatenate(lists)


def _best(scores: Any, chosen: np.ndarray) -> np.ndarray:
    """Return (B, min(100, n)) int32 rows of the best items by ``scores`` (B, n), without ``chosen``.

    −1 as padding.
    """
    import torch

    from recsim_gen.core.ranking import refuse_nan

    refuse_nan(scores)
    scores[torch.from_numpy(chosen).to(scores.device)] = -torch.inf
    top = torch.topk(scores, min(LONGEST, scores.shape[1]), dim=1)
    rows: np.ndarray = torch.where(top.values.isinf(), -1, top.indices).cpu().numpy().astype(np.int32)
    return rows


class ServedRanker:
    """Model that ``mlflow.pyfunc.load_model`` wraps.

    Parameters
    ----------
    user_ids, item_ids
        (n_users,) and (n,) ids.
    top
        (n_users, L) rows of the best items, from `best_lists`.
    folder
        Folder of the logged model; without its data only known users can be served.
    """

    def __init__(
        self, user_ids: np.ndarray, item_ids: np.ndarray, top: np.ndarray, folder: Path | None = None
    ) -> None:
        self.users = {user: row for row, user in enumerate(user_ids.tolist())}
        self.items = {item: row for row, item in enumerate(item_ids.tolist())}
        self.item_ids, self.top, self.folder = item_ids, top, folder

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return the best items of each person, and the rank of an item with another image if one is given.

        Parameters
        ----------
        model_input
            One request per row: a known ``user``, or the ``history`` of a new person (item ids, oldest
            first). A user may have an ``item`` and a ``picture`` (base64 of a file), to get the item's rank
            with it.
        params
            ``k``: number of items, default 10; fewer are returned if fewer are left.

        Returns
        -------
        DataFrame
            Columns ``user``, ``items`` (ids, best first), ``item``, ``original_rank`` and ``rank`` (1 is
            best; None without a picture), in the order of the requests.

        Raises
        ------
        DataError
            If an id is unknown, a row is invalid, a picture cannot be read, or ``k`` is out of range.
        """
        import pandas as pd

        k, longest = int((params or {}).get("k", K)), self.top.shape[1]
        if not 1 <= k <= longest:
            raise DataError(f"k must be in [1, {longest}], got {k}", remedy="The logged lists end there")
        requests = read_requests(model_input)
        answers: dict[str, Any] = {
            "user": pd.Series([one.user for one in requests], dtype=object),  # pandas 3 would make None NaN
            "items": [self.item_ids[rows[rows >= 0]].tolist() for rows in self._lists(requests)[:, :k]],
            "item": pd.Series([one.item for one in requests], dtype=object),
        }
        for name, ranks in zip(("original_rank", "rank"), self._ranks(requests).tolist(), strict=True):
            answers[name] = pd.Series([None if np.isnan(rank) else rank for rank in ranks], dtype=object)
        return pd.DataFrame(answers)

    def _lists(self, asked: Sequence[Request]) -> np.ndarray:
        """Return (B, L) rows of the best items: stored lists of known users, computed ones of new people."""
        rows = [-1 if one.user is None else row_of("user", one.user, self.users) for one in asked]
        chosen = [
            np.array([row_of("item", item, self.items) for item in dict.fromkeys(one.history)], np.int64)
            for one in asked
            if one.user is None
        ]
        lists = self.top[rows]
        if chosen:
            mask = np.zeros((len(chosen), len(self.items)), bool)
            for row, items in zip(mask, chosen, strict=True):
                row[items] = True
            lists[np.array(rows) < 0] = _best(self._ranker.fold_in(chosen), mask)
        return lists

    def _ranks(self, asked: Sequence[Request]) -> np.ndarray:
        """Return the (2, B) ranks with the item's own image and with the new one."""
        from recsim_gen.encoders.features import make_encoder

        ranks = np.full((2, len(asked)), np.nan)
        where = [number for number, one in enumerate(asked) if one.picture is not None]
        if where:
            users = np.array([row_of("user", str(asked[n].user), self.users) for n in where])
            items = np.array([row_of("item", str(asked[n].item), self.items) for n in where])
            encoder = make_encoder(self._data[0].encoder_of("image"))
            features = {"image": encoder.encode_images([asked[n].picture for n in where])}
            counterfactual = self._ranker.substitute(users, items, features)
            ranks[:, where] = counterfactual.original_rank, counterfactual.rank
        return ranks

    @cached_property
    def _data(self) -> tuple[Catalog, Interactions]:
        """Return the ranker's catalogue and interactions. Raises DataError if they were not logged."""
        from recsim_gen.artifacts.served_data import read_served_data

        if self.folder is None or not (self.folder / DATA).is_file():
            raise DataError(
                "new people and pictures need the ranker's data; only the lists of known users were logged",
                remedy="Log it again: python -m recsim_gen.train_ranker",
            )
        return read_served_data(self.folder / DATA)

    @cached_property
    def _ranker(self) -> Ranker:
        from recsim_gen.artifacts.checkpoints import load_ranker

        data = self._data
        assert self.folder is not None
        return load_ranker(self.folder / CHECKPOINT, *data)


def _load_pyfunc(path: str) -> ServedRanker:
    """Load the model from the folder that was logged; called by MLflow."""
    with np.load(Path(path) / LISTS, allow_pickle=False) as kept:
        return ServedRanker(kept["user_ids"], kept["item_ids"], kept["top"], Path(path))
