"""LATTICE: LightGCN plus one latent item graph, a weighted sum over modalities.

Zhang et al., "Mining Latent Structures for Multimedia Recommendation", ACM MM 2021. It is MICRO with one
learned weight per modality instead of attention, and without the contrastive loss.

The published code differs: it normalises the learned graph once, after the weighted sum of the modalities' k
nearest neighbours (the raw one per modality, before the sum, as here); it stores dense N×N matrices; its
weights get a gradient once per epoch, with the learned graph, and here in every step. Per modality, the
graphs are MICRO's, in O(N·k).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rankers.configs import LATTICEConfig
from rankers.item_graph_model import ItemGraphModel, ItemGraphRanker
from rankers.training.pairs import Batch


class LATTICE(ItemGraphModel):
    """The model of Zhang et al., ACM MM 2021."""

    config_class = LATTICEConfig
    settings: LATTICEConfig

    def _make_fusion(self) -> None:
        self.modality_weight = nn.Parameter(torch.full((len(self.modalities),), 0.5))

    def shares(self) -> dict[str, Tensor]:
        """Return α = softmax(w), each modality's share of the graph; positive, sums to 1."""
        return dict(zip(self.modalities, self.modality_weight.softmax(0), strict=True))

    def latent(self) -> Tensor:
        """Return h = A^L·E_id with A = Σ_m α_m·A_m, (n, d)."""
        graphs, shares = self.graphs(), self.shares()
        h = self.item_embedding.weight
        for _ in range(self.settings.n_item_layers):
            h = torch.stack([shares[m] * graph.step(h, fresh) for m, (graph, fresh) in graphs.items()]).sum(0)
        return h

    def exact_views(self) -> tuple[dict[str, float], ...]:
        """Return one view of all modalities."""
        return ({m: float(share) for m, share in self.shares().items()},)

    def exact_attention(self) -> None:
        """Return None: there is one view."""

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return final users (U, d) and final items (n, d) = LightGCN item + h/‖h‖."""
        return self.with_items(F.normalize(self.latent(), dim=1))

    def loss(self, batch: Batch) -> Tensor:
        """Return BPR + reg_weight·L2 of a batch."""
        users, items = self.forward()
        user, positive, negative = batch
        return self.bpr(users[user], items[positive], items[negative])


class LATTICERanker(ItemGraphRanker):
    """LATTICE as a `Ranker`."""

    name = "lattice"
    model_class = LATTICE
    config_class = LATTICEConfig
    model: LATTICE
