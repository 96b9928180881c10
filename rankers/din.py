"""DIN without item ids: a history attends to the candidate, and both are represented by features.

Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018: earlier choices are weighted
by their relevance to the candidate. Here an item is represented by its features and category, so that images
which nobody has chosen are scored too. With item i encoded as q_i, k_i, v_i, r_i (in each of H heads) and a
bias b_i,

    s(u, i) = b_i + Σ_heads Σ_{j∈H_u} a_ij · v_j·r_i
    a_ij = exp(q_i·k_j) / (exp(q_i·k₀) + Σ_{l∈H_u} exp(q_i·k_l))

k₀ is a learned null key: the less relevant the history, the closer s is to b_i. Trained by sampled softmax,
each choice against negatives that its batch shares. A choice is left out of its own history; for a negative,
one random item of the history is left out as well, since the network would otherwise count the items.

An image put onto an item is judged by images alone, as in `rankers.taste`: the item's text does not describe
another image. For this, some training steps use a single modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rankers.base import check_histories, check_triples, check_users
from rankers.configs import DINConfig
from rankers.counterfactual import InteractionMask
from rankers.learned_ranker import LearnedRanker, Lists
from rankers.own_row import OwnRowCounterfactuals
from rankers.target_attention import Encoded, TargetAttention
from rankers.training.data import TrainingData
from rankers.training.model import RankerModel
from rankers.training.pairs import Batch
from recsim_gen.core.errors import DataError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Appraisal, Catalog, Interactions
from recsim_gen.taste.categories import taste_categories
from recsim_gen.taste.histories import Histories

AT_ONCE = 64  # users scored at a time
HELD = 1 << 22  # numbers of histories, or attention weights, in memory at a time: 32 MiB


class DIN(RankerModel):
    """The network in training; an epoch draws as many users as there are choices.

    A drawn user is trained with all their choices, at most `DINConfig.history`; the items of the pairs are
    not used. The data must have ``categories``.
    """

    config_class = DINConfig
    settings: DINConfig
    adds_up = False  # a batch shares its random draws

    def __init__(self, settings: DINConfig, data: TrainingData) -> None:
        super().__init__(settings, data)
        c = settings
        assert data.categories is not None
        self.net = TargetAttention(
            {m: x.cpu() for m, x in data.features.items()},
            data.categories.cpu(),
            size=c.embedding_size,
            heads=c.heads,
            hidden=c.hidden_size,
            width=c.width,
            dropout=c.dropout,
        )
        user, item = (rows.cpu().numpy() for rows in (data.user, data.item))
        self.chosen = InteractionMask.of(user, item, self.n_users, str(self.device))

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam with L2 regularisation."""
        c = self.settings
        return torch.optim.Adam(self.parameters(), lr=c.learning_rate, weight_decay=c.weight_decay)

    def histories(self, users: Tensor, longest: int | None = None) -> tuple[Tensor, Tensor]:
        """Return (B, L) item rows that ``users`` (B,) chose in training, and a mask that is False at padding.

        Of more than ``longest`` choices, ``longest`` are taken at equal distances from a random start.
        """
        start = self.chosen.start[users][:, None]
        count = self.chosen.start[users + 1][:, None] - start
        size = min(int(count.max()), longest or self.n_items)
        place = torch.arange(size, device=users.device)
        known = place < count
        shift = torch.rand(len(users), 1, device=users.device) * (count > size)
        position = ((place + shift) * (count / size).clamp(min=1)).long()
        return self.chosen.item[start + torch.where(known, position, 0)], known

    def loss(self, batch: Batch) -> Tensor:
        """Return −mean log p of each choice against the negatives; both are left out of the history alike."""
        c, users = self.settings, torch.unique(batch.user)
        rows, known = self.histories(users, c.history)
        size, device = rows.shape[1], rows.device
        negative = torch.randint(self.n_items, (c.negatives,), device=device)
        only = self._only()
        history, other = self.net.encode(rows, only=only), self.net.encode(negative, only=only)
        kept = known & (torch.rand(known.shape, device=device) >= c.history_dropout)
        left_out = (torch.rand(len(users), c.negatives, device=device) * known.sum(1, keepdim=True)).long()
        by_choice = kept[:, None] & ~torch.eye(size, dtype=torch.bool, device=device)
        by_negative = kept[:, None] & ~F.one_hot(left_out, size).bool()
        positive = self.net(history, by_choice, history)
        rest = self.net(history, by_negative, other)
        chosen = ((rows[:, :, None] == negative) & known[:, :, None]).any(1)
        rest = rest.masked_fill(chosen, -torch.inf).logsumexp(1, keepdim=True)
        return F.softplus(rest - positive)[known].mean()

    def _only(self) -> tuple[str, ...]:
        """Draw the modalities of a step: one of several, or () for all."""
        names = tuple(self.net.modalities)
        alone, which = torch.rand(2).tolist()
        if len(names) == 1 or alone >= self.settings.alone:
            return ()
        return (names[int(which * len(names))],)

    def scores(self, users: Tensor) -> Tensor:
        """Return the (B, n) scores of all items, given the users' choices in training."""
        items = self.net.encode(torch.arange(self.n_items, device=self.device))
        parts = [scores_of_all(self.net, items, *self.histories(some)) for some in users.split(AT_ONCE)]
        return torch.cat(parts)


