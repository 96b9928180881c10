"""VBPR: matrix factorisation plus each user's taste in item features.

He & McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016, Eq. 4, with any
number of modalities: score(u, i) = b_i + γ_u·γ_i + Σ_m (θ_um·W_m x_im + β_m·x_im). Terms of the user alone
are left out, since they do not affect rankings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rankers.configs import VBPRConfig
from rankers.counterfactual import Changed
from rankers.fold_in import regress
from rankers.item_graphs.knn import unit
from rankers.learned_ranker import LearnedRanker, Lists
from rankers.table_model import TableModel
from rankers.training.data import TrainingData
from rankers.training.model import drawn_apart
from rankers.training.pairs import Batch
from recsim_gen.core.types import Catalog, Interactions, Scope

ROWS = 1 << 15  # item rows computed at a time
GRID = 2.0**23  # multiples of 1/GRID up to 1 are exact in float32


def on_grid(x: Tensor) -> Tensor:
    """Return ``x`` rounded to multiples of 1/GRID, float64."""
    return (x.double() * GRID).round() / GRID


class Look(nn.Module):
    """One modality: the items' features, their projection and each user's taste.

    Features are scaled to length 1 per row: the encoder's scale does not matter, and no row depends on
    another item. They are not trained.
    """

    def __init__(self, x: Tensor, n_users: int, size: int) -> None:
        super().__init__()
        self.x: Tensor
        self.register_buffer("x", x if x.dtype == torch.float16 else self.seen(x), persistent=False)
        self.taste = nn.Embedding(n_users, size)
        self.projection = nn.Linear(x.shape[1], size + 1, bias=False)  # W and, last, β
        nn.init.xavier_uniform_(self.taste.weight)
        nn.init.xavier_uniform_(self.projection.weight)

    def rows(self, rows: Tensor) -> Tensor:
        """Return the scaled features of the items ``rows`` (B,); mapped features are scaled on access."""
        return self.seen(self.x[rows]) if self.x.dtype == torch.float16 else self.x[rows]

    @staticmethod
    def seen(x: Tensor) -> Tensor:
        """Return rows of length 1 on the grid, which float32 represents exactly."""
        return on_grid(unit(x)).float()

    def exact(self, x: Tensor) -> Tensor:
        """Return (W x, β·x), (B, size + 1) float64, of `seen` rows: equal bits in any batch, on any device.

        On the grid, products are multiples of GRID⁻²; sums of those are exact in float64 below 2⁷, in any
        order.
        """
        return x.double() @ on_grid(self.projection.weight).T


class VBPR(TableModel):
    """User rows (γ_u, θ_u1 … θ_uM, 1) and item rows (γ_i, W_1 x_i1 … W_M x_iM, b_i + Σ_m β_m·x_im)."""

    config_class = VBPRConfig
    settings: VBPRConfig

    def __init__(self, settings: VBPRConfig, data: TrainingData) -> None:
        super().__init__(settings, data)
        size = self.settings.feature_size
        self.user_embedding = nn.Embedding(self.n_users, self.settings.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.settings.embedding_size)
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        self.item_bias = nn.Parameter(torch.zeros(self.n_items))
        self._exact: tuple[Tensor, Tensor] | None = None
        with drawn_apart():
            looks = {m: Look(x, self.n_users, size) for m, x in data.features.items()}
            self.modalities = nn.ModuleDict(looks)

    def looks(self) -> dict[str, Look]:
        """Return the part of each modality."""
        return {m: look for m, look in self.modalities.items() if isinstance(look, Look)}

    def user_row(self, rows: Tensor) -> Tensor:
        """Return the (B, D) rows of the user table."""
        tastes = [look.taste(rows) for look in self.looks().values()]
        return nn.functional.pad(torch.cat([self.user_embedding(rows), *tastes], 1), (0, 1), value=1.0)

    def _assemble(self, rows: Tensor, projected: Sequence[Tensor]) -> Tensor:
        bias = self.item_bias[rows] + torch.stack([p[:, -1] for p in projected]).sum(0)
        return torch.cat([self.item_embedding(rows), *(p[:, :-1] for p in projected), bias[:, None]], 1)

    @torch.no_grad()
    def item_row(self, rows: Tensor, features: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return (B, D) float64: the rows of the item table if the items ``rows`` (B,) had these features.

        ``features`` {modality: (B, d)}, as an encoder gives them; a modality that is left out keeps the
        item's own. Own features give the table's row, bit for bit.
        """
        given = features or {}
        seen = {
            m: look.seen(given[m].to(look.x.dtype)) if m in given else look.rows(rows)
            for m, look in self.looks().items()
        }
        return self._assemble(rows, [look.exact(seen[m]) for m, look in self.looks().items()])

    def loss(self, batch: Batch) -> Tensor:
        """Return BPR + reg_weight·L2 of a batch."""
        user, positive, negative = batch
        both = torch.cat([positive, negative])
        projected = [look.projection(look.rows(both)) for look in self.looks().values()]
        chosen, other = self._assemble(both, projected).chunk(2)
        return self.bpr(self.user_row(user), chosen, other)

    def train(self, mode: bool = True) -> VBPR:
        """Set the mode and drop the cached final tables."""
        self._exact = None
        super().train(mode)
        return self

    def exact_tables(self) -> tuple[Tensor, Tensor]:
        """Return users (U, D) and items (n, D), float64; cached until training continues."""
        if self._exact is None:
            device = self.item_bias.device
            users = self.user_row(torch.arange(self.n_users, device=device)).detach().double()
            parts = torch.arange(self.n_items, device=device).split(ROWS)
            self._exact = users, torch.cat([self.item_row(part) for part in parts])
        return self._exact

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the user table (U, D) and the item table (n, D), float32."""
        users, items = self.exact_tables()
        return users.float(), items.float()


class VBPRRanker(LearnedRanker):
    """VBPR as a `Ranker`; new users by regression on the users it was trained with.

    The mean row of the chosen items is no suitable user vector: its scale relative to the bias is arbitrary,
    and most of it is common to all items.
    """

    name = "vbpr"
    model_class = VBPR
    config_class = VBPRConfig
    needs_features = True
    model: VBPR

    def _build(self, catalog: Catalog, interactions: Interactions, lists: Lists) -> None:
        super()._build(catalog, interactions, lists)
        self._pairs = torch.from_numpy(np.stack(interactions.only("train")))

    def _exact_tables(self) -> tuple[Tensor, Tensor]:
        self._fitted()
        return self.model.exact_tables()

    def _changed(self, items: Tensor, features: Mapping[str, Tensor], scope: Scope) -> Changed:
        row = self.model.item_row(items, features)  # alone, in both scopes
        key = torch.arange(len(items), device=items.device) * self._n_items + items
        return Changed.of(key, row)

    def _rebuilt(self, item: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        items = self._exact_tables()[1].clone()
        items[item] = self.model.item_row(item, features)
        return items

    def _new_users(self, histories: Sequence[np.ndarray]) -> Tensor:
        users, items = (table[:, :-1] for table in self._tables())
        vectors = regress(histories, users, items, self._pairs.to(items.device))
        return nn.functional.pad(vectors, (0, 1), value=1.0)
