"""Validation of a model on the valid split between epochs, for early stopping."""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from rankers.counterfactual import InteractionMask
from rankers.training.data import train_choices, valid_choices
from rankers.training.model import RankerModel
from recsim_gen.core.processes import Team
from recsim_gen.core.ranking import per_user
from recsim_gen.core.types import Interactions

KS = (10, 20)
NAMES = tuple(f"{name}@{k}" for name in ("recall", "ndcg") for k in KS)
AT_ONCE = 256  # most users scored at a time
SCORES = 1 << 26  # most scores at a time: 256 MiB in float32


class Validation:
    """Recall@k and NDCG@k of the valid split, among the items that a user did not choose in training."""

    def __init__(self, interactions: Interactions, most: int, device: str | torch.device) -> None:
        user, item = valid_choices(interactions, most)
        n = interactions.n_users
        self._users = torch.from_numpy(np.unique(user)).to(device)
        self._relevant = InteractionMask.of(user, item, n, str(device))
        self._masked = InteractionMask.of(*train_choices(interactions), n, str(device))
        self._count = np.unique(user, return_counts=True)[1]

    def __bool__(self) -> bool:
        """Return whether there are users to evaluate."""
        return len(self._users) > 0

    @torch.no_grad()
    def __call__(self, model: RankerModel, team: Team) -> dict[str, float]:
        """Return the means over users by ``NAMES``, in [0, 1]; switch the model to evaluation mode."""
        model.eval()
        hits = torch.zeros(len(self._users), max(KS), device=self._users.device)
        each = max(1, min(AT_ONCE, SCORES // model.n_items))
        parts = zip(hits.split(each), self._users.split(each), strict=True)
        first, step = (team.index, team.count) if model.adds_up else (0, 1)
        if step > 1:
            model.scores(self._users[:1])  # also without a part here: training uses what it rebuilds
        for part, users in islice(parts, first, None, step):
            part.copy_(self._hits(model.scores(users), users))
        team.add([hits])
        found = per_user(hits.cpu().numpy() > 0, self._count, KS)
        mean = np.stack([found[name] for name in NAMES], axis=1).mean(0)
        return dict(zip(NAMES, np.round(mean, 16).tolist(), strict=True))  # rounded as RecBole compares them

    def _hits(self, scores: Tensor, users: Tensor) -> Tensor:
        """Return (B, 20) whether the item at each place of the list is relevant."""
        n = scores.shape[1]
        scores.view(-1)[self._masked.keys(users, n)] = -torch.inf
        best = scores.topk(min(max(KS), n)).indices
        relevant = torch.zeros_like(scores, dtype=torch.bool)
        relevant.view(-1)[self._relevant.keys(users, n)] = True
        return pad(relevant.gather(1, best), (0, max(KS) - best.shape[1]))
