"""VBPR: matrix factorisation plus what an item's features say to each user.

He & McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016, Eq. 4,
with any number of modalities: score(u, i) = b_i + γ_u·γ_i + Σ_m (θ_um·W_m x_im + β_m·x_im). The terms
of the user alone are left out: they rank nothing.
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

ROWS = 1 << 15  # items whose rows are made at a time
GRID = 2.0**23  # multiples of 1/GRID up to 1 are whole in float32


def on_grid(x: Tensor) -> Tensor:
    """Rounded to multiples of 1/GRID, float64."""
    return (x.double() * GRID).round() / GRID


class Look(nn.Module):
    """One modality: items' features, their projection and each user's taste in it.

    Features are scaled to length 1 row by row: an encoder's scale does not matter, and no item's row
    depends on another item. They are data and stay as they are.
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
        """What is seen of the items ``rows`` (B,): kept, or where features are mapped made anew."""
        return self.seen(self.x[rows]) if self.x.dtype == torch.float16 else self.x[rows]

    @staticmethod
    def seen(x: Tensor) -> Tensor:
        """Rows of length 1 on the grid, which float32 holds exactly."""
        return on_grid(unit(x)).float()

    def exact(self, x: Tensor) -> Tensor:
        """(B, size + 1) float64 (W x, β·x) of rows as ``seen``: the same bits in any batch, on any device.

        On the grid, the factors' products are multiples of GRID⁻²; sums of those below 2⁷ are exact
        in float64, so in whatever order they are added.
        """
        return x.double() @ on_grid(self.projection.weight).T


class VBPR(TableModel):
    """A user's row is (γ_u, θ_u1 … θ_uM, 1), an item's (γ_i, W_1 x_i1 … W_M x_iM, b_i + Σ_m β_m·x_im)."""

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
        """Each modality's part."""
        return {m: look for m, look in self.modalities.items() if isinstance(look, Look)}

    def user_row(self, rows: Tensor) -> Tensor:
        """(B, D) rows of the user table."""
        tastes = [look.taste(rows) for look in self.looks().values()]
        return nn.functional.pad(torch.cat([self.user_embedding(rows), *tastes], 1), (0, 1), value=1.0)

    def _assemble(self, rows: Tensor, projected: Sequence[Tensor]) -> Tensor:
        bias = self.item_bias[rows] + torch.stack([p[:, -1] for p in projected]).sum(0)
        return torch.cat([self.item_embedding(rows), *(p[:, :-1] for p in projected), bias[:, None]], 1)

    @torch.no_grad()
    def item_row(self, rows: Tensor, features: Mapping[str, Tensor] | None = None) -> Tensor:
        """(B, D) float64: what the item table has at ``rows`` (B,) if these items looked so.

        ``features`` {modality: (B, d)}, as an encoder gives them; a modality that is left out stays the
        item's own. Own features give the table's row to the bit.
        """
        given = features or {}
        seen = {
            m: look.seen(given[m].to(look.x.dtype)) if m in given else look.rows(rows)
            for m, look in self.looks().items()
        }
        return self._assemble(rows, [look.exact(seen[m]) for m, look in self.looks().items()])

    def loss(self, batch: Batch) -> Tensor:
        """BPR + reg_weight·L2 for one batch."""
        user, positive, negative = batch
        both = torch.cat([positive, negative])
        projected = [look.projection(look.rows(both)) for look in self.looks().values()]
        chosen, other = self._assemble(both, projected).chunk(2)
        return self.bpr(self.user_row(user), chosen, other)

    def train(self, mode: bool = True) -> VBPR:
        """Switching to training or to evaluation forgets the final tables."""
        self._exact = None
        super().train(mode)
        return self

    def exact_tables(self) -> tuple[Tensor, Tensor]:
        """Users (U, D) and items (n, D), float64; kept until training goes on."""
        if self._exact is None:
            device = self.item_bias.device
            users = self.user_row(torch.arange(self.n_users, device=device)).detach().double()
            parts = torch.arange(self.n_items, device=device).split(ROWS)
            self._exact = users, torch.cat([self.item_row(part) for part in parts])
        return self._exact

    def forward(self) -> tuple[Tensor, Tensor]:
        """The user table (U, D) and the item table (n, D), float32."""
        users, items = self.exact_tables()
        return users.float(), items.float()


class VBPRRanker(LearnedRanker):
    """VBPR behind the `Ranker` protocol; new users by regression on those it was trained with.

    The mean row of what somebody chose would do as a vector only by chance: its size against the bias
    is arbitrary, and most of it is what all items share.
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
        row = self.model.item_row(items, features)  # alone, in either scope
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
