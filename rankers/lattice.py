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

    def latent(self, items: Tensor | None = None) -> Tensor:
        """Return h/‖h‖ of h = A^L·E_id with A = Σ_m α_m·A_m, for ``items`` (None: all), (items, d)."""
        graphs, shares = self.graphs(), self.shares()
        h = self.item_embedding.weight
        for left in reversed(range(self.settings.n_item_layers)):
            of = None if left else items
            steps = [shares[m] * graph.step(h, fresh, of) for m, (graph, fresh) in graphs.items()]
            h = torch.stack(steps).sum(0)
        return self._columns_of(F.normalize(self.columns.by_rows(h), dim=1), items)

    def exact_views(self) -> tuple[dict[str, float], ...]:
        """Return one view of all modalities."""
        return ({m: float(share) for m, share in self.shares().items()},)

    def exact_attention(self) -> None:
        """Return None: there is one view."""

    def loss(self, batch: Batch) -> Tensor:
        """Return BPR + reg_weight·L2 of a batch."""
        near = self.near(batch)
        return self.bpr(*self.rows(near, self.latent(near.items)))


class LATTICERanker(ItemGraphRanker):
    """LATTICE as a `Ranker`."""

    name = "lattice"
    model_class = LATTICE
    config_class = LATTICEConfig
    model: LATTICE
