"""LightGCN: embeddings of users and items, propagated over the interaction graph; does not use images.

He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020.
Initial weights and loss are those of RecBole 1.2.1, and so are the trained weights up to rounding: products
with the graph are summed in another order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rankers.bpr import floored_bpr, padded_embeddings
from rankers.configs import LightGCNConfig
from rankers.fold_in import propagate
from rankers.learned_ranker import LearnedRanker
from rankers.propagation import (
    GraphConv,
    Near,
    layers,
    mean_of_layers,
    rows_of_mean_and_first,
    user_item_graph,
)
from rankers.table_model import TableModel
from rankers.training.data import TrainingData
from rankers.training.pairs import Batch


class LightGCN(TableModel):
    """LightGCN: final rows are the mean over layers of E, ÂE, …, Â^L E."""

    config_class = LightGCNConfig
    settings: LightGCNConfig

    def __init__(self, settings: LightGCNConfig, data: TrainingData) -> None:
        super().__init__(settings, data)
        sizes = (self.n_users, self.n_items)
        self.user_embedding, self.item_embedding = padded_embeddings(
            sizes, settings.embedding_size, nn.init.xavier_uniform_
        )
        self.conv = GraphConv()
        self.user_item = user_item_graph(data.user, data.item, self.n_users, self.n_items, "symmetric")

    def collaborative(self) -> list[Tensor]:
        """Return the layers over users, then items: n_layers + 1 of (users + items, d)."""
        return layers(self.conv, self._first_layer(), self.user_item, self.settings.n_layers)

    def _first_layer(self) -> Tensor:
        return torch.cat([self.user_embedding.weight, self.item_embedding.weight])

    def tables(self) -> list[nn.Embedding]:
        """Return both embeddings."""
        return [self.user_embedding, self.item_embedding]

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return final users (U, d) and items (n, d)."""
        embeddings = self.user_embedding.weight, self.item_embedding.weight
        return self.whole(*mean_of_layers(*embeddings, self.user_item, self.settings.n_layers))

    def loss(self, batch: Batch) -> Tensor:
        """Return BPR + reg_weight·½Σ‖E‖²/B, of the batch's first layer; Σ‖E‖/B without ``require_pow``."""
        user, item = self.user_embedding.weight, self.item_embedding.weight
        near = Near.of(batch, self.user_item, self.n_users, user.shape[1])
        rows, first = rows_of_mean_and_first(user, item, self.user_item, self.settings.n_layers, near)
        loss = floored_bpr(*rows, self.columns)
        lengths = self.columns.norms(torch.stack([x.norm() for x in first]))
        size = lengths.square().sum() / 2 if self.settings.require_pow else lengths.sum()
        return loss + self.settings.reg_weight * size / len(batch.user)


class LightGCNRanker(LearnedRanker):
    """LightGCN as a `Ranker`; new users are folded in by its propagation."""

    name = "lightgcn"
    model_class = LightGCN
    config_class = LightGCNConfig
    training_version = 7
    model: LightGCN

    def _new_users(self, histories: Sequence[np.ndarray]) -> Tensor:
        item_layers = [layer[self.model.n_users :] for layer in self.model.collaborative()]
        return propagate(histories, item_layers, self._train_degree, "symmetric")
