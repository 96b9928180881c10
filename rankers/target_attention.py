"""Items as their features say, and a history that attends to a candidate: the network of `rankers.din`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rankers.training.model import drawn_apart

ROUNDING = 1e-5  # singular values below this share of the largest are rounding


class Encoded(NamedTuple):
    """Items as the attention reads them: four (…, H, d) tensors, and a bias (…)."""

    query: Tensor
    key: Tensor
    value: Tensor
    reply: Tensor
    bias: Tensor

    def at(self, where: Any) -> Encoded:
        """The items of these rows."""
        return Encoded(*(part[where] for part in self))


class Look(nn.Module):
    """One modality: features of length 1 to whitened coordinates, and those to the items' vectors.

    The whitening is made of the catalogue ``x`` (n, D) and kept with the weights: ``width`` coordinates of
    unit variance at most, those that vary most.
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
        """(B, width) of features (B, D)."""
        return (F.normalize(x) - self.mean) @ self.whitening


class TargetAttention(nn.Module):
    """Encodes items and scores candidates by how a history bears on them.

    Parameters
    ----------
    features
        {modality: (n, D)} of the catalogue.
    category
        (n,) codes 0…C−1.
    size, heads, hidden, width
        Numbers that the H heads share; of the layer between; coordinates of a modality.
    dropout
        Of vectors and of the hidden layer.
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
        """Each modality's part."""
        return {m: look for m, look in self.modalities.items() if isinstance(look, Look)}

    def encode(
        self, rows: Tensor, *, only: Sequence[str] = (), instead: Mapping[str, Tensor] | None = None
    ) -> Encoded:
        """Items ``rows`` (…), by the modalities ``only`` (none: all).

        ``instead`` {modality: (…, D)}: features that these items are taken to have.
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
        """(B, T) scores of candidates (T, …), the same for all, or (B, T, …).

        ``history`` (B, L, …), of which a candidate sees those that are ``known`` (B, L), or (B, T, L).
        """
        weight, gain = self._attention(history, known, candidate)
        return candidate.bias + (weight * gain).sum((-1, -2))

    def jackknife(self, history: Encoded, known: Tensor, candidate: Encoded) -> Tensor:
        """(B, T) √Σ_j (s − s_j)², s_j being the score without choice j of the history.

        A head's Σ_j a_j g_j is (Σ − a_j g_j) / (1 − a_j) without j.
        """
        weight, gain = self._attention(history, known, candidate)
        whole = (weight * gain).sum(-1, keepdim=True)
        change = (weight * (whole - gain) / (1 - weight).clamp_min(torch.finfo(weight.dtype).eps)).sum(2)
        return change.square().sum(-1).sqrt()

    def _attention(self, history: Encoded, known: Tensor, candidate: Encoded) -> tuple[Tensor, Tensor]:
        """Weights a and gains v·r, both (B, T, H, L); the weights of a head sum to 1 less nothing's."""
        axes = "bthd,blhd->bthl" if candidate.query.dim() == 4 else "thd,blhd->bthl"
        scale = self.null_embedding.shape[-1] ** -0.5
        key = torch.cat([self.null_embedding.expand(len(history.key), -1, -1, -1), history.key], 1)
        seen = F.pad(known if known.dim() == 3 else known[:, None], (1, 0), value=True)[:, :, None]
        logit = torch.einsum(axes, candidate.query * scale, key)
        weight = logit.masked_fill(~seen, -torch.inf).softmax(-1)[..., 1:]
        return weight, torch.einsum(axes, candidate.reply * scale, history.value)