def scores_of_all(net: TargetAttention, items: Encoded, rows: Tensor, known: Tensor) -> Tensor:
    """Return (B, n) scores of ``items`` for histories ``rows`` (B, L); O(B·(n + L)) memory beside `HELD`."""
    history = items.at(rows)
    size = max(1, HELD // (net.heads * max(1, rows.numel())))
    parts = [net(history, known, items.at(slice(at, at + size))) for at in range(0, len(items.bias), size)]
    return torch.cat(parts, 1)


class DINRanker(OwnRowCounterfactuals, LearnedRanker):
    """DIN as a `Ranker` and `ContentJudge`; it computes in float64 once trained.

    New users need no training: their history is used like any other.
    """

    name = "din"
    model_class = DIN
    config_class = DINConfig
    training_version = 1
    needs_features = True
    model: DIN

    def _training_data(self, catalog: Catalog, interactions: Interactions) -> TrainingData:
        data = super()._training_data(catalog, interactions)
        categories = torch.as_tensor(taste_categories(catalog, self.config.clusters))
        return replace(data, categories=categories.to(data.device))

    def _build(self, catalog: Catalog, interactions: Interactions, lists: Lists) -> None:
        super()._build(catalog, interactions, lists)
        self._features = dict(catalog.features)
        self._exact: TargetAttention | None = None
        self._encoded: dict[tuple[str, ...], Encoded] = {}

    def _data_fingerprint(self, catalog: Catalog, interactions: Interactions) -> str:
        return fingerprint(catalog.categories, super()._data_fingerprint(catalog, interactions))

    @property
    def _net(self) -> TargetAttention:
        """The trained network in float64."""
        self._fitted()
        if self._exact is None:
            self._exact = deepcopy(self.model.net).double().eval()
        return self._exact

    def _items(self, only: tuple[str, ...] = ()) -> Encoded:
        """Return all items encoded by the modalities ``only``; (): all."""
        net = self._net
        if only not in self._encoded:
            self._encoded[only] = net.encode(torch.arange(self._n_items, device=self.device), only=only)
        return self._encoded[only]

    def _padded(self, histories: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Return (B, L) item rows, and a mask that is False at padding."""
        lists = [torch.as_tensor(np.asarray(h, dtype=np.int64)) for h in histories]
        rows = nn.utils.rnn.pad_sequence(lists, batch_first=True, padding_value=-1).to(self.device)
        return rows.clamp(min=0), rows >= 0

    def _chosen(self, user: int) -> np.ndarray:
        """Return the item rows that a known user chose in training."""
        chosen = self.model.chosen
        rows: np.ndarray = chosen.item[chosen.start[user] : chosen.start[user + 1]].cpu().numpy()
        return rows

    @property
    def _columns(self) -> np.ndarray:
        return np.arange(self._n_items)

    @property
    def _masked(self) -> Histories:
        return Histories(self._mask.start.cpu().numpy(), self._mask.item.cpu().numpy())

    def _table(self, users: np.ndarray) -> np.ndarray:
        return self._scores([self._chosen(u) for u in users.tolist()])

    @torch.no_grad()
    def _scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        scores: np.ndarray = scores_of_all(self._net, self._items(), *self._padded(histories)).cpu().numpy()
        return scores

    def _lists(self, histories: Sequence[np.ndarray]) -> Tensor:
        parts = [
            self._scores(histories[start : start + AT_ONCE]) for start in range(0, len(histories), AT_ONCE)
        ]
        scores = np.concatenate(parts) if parts else np.empty((0, self._n_items))
        return torch.from_numpy(scores.astype(np.float32)).to(self.device)

    def score(self, users: np.ndarray) -> Tensor:
        """Return the (B, n) scores of all items for known users (rows)."""
        self._fitted()
        return self._lists([self._chosen(u) for u in check_users(users, self._n_users).tolist()])

    def fold_in(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Return the (B, n) scores of all items for new users who chose these items (rows)."""
        self._fitted()
        check_histories(histories, self._n_items)
        return self._lists(histories)

    def appraise(
        self, histories: Sequence[np.ndarray], items: np.ndarray, features: Mapping[str, np.ndarray]
    ) -> Appraisal:
        """Return the appraisals of ``items`` (B,) with these features, by users with these histories.

        ``mean`` is the score by the given modalities alone; without any, by the items' own images, or if
        there are none by all their features. ``sd`` measures how much it depends on single choices:
        √Σ_j (s − s_j)², with s_j the score without choice j (jackknife).

        Raises DataError for an unknown modality.
        """
        self._fitted()
        check_histories(histories, self._n_items)
        given = {m: np.asarray(x, dtype=np.float32) for m, x in features.items()}
        for modality in given:
            if modality not in self._features:
                raise DataError(f"unknown modality {modality!r}.{did_you_mean(modality, self._features)}")
        items = np.asarray(items, dtype=np.int64)
        if not given:
            own = {m: x for m, x in self._features.items() if m == "image"} or self._features
            given = {m: x[items] for m, x in own.items()}
        return Appraisal(*self._judged(histories, items, given, sd=True))

    @torch.no_grad()
    def _judged(
        self,
        histories: Sequence[np.ndarray],
        items: np.ndarray,
        features: Mapping[str, np.ndarray],
        *,
        sd: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (B,) scores of items by these features alone, and their jackknife if ``sd``."""
        only = tuple(m for m in self._features if m in features)
        encoded, means, sds = self._items(only), [], []
        longest = max((len(h) for h in histories), default=1)
        block = max(1, HELD // (4 * self.config.embedding_size * longest))
        for start in range(0, len(items), block):
            at = slice(start, start + block)
            rows, known = self._padded(histories[at])
            instead = {
                m: torch.from_numpy(x[at].astype(np.float64)).to(self.device) for m, x in features.items()
            }
            one = self._net.encode(torch.as_tensor(items[at]).to(self.device), only=only, instead=instead)
            candidate, history = one.at((slice(None), None)), encoded.at(rows)
            means.append(self._net(history, known, candidate)[:, 0])
            sds.append(self._net.jackknife(history, known, candidate)[:, 0] if sd else means[-1])
        return torch.cat(means).cpu().numpy(), torch.cat(sds).cpu().numpy()

    def _delta(self, users: np.ndarray, items: np.ndarray, given: Mapping[str, np.ndarray]) -> np.ndarray:
        if not given:
            return np.zeros(len(users))
        histories = [self._chosen(u) for u in users.tolist()]
        own = {m: self._features[m][items] for m in given}
        change: np.ndarray = self._judged(histories, items, given)[0] - self._judged(histories, items, own)[0]
        return change

    def _checked(
        self, users: np.ndarray, items: np.ndarray, features: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        self._fitted()
        return check_triples(
            users, items, features, n_users=self._n_users, n_items=self._n_items, widths=self._widths
        )
