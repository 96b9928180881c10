"""Rankers: train and measure them, get recommendations, substitute the image of an item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import SettingError
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.types import Counterfactual, Scope
from recsim_gen.judging.judges import Judge

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from recsim_gen.api.data import Data

__all__ = ["Counterfactual", "Judge", "rank_metrics", "recommend", "substitute", "train_ranker"]


def train_ranker(name: str, data: Data, *, seed: int = 0, **settings: Any) -> Judge:
    """Train a ranker on the training choices, or load it if it was trained before on the same data.

    Parameters
    ----------
    name
        Name as for ``--ranker``: micro, micro:published-code, taste, vbpr, lattice, lightgcn, bpr,
        module:Class, …
    data
        Data set from `load_data`.
    seed
        Seed of the training.
    settings
        Settings of the ranker, as for ``--ranker-settings.NAME``: ``embedding_size=32``.

    Returns
    -------
    Judge
        The trained ``ranker`` together with the ``catalog`` that it sees.

    Raises
    ------
    SettingError
        If the name, recipe or a setting is unknown.
    """
    from recsim_gen.artifacts.trained_rankers import trained_ranker

    spec = RankerSpec(name, settings)
    ranker = trained_ranker(spec, data.catalog, data.dataset.interactions, seed=seed, device=data.device)
    return Judge(str(spec), seed, ranker, data.catalog)


def rank_metrics(
    judge: Judge, data: Data, *, split: str = "test", ks: Sequence[int] = (10, 20)
) -> dict[str, float]:
    """Return Recall@k, NDCG@k and NDCG-retrieved@k of the ranker, averaged over the users of a split.

    Items that a user chose before (in training and, for the test split, in validation) are excluded.

    Parameters
    ----------
    judge
        Trained ranker from `train_ranker`.
    data
        Data set that it was trained on.
    split
        train, valid or test.
    ks
        Lengths of the lists.

    Returns
    -------
    dict
        {``recall@10``: value in [0, 1], …}.

    Raises
    ------
    SettingError
        If the split is unknown.
    DataError
        If the split is empty.
    """
    from recsim_gen.metrics.evaluation import evaluate

    values = evaluate(judge.ranker, data.dataset.interactions, split=split, ks=ks).drop(columns="user")
    return {str(name): float(value) for name, value in values.mean().items()}


def recommend(judge: Judge, data: Data, users: Sequence[str], *, k: int = 10) -> pd.DataFrame:
    """Return the ``k`` best items for each user, without the items that the user chose before.

    Parameters
    ----------
    judge
        Trained ranker from `train_ranker`.
    data
        Data set that it was trained on.
    users
        (B,) user ids.
    k
        Length of each list, 1 to the number of items.

    Returns
    -------
    DataFrame
        B·k rows with the columns user, place (from 1), item, title and score.

    Raises
    ------
    SettingError
        If ``k`` is out of range.
    DataError
        If a user is unknown.
    """
    import numpy as np
    import pandas as pd
    import torch

    from recsim_gen.metrics.evaluation import mask_of

    chosen, catalog = data.dataset.interactions, data.catalog
    if not 1 <= k <= len(catalog):
        raise SettingError(f"k must be 1 to the catalogue's {len(catalog)} items, got {k}")
    rows = data.users(users)
    scores = judge.ranker.score(rows).cpu()
    known = mask_of(np.unique(rows), *chosen.only("train", "valid"), len(catalog))
    scores[torch.from_numpy(known[np.searchsorted(np.unique(rows), rows)])] = -torch.inf
    best, items = (x.numpy().ravel() for x in torch.topk(scores, k))
    return pd.DataFrame(
        {
            "user": np.repeat(np.asarray(users), k),
            "place": np.tile(np.arange(1, k + 1), len(rows)),
            "item": catalog.item_ids[items],
            "title": catalog.titles[items],
            "score": best,
        }
    )


def substitute(
    judge: Judge,
    data: Data,
    users: Sequence[str],
    items: Sequence[str],
    images: Sequence[Image.Image],
    *,
    scope: Scope = "graph",
) -> Counterfactual:
    """Return score and rank of each item for each user as if the item had this image.

    Each (user, item, image) is evaluated independently of the others.

    Parameters
    ----------
    judge, data
        A trained ranker and the data set that it was trained on.
    users, items
        (B,) ids.
    images
        (B,) RGB images of any size; they are encoded as the catalogue of the judge was.
    scope
        graph: exact, as if the item graph were rebuilt; item: only the features of the item itself change.

    Returns
    -------
    Counterfactual
        (B,) scores and 1-based ranks with the new image and with the item's own.

    Raises
    ------
    SettingError
        If ``users``, ``items`` and ``images`` differ in length.
    DataError
        If an id is unknown or the ranker does not use images.
    """
    from recsim_gen.encoders.features import make_encoder
    from recsim_gen.judging.queries import MODALITY

    if not len(users) == len(items) == len(images):
        raise SettingError(
            f"users, items and images must be equally many, got {len(users)}, {len(items)} and {len(images)}"
        )
    encoder = make_encoder(judge.catalog.encoder_of(MODALITY), data.device)
    features = {MODALITY: encoder.encode_images(images)}
    return judge.ranker.substitute(data.users(users), data.items(items), features, scope)
