"""MICRO: LightGCN plus latent item graphs per modality, fused by attention.

Zhang et al., "Latent Structure Mining with Contrastive Modality Fusion for Multimedia Recommendation", TKDE
2023.
"""

from __future__ import annotations

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

    def views(self) -> dict[str, Tensor]:
        """Return h_m = A_m^L·E_id of each modality, (n, d)."""
        x = self.item_embedding.weight
        return {name: graph(x, fresh) for name, (graph, fresh) in self.graphs().items()}

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

    def forward(self) -> tuple[Tensor, Tensor, dict[str, Tensor], Tensor]:
        """Return final users (U, d), final items (n, d) = LightGCN item + h/‖h‖, the views, and h/‖h‖."""
        views = self.views()
        fused = row_by_row(lambda *rows: F.normalize(self.fuse(*rows), dim=1), *views.values())
        users, items = self.with_items(fused)
        return users, items, views, fused

    def loss(self, batch: Batch) -> Tensor:
        """Return BPR + reg_weight·L2 + contrastive_weight·Σ_m contrastive_m of a batch.

        The contrastive loss is computed every ``contrastive_every`` steps, with its weight multiplied by that
        number.
        """
        users, items, views, fused = self.forward()
        user, positive, negative = batch
        loss = self.bpr(users[user], items[positive], items[negative])
        weight = self.settings.contrastive_weight * self.settings.contrastive_every
        due, self._step = self._step % self.settings.contrastive_every == 0, self._step + 1
        if weight and due and len(views) > 1:  # a single view equals its fusion
            anchors = self._anchors()
            for view in views.values():
                term = contrastive_loss(F.normalize(view, dim=1), fused, self.settings.temperature, anchors)
                loss = loss + weight * term
        return loss

    def _anchors(self) -> Tensor | None:
        wanted = self.settings.contrastive_anchors
        if not 0 < wanted < self.n_items:
            return None
        return torch.randint(self.n_items, (wanted,), device=self.device)


class MICRORanker(ItemGraphRanker):
    """MICRO as a `Ranker`."""

    name = "micro"
    model_class = MICRO
    config_class = MICROConfig
    model: MICRO
