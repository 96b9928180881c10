"""RecBole's own BPR and LightGCN behind the `Ranker` protocol. Both are blind to images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from recbole.model.general_recommender import BPR as RecBoleBPR
from recbole.model.general_recommender import LightGCN as RecBoleLightGCN
from torch import Tensor

from rankers.configs import BPRConfig, LightGCNConfig
from rankers.fold_in import history_matrix, propagate
from rankers.recbole.ranker import RecBoleRanker


class BPR(RecBoleRanker):
    """RecBole's BPR; a new user is the mean of the items chosen."""

    name = "bpr"
    model_class = RecBoleBPR
    config_class = BPRConfig

    def _tables(self) -> tuple[Tensor, Tensor]:
        return self.model.user_embedding.weight[1:], self.model.item_embedding.weight[1:]

    def _new_users(self, histories: Sequence[np.ndarray]) -> Tensor:
        items = self._tables()[1]
        size = torch.tensor([len(h) for h in histories], device=items.device)[:, None]
        return (history_matrix(histories, len(items), items.device) @ items) / size


class LightGCN(RecBoleRanker):
    """RecBole's LightGCN; a new user is folded in by its own propagation."""

    name = "lightgcn"
    model_class = RecBoleLightGCN
    config_class = LightGCNConfig

    def _tables(self) -> tuple[Tensor, Tensor]:
        if self.model.restore_user_e is None:
            self.model.restore_user_e, self.model.restore_item_e = self.model.forward()
        return self.model.restore_user_e[1:], self.model.restore_item_e[1:]

    def _new_users(self, histories: Sequence[np.ndarray]) -> Tensor:
        x = self.model.get_ego_embeddings()
        item_layers = [x]
        for _ in range(self.config.n_layers):
            item_layers.append(torch.sparse.mm(self.model.norm_adj_matrix, item_layers[-1]))
        item_layers = [layer[self.model.n_users + 1 :] for layer in item_layers]
        return propagate(histories, item_layers, self._train_degree, "symmetric")
