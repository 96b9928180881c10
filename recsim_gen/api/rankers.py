"""Rankers: trained, measured, asked for lists, and asked what they would say of other pictures."""

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
    """Train a ranker on the data's training choices, or load it if it was trained before on the same.

    Parameters
    ----------
    name
        As of ``--ranker``: micro, micro:published-code, taste, vbpr, lattice, lightgcn, bpr, module:Class, …
    data
        What `load_data` gave.
    seed
        Of the training.
    settings
        Of the ranker, as ``--ranker-settings.NAME``: ``embedding_size=32``.

    Returns a `Judge`: the trained ``ranker`` with the ``catalog`` that it sees. Raises SettingError for an
    unknown name, recipe or setting.
    """
    from recsim_gen.artifacts.trained_rankers import trained_ranker

    spec = RankerSpec(name, settings)
    ranker = trained_ranker(spec, data.catalog, data.dataset.interactions, seed=seed, device=data.device)
    return Judge(str(spec), seed, ranker, data.catalog)


def rank_metrics(
    judge: Judge, data: Data, *, split: str = "test", ks: Sequence[int] = (10, 20)
) -> dict[str, float]:
    """Recall@k, NDCG@k and NDCG-retrieved@k of the ranker's lists, means over users of ``split``, in [0, 1].

    What users chose before (in training, and for test in validation) is left out of their lists. Raises
    SettingError for an unknown split, DataError for an empty one.
    """
    from recsim_gen.metrics.evaluation import evaluate

    values = evaluate(judge.ranker, data.dataset.interactions, split=split, ks=ks).drop(columns="user")
    return {str(name): float(value) for name, value in values.mean().items()}


def recommend(judge: Judge, data: Data, users: Sequence[str], *, k: int = 10) -> pd.DataFrame:
    """The k best items of each user beside those that they chose before: user, place, item, title, score.

    ``users`` are ids; ``place`` counts from 1. Raises DataError for an unknown user.
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
    """What the ranker would say of each item to each user if it looked like the image, each asked alone.

    Parameters
    ----------
    judge, data
        A trained ranker and its data.
    users, items
        (B,) ids.
    images
        (B,) RGB pictures of any size; encoded as the judge's catalogue was.
    scope
        graph: as if the item graph were built again, exactly; item: the item's own row only.

    Returns scores and 1-based ranks (B,) with the new picture and with the item's own. Raises DataError for
    unknown ids, and where the judge sees no pictures.
    """
    from recsim_gen.encoders.features import make_encoder
    from recsim_gen.judging.queries import MODALITY

    if not len(users) == len(items) == len(images):
        raise SettingError(
            f"as many users, items and images are wanted, got {len(users)}, {len(items)} and {len(images)}"
        )
    encoder = make_encoder(judge.catalog.encoder_of(MODALITY), data.device)
    features = {MODALITY: encoder.encode_images(images)}
    return judge.ranker.substitute(data.users(users), data.items(items), features, scope)
