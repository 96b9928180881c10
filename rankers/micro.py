"""MICRO: LightGCN plus latent item graphs per modality, fused by attention.

Zhang et al., "Latent Structure Mining with Contrastive Modality Fusion for Multimedia Recommendation", TKDE
2023.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rankers.configs import MICROConfig
from rankers.contrastive import contrastive_loss
from rankers.item_graph_model import ItemGraphModel, ItemGraphRanker
from rankers.item_graphs.substitution import Attention
from rankers.propagation import row_by_row
from rankers.training.pairs import Batch


class MICRO(ItemGraphModel):
    """The model of Zhang et al., TKDE 2023."""

    config_class = MICROConfig
    settings: MICROConfig

    def _make_fusion(self) -> None:
        d = self.settings.embedding_size
        self.query = nn.Sequential(nn.Linear(d, d), nn.Tanh(), nn.Linear(d, 1, bias=False))
        self._step = 0

    def views(self, items: Tensor | None = None) -> dict[str, Tensor]:
        """Return h_m = A_m^L·E_id of each modality, for ``items`` (None: all), (items, d); own rows."""
        x, graphs = self.item_embedding.weight, self.graphs()
        return {m: self.columns.by_rows(graph(x, fresh, items)) for m, (graph, fresh) in graphs.items()}

    def fuse(self, *views: Tensor) -> Tensor:
        """Return h = Σ_m softmax_m(query(h_m))·h_m, (n, d)."""
        weight = torch.cat([self.query(view) for view in views], dim=1).softmax(1)
        first, *rest = (weight[:, m : m + 1] * view for m, view in enumerate(views))
        return sum(rest, first)

    def exact_views(self) -> tuple[dict[str, float], ...]:
        """Return one view per modality."""
        return tuple({name: 1.0} for name in self.modalities)

    def exact_attention(self) -> Attention:
        """Return the attention in float64."""
        exact = {name: weight.double() for name, weight in self.query.state_dict().items()}
        return Attention(exact["0.weight"], exact["0.bias"], exact["2.weight"].T)

    def latent(self, items: Tensor | None = None) -> Tensor:
        """Return h/‖h‖ of the fused views of ``items`` (None: all), (items, d)."""
        return self._columns_of(self._fused(self.views(items)), items)

    def _fused(self, views: Mapping[str, Tensor]) -> Tensor:
        return row_by_row(lambda *rows: F.normalize(self.fuse(*rows), dim=1), *views.values())

    def loss(self, batch: Batch) -> Tensor:
        """Return BPR + reg_weight·L2 + contrastive_weight·Σ_m contrastive_m of a batch.

        The contrastive loss is computed every ``contrastive_every`` steps, with its weight multiplied by that
        number; only then are the views of all items needed.
        """
        near, every = self.near(batch), self.settings.contrastive_every
        weight = self.settings.contrastive_weight * every
        due, self._step = self._step % every == 0, self._step + 1
        contrasted = weight and due and len(self.modalities) > 1  # a single view equals its fusion
        items = None if contrasted else near.items
        views = self.views(items)
        fused = self._fused(views)
        latent = self._columns_of(fused, items)
        some = latent[near.items] if contrasted and near.items is not None else latent
        terms = self._contrastive(views, fused) if contrasted else []
        # made last, so its gradients are made first, and their tables are gone when those of the terms come
        loss = self.bpr(*self.rows(near, some))
        for term in terms:
            loss = loss + weight * term
        return loss

    def _contrastive(self, views: Mapping[str, Tensor], fused: Tensor) -> list[Tensor]:
        """Return the contrastive loss of each view (n, d) with the fused one, of the same anchors."""
        anchors, temperature = self._anchors(), self.settings.temperature
        return [contrastive_loss(view, fused, temperature, anchors, self.columns) for view in views.values()]

    def _anchors(self) -> Tensor:
        """Return the items that a step averages over, counted from the first of this process's rows."""
        wanted = self.settings.contrastive_anchors
        if 0 < wanted < self.n_items:
            anchors = torch.randint(self.n_items, (wanted,), device=self.device)
        else:
            anchors = torch.arange(self.n_items, device=self.device)
        return anchors - self.columns.rows(self.n_items).start


class MICRORanker(ItemGraphRanker):
    """MICRO as a `Ranker`."""

    name = "micro"
    model_class = MICRO
    config_class = MICROConfig
    model: MICRO
