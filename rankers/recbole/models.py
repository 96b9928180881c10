"""Our models as RecBole's: for its `Config`, its data sets and its `Trainer`.

In plain RecBole, ``Config(model=MICRO, dataset=…, config_dict={"item_features": {modality: "file.npz"}})``,
each file with ``ids`` (n,) str and ``x`` (n, d); settings have the names of `rankers.configs`.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor

from rankers import lattice, micro, vbpr
from rankers.table_model import TableModel
from rankers.training.data import TrainingData
from rankers.training.model import RankerModel
from rankers.training.pairs import Batch
from recsim_gen.core.errors import DataError


class InRecBole(GeneralRecommender):  # type: ignore[misc]
    """Our model ``net`` as one of RecBole's; rows are RecBole's ids − 1, and [PAD] has no row."""

    input_type = InputType.PAIRWISE

    def __init__(self, config: Config, dataset: Dataset, net: RankerModel) -> None:
        super().__init__(config, dataset)
        self.net = net

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Return the loss of a batch of pairs."""
        rows = (interaction[name] - 1 for name in (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID))
        return self.net.loss(Batch(*rows))

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Return (B·item_num,) scores of all items, [PAD] first."""
        scores = self.net.scores(interaction[self.USER_ID] - 1)
        return F.pad(scores, (1, 0), value=-torch.inf).reshape(-1)


class Made(InRecBole):
    """Base of models that make ``net`` from RecBole's config and data; subclasses set ``model_class``."""

    model_class: ClassVar[type[TableModel]]
    net: TableModel

    def __init__(self, config: Config, dataset: Dataset) -> None:
        config_class = self.model_class.config_class
        settings = {f.name: config[f.name] for f in fields(config_class) if config[f.name] is not None}
        features = item_features(config, dataset)
        if not features:
            raise DataError(f"{type(self).__name__} needs item features of at least one modality, got none")
        columns = (dataset.inter_feat[field] for field in (dataset.uid_field, dataset.iid_field))
        user, item = (torch.as_tensor(np.asarray(ids) - 1).to(config["device"]) for ids in columns)
        data = TrainingData(
            dataset.user_num - 1,
            dataset.item_num - 1,
            user,
            item,
            {m: torch.from_numpy(x).to(config["device"]) for m, x in features.items()},
        )
        super().__init__(config, dataset, self.model_class(config_class(**settings), data))

    def predict(self, interaction: Interaction) -> Tensor:
        """Return (B,) scores of (user, item) pairs."""
        users, items = self.net.final()
        return (users[interaction[self.USER_ID] - 1] * items[interaction[self.ITEM_ID] - 1]).sum(1)


class MICRO(Made):
    """`rankers.micro.MICRO`."""

    model_class = micro.MICRO


class LATTICE(Made):
    """`rankers.lattice.LATTICE`."""

    model_class = lattice.LATTICE


class VBPR(Made):
    """`rankers.vbpr.VBPR`."""

    model_class = vbpr.VBPR


def item_features(config: Config, dataset: Dataset) -> dict[str, np.ndarray]:
    """Return {modality: (item_num − 1, d)} in the order of RecBole's ids, without [PAD].

    ``config["item_features"]`` maps a modality to a file or to (ids, x), since RecBole's own format, text
    columns of an ``.item`` file, is slow to read. Raises DataError for an item without features.
    """
    tokens = dataset.field2id_token[dataset.iid_field][1:]
    out = {}
    for modality, source in (config["item_features"] or {}).items():
        if isinstance(source, (str, Path)):
            with np.load(source, allow_pickle=False) as file:
                ids, x = file["ids"].astype(str), file["x"]
        else:
            ids, x = source
        place = pd.Index(ids).get_indexer(tokens)
        if (place < 0).any():
            missing = tokens[place < 0][0]
            raise DataError(
                f"features {modality!r} lack item {str(missing)!r} and {int((place < 0).sum()) - 1} more"
            )
        out[modality] = np.asarray(x, dtype=np.float32)[place]
    return out
