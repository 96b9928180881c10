"""The network of `rankers.din`: an item encoder, and attention of a history to a candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rankers.training.model import drawn_apart

ROUNDING = 1e-5  # singular values below this share of the largest count as 0


class Encoded(NamedTuple):
    """Encoded items: query, key, value and reply (…, H, d), and a bias (…)."""

    query: Tensor
    key: Tensor
    value: Tensor
    reply: Tensor
    bias: Tensor

    def at(self, where: Any) -> Encoded:
        """Return the items at ``where``."""
        return Encoded(*(part[where] for part in self))


class Look(nn.Module):
    """Encoder of one modality: features of length 1 are whitened, then projected to item vectors.

    The whitening is computed on the catalogue ``x`` (n, D) and saved with the weights: at most ``width``
    coordinates of unit variance, those of largest variance before.
    """

    mean: Tensor
    whitening: Tensor
    own: Tensor

    def __init__(self, x: Tensor, width: int, size: int) -> None:
        super().__init__()
        rows = F.normalize(x.double())
        mean = rows.mean(0)
        values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]
        real = values > ROUNDING**2 * values[0]
        self.register_buffer("mean", mean.float())
        self.register_buffer("whitening", (vectors[:, real] / values[real].sqrt()).float())
        self.register_buffer("own", self.coordinates(x.float()), persistent=False)
        self.projection = nn.Linear(self.whitening.shape[1], size, bias=False)

    def coordinates(self, x: Tensor) -> Tensor:
        """Return the (B, width) coordinates of features (B, D)."""
        return (F.normalize(x) - self.mean) @ self.whitening


class TargetAttention(nn.Module):
    """Encodes items, and scores candidates by attention over a history.

    Parameters
    ----------
    features
        {modality: (n, D)} of the catalogue.
    category
        (n,) codes 0…C−1.
    size
        Total size of the heads.
    heads
        Number H of heads.
    hidden
        Width of the hidden layer.
    width
        Maximal number of coordinates of a modality.
    dropout
        Dropout of item vectors and of the hidden layer.
    """

    category: Tensor

    def __init__(
        self,
        features: Mapping[str, Tensor],
        category: Tensor,
        *,
        size: int,
        heads: int,
        hidden: int,
        width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.register_buffer("category", category, persistent=False)
        self.category_embedding = nn.Embedding(int(category.max()) + 1, size)
        self.null_embedding = nn.Parameter(torch.randn(1, 1, heads, size // heads) / 10)
        self.straight = nn.Linear(size, 4 * size + 1)
        self.hidden = nn.Linear(size, hidden)
        self.bent = nn.Linear(hidden, 4 * size + 1)
        with drawn_apart():
            self.modalities = nn.ModuleDict({m: Look(x, width, size) for m, x in features.items()})

    def looks(self) -> dict[str, Look]:
        """Return the encoder of each modality."""
        return {m: look for m, look in self.modalities.items() if isinstance(look, Look)}

    def encode(
        self, rows: Tensor, *, only: Sequence[str] = (), instead: Mapping[str, Tensor] | None = None
    ) -> Encoded:
        """Return the items ``rows`` (…) encoded by the modalities ``only``; (): all.

        ``instead`` {modality: (…, D)}: features that replace the items' own.
        """
        vector = self.category_embedding(self.category[rows])
        for modality, look in self.looks().items():
            if modality in only or not only:
                new = (instead or {}).get(modality)
                z = look.own[rows] if new is None else look.coordinates(new)
                vector = vector + look.projection(z)
        vector = F.dropout(vector, self.dropout, self.training)
        hidden = F.dropout(F.gelu(self.hidden(vector)), self.dropout, self.training)
        parts = self.straight(vector) + self.bent(hidden)
        query, key, value, reply = parts[..., :-1].unflatten(-1, (4, self.heads, -1)).unbind(-3)
        return Encoded(query, key, value, reply, parts[..., -1])

    def forward(self, history: Encoded, known: Tensor, candidate: Encoded) -> Tensor:
        """Return (B, T) scores of candidates (T, …), which all users share, or (B, T, …).

        ``history`` is (B, L, …); a candidate sees the choices at which ``known``, (B, L) or (B, T, L), is
        True.
        """
        weight, gain = self._attention(history, known, candidate)
        return candidate.bias + (weight * gain).sum((-1, -2))

    def jackknife(self, history: Encoded, known: Tensor, candidate: Encoded) -> Tensor:
        """Return (B, T) √Σ_j (s − s_j)², with s_j the score without choice j of the history.

        A head's Σ = Σ_l a_l g_l is (Σ − a_j g_j) / (1 − a_j) without j.
        """
        weight, gain = self._attention(history, known, candidate)
        whole = (weight * gain).sum(-1, keepdim=True)
        change = (weight * (whole - gain) / (1 - weight).clamp_min(torch.finfo(weight.dtype).eps)).sum(2)
        return change.square().sum(-1).sqrt()

    def _attention(self, history: Encoded, known: Tensor, candidate: Encoded) -> tuple[Tensor, Tensor]:
        """Return weights a and gains v·r, (B, T, H, L); weights of a head and of its null key sum to 1."""
        axes = "bthd,blhd->bthl" if candidate.query.dim() == 4 else "thd,blhd->bthl"
        scale = self.null_embedding.shape[-1] ** -0.5
        key = torch.cat([self.null_embedding.expand(len(history.key), -1, -1, -1), history.key], 1)
        seen = F.pad(known if known.dim() == 3 else known[:, None], (1, 0), value=True)[:, :, None]
        logit = torch.einsum(axes, candidate.query * scale, key)
        weight = logit.masked_fill(~seen, -torch.inf).softmax(-1)[..., 1:]
        return weight, torch.einsum(axes, candidate.reply * scale, history.value)
