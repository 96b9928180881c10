"""What the RecBole models of this package share: a score is the product of two tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor

from rankers.configs import Training
from rankers.recbole.bridge import item_features
from recsim_gen.core.errors import DataError


@contextmanager
def drawn_apart() -> Iterator[None]:
    """What is drawn inside leaves all that is drawn elsewhere the same: for weights of features' shapes."""
    with torch.random.fork_rng():
        torch.manual_seed(torch.initial_seed() + 1)
        yield


class TableModel(GeneralRecommender):  # type: ignore[misc]
    """score(u, i) = users[u] · items[i], learned from pairs. A subclass gives ``forward``.

    Internal rows are RecBole's ids − 1: [PAD] has no row, so no graph and no average sees it. In
    plain RecBole: ``Config(model=MICRO, dataset=…, config_dict={"item_features": {modality:
    "file.npz"}})``, each file with ``ids`` (n,) str and ``x`` (n, d); settings under the names of
    ``config_class``.
    """

    input_type = InputType.PAIRWISE
    config_class: ClassVar[type[Training]]

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        names = [f.name for f in fields(self.config_class)]
        self.settings: Any = self.config_class(**{n: config[n] for n in names if config[n] is not None})
        self.n_users: int = dataset.user_num - 1
        self.n_items: int = dataset.item_num - 1
        self._final: tuple[Tensor, Tensor] | None = None

    def _features(self, config: Any, dataset: Any) -> dict[str, Tensor]:
        """{modality: (n, d)} of the config, on the model's device; DataError where there are none."""
        features = item_features(config, dataset)
        if not features:
            raise DataError(f"{type(self).__name__} needs item features of at least one modality, got none")
        return {m: torch.from_numpy(x.copy()).to(self.device) for m, x in features.items()}

    def forward(self) -> tuple[Any, ...]:
        """Final users (U, d), final items (n, d), and what else a loss needs."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> TableModel:
        """Switching to training or to evaluation forgets the final tables."""
        self._final = None
        return super().train(mode)

    def bpr(self, u: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """−mean log σ(u·(p − n)) + reg_weight·½Σx²/B over rows (B, d) of the tables (Rendle et al., 2009)."""
        loss = -F.logsigmoid((u * (positive - negative)).sum(1)).mean()
        square = (u.square().sum() + positive.square().sum() + negative.square().sum()) / 2
        return loss + self.settings.reg_weight * square / len(u)

    def rows(self, interaction: Any) -> tuple[Tensor, Tensor, Tensor]:
        """(B,) rows of a batch's users, chosen items and negatives."""
        return (
            interaction[self.USER_ID] - 1,
            interaction[self.ITEM_ID] - 1,
            interaction[self.NEG_ITEM_ID] - 1,
        )

    @torch.no_grad()
    def final(self) -> tuple[Tensor, Tensor]:
        """Final users and items, kept until training goes on."""
        if self._final is None:
            users, items, *_ = self.forward()
            self._final = users, items
        return self._final

    def predict(self, interaction: Any) -> Tensor:
        """(B,) scores of (user, item) pairs."""
        users, items = self.final()
        return (users[interaction[self.USER_ID] - 1] * items[interaction[self.ITEM_ID] - 1]).sum(1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """(B·item_num,) scores of all items, [PAD] first, as RecBole wants them."""
        users, items = self.final()
        scores = users[interaction[self.USER_ID] - 1] @ items.T
        return F.pad(scores, (1, 0), value=-torch.inf).reshape(-1)
