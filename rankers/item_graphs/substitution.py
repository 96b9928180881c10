"""Counterfactual items of a model with item graphs: by exact increments, and the slow reference.

After training, the graphs and their convolutions are stored in float64 (`ExactItems`). A new feature of item
i then costs one product with the catalogue (O(n·d)) and the affected rows: the item's own list, the lists it
enters or leaves, the degrees that change, and all rows that depend on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from rankers.counterfactual import Changed
from rankers.item_graphs.graph_change import GraphChange, GraphState
from rankers.item_graphs.graph_propagation import Mixture, Moved
from rankers.item_graphs.knn import Directions, Neighbours, directions, nearest
from rankers.item_graphs.modality_graph import ModalityGraph
from rankers.sparse_rows import positions, union
from recsim_gen.core.errors import DataError

ROWS = 1 << 14  # items at a time


@dataclass(frozen=True)
class Attention:
    """Logits of a view's rows x (M, d): ``query``·tanh(``weight``·x + ``bias``), up to a constant.

    Computed by tanh z = 2σ(2z) − 1, since torch's float64 sigmoid is seven times as fast as its tanh.
    """

    weight: Tensor
    bias: Tensor
    query: Tensor

    def inner(self, x: Tensor) -> Tensor:
        """Return 2·``weight``·x, (M, d): linear in x."""
        return x @ (2 * self.weight.T)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits (M, 1) of ``x``."""
        return self.inner(x).add_(2 * self.bias).sigmoid_() @ (2 * self.query)


@dataclass(frozen=True)
class Modality:
    """The two graphs of one modality; index 0 is the learned one, 1 the raw one, as in `ModalityGraph`."""

    graph: ModalityGraph
    states: tuple[GraphState, GraphState]

    @classmethod
    def of(cls, graph: ModalityGraph) -> Modality:
        """Return the graphs as trained, with their lists; raise DataError if lists contain every item."""
        k, n, projected = graph.config.knn_k, len(graph.given), graph.projected()
        if n <= k:
            raise DataError(f"a substitution needs at least knn_k + 1 = {k + 1} items, got {n}")
        return cls(graph, _states(graph, projected, graph.given, graph.learned(projected), graph.raw_list))

    def units(self, items: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the `directions` (B, ·) of ``x`` in each graph.

        If raw features were trained, the item's learned drift is added to the new features. If the
        catalogue's features are float16, new ones are rounded likewise, so that an item's own image changes
        nothing.
        """
        x = x.to(self.graph.given.dtype).float()
        seen = self.graph.raw[items] + (x - self.graph.given[items])
        return directions(self.graph.projected(seen)), directions(x)

    def rebuilt(self, item: Tensor, x: Tensor) -> Modality:
        """Return both graphs rebuilt with ``x`` (1, d) as the feature of ``item`` (1,).

        From scratch; lists from an index change only for the item (`GraphState.relisted`).
        """
        if self.graph.approximate:
            (learned, raw), (new_learned, new_raw) = self.states, self.units(item, x)
            return Modality(self.graph, (learned.relisted(item, new_learned), raw.relisted(item, new_raw)))
        seen, given = (
            rows.detach().to(torch.float32, copy=True) for rows in (self.graph.raw, self.graph.given)
        )
        x = x.to(self.graph.given.dtype).float()
        seen[item] += x - given[item]
        given[item] = x
        projected, k = self.graph.projected(seen), self.graph.config.knn_k + 1
        lists = nearest(projected, k), nearest(given, k)
        return Modality(self.graph, _states(self.graph, projected, given, *lists))


def _states(
    graph: ModalityGraph, projected: Tensor, given: Tensor, learned: Neighbours, raw: Neighbours
) -> tuple[GraphState, GraphState]:
    norm, clamp = graph.config.item_norm, graph.config.negative_cosine == "clamp"
    seen = GraphState(Directions.of(projected), learned, norm, clamp, graph.approximate)
    return seen, GraphState(Directions.of(given), raw, norm, clamp, graph.approximate)


@dataclass(frozen=True)
class ExactItems:
    """All parts of the items' final rows.

    Parameters
    ----------
    collaborative
        (n, d) LightGCN's items.
    x
        (n, d) embeddings that the graphs convolve.
    depth
        Number of convolutions.
    modalities
        The graphs of each modality.
    views
        For each view that is convolved separately, its modalities and their shares.
    attention
        Weighs the views of an item: h = Σ_v softmax_v(attention(h_v))·h_v; None: one view.
    """

    collaborative: Tensor
    x: Tensor
    depth: int
    modalities: Mapping[str, Modality]
    views: tuple[Mapping[str, float], ...]
    attention: Attention | None

    @cached_property
    def query(self) -> Attention | None:
        """``attention`` if there are several views, else None."""
        return self.attention if len(self.views) > 1 else None

    @cached_property
    def mixtures(self) -> tuple[Mixture, ...]:
        """One graph per view, Σ_m share_m·((1 − λ)·learned_m + λ·raw_m), over x."""
        inner, out = None if self.query is None else self.query.inner, []
        for view in self.views:
            shares: list[float] = []
            graphs: list[GraphState] = []
            for name, share in view.items():
                frozen = self.modalities[name].graph.config.frozen_weight
                shares += [share * (1 - frozen), share * frozen]
                graphs += self.modalities[name].states
            out.append(Mixture(tuple(shares), tuple(graphs), self.x, self.depth, inner))
        return tuple(out)

    def _logits(self, h: Tensor) -> Tensor:
        """Return the logits (M, 1) of rows of a view's ``h`` (M, d)."""
        return h.new_zeros(len(h), 1) if self.query is None else self.query(h)

    @cached_property
    def logits(self) -> list[Tensor]:
        """Each view's logits (n, 1)."""
        return [torch.cat([self._logits(m.rows(rows)) for rows in self._blocks]) for m in self.mixtures]

    @property
    def _blocks(self) -> tuple[Tensor, ...]:
        return torch.arange(len(self.x), device=self.x.device).split(ROWS)

    def _parts(self, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return each view's h (M, d) and logits (M, 1) of some rows."""
        return [(m.rows(rows), asked[rows]) for m, asked in zip(self.mixtures, self.logits, strict=True)]

    @cached_property
    def table(self) -> Tensor:
        """(n, d) final items, float64."""
        return torch.cat([self._final(self.collaborative[at], self._parts(at)) for at in self._blocks])

    @staticmethod
    def _fused(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the fused h (M, d)."""
        weight = torch.stack([asked for _, asked in parts]).softmax(0)  # ten times as slow along rows
        h = weight[0] * parts[0][0]
        for v in range(1, len(parts)):
            h.addcmul_(weight[v], parts[v][0])
        return h

    def _final(self, collaborative: Tensor, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Add h/‖h‖ to ``collaborative`` (M, d) in place."""
        h = self._fused(parts)
        return collaborative.addcdiv_(h, h.norm(dim=1, keepdim=True).clamp_min_(1e-12))

    @cached_property
    def lengths(self) -> tuple[Tensor, Tensor]:
        """(n,) norms of each item's h, and of the longest of its views."""
        pairs = []
        for parts in map(self._parts, self._blocks):
            views = torch.stack([h.norm(dim=1) for h, _ in parts])
            pairs.append((self._fused(parts).norm(dim=1), views.amax(0)))
        fused, longest = zip(*pairs, strict=True)
        return torch.cat(fused), torch.cat(longest)

    def _reach(self, key: Tensor, moved: Sequence[Moved]) -> Tensor:
        """Return (M,) bounds on the norm of each final row's change.

        By |h'/|h'| − h/|h|| ≤ 2·|h' − h|/|h|. If logits change by at most α, the weights change by α in
        total, so that |h' − h| ≤ δ + α·(longest view + δ) where no view changes by more than δ.
        """
        step, more = self.x.new_zeros(len(key)), self.x.new_zeros(len(key))
        slope = 0.0 if self.query is None else float(self.query.query.norm()) / 2  # of a sigmoid: 1/4, twice
        for view in moved:
            place = slice(None) if view.key is key else torch.searchsorted(key, view.key)
            step[place] = torch.maximum(step[place], view.reach[:, 0])
            more[place] = torch.maximum(more[place], slope * view.reach[:, 1])
        length, longest = (x.index_select(0, key % len(self.x)) for x in self.lengths)
        return (2 * (step + more * (longest + step)) / length).clamp_max_(2.0)

    def changed(self, items: Tensor, features: Mapping[str, Tensor], *, own_row_only: bool) -> Changed:
        """Return the final rows that change if ``items`` (B,) have these features (B, d), each alone."""
        n = len(self.x)
        changes: dict[str, tuple[GraphChange, ...]] = {}
        for name, x in features.items():
            modality = self.modalities[name]
            changes[name] = tuple(
                state.change(items, new, own_row_only)
                for state, new in zip(modality.states, modality.units(items, x), strict=True)
            )
        own = torch.arange(len(items), device=items.device) * n + items
        moved = []
        for mixture, view in zip(self.mixtures, self.views, strict=True):
            given = [change for name in view for change in changes.get(name, (None, None))]
            moved.append(mixture.changed(given, own if own_row_only else None))
        key = union([view.key for view in moved])
        gap = torch.stack([change.gap for pair in changes.values() for change in pair]).amin(0)
        return Changed(key, self._reach(key, moved), partial(self._rows, key, moved), gap)

    def _rows(self, keys: Tensor, moved: Sequence[Moved], place: Tensor) -> Tensor:
        """Return the final rows at positions ``place`` of the keys."""
        key = keys.index_select(0, place)
        item, parts = key % len(self.x), []
        for view, (h, asked) in zip(moved, self._parts(item), strict=True):
            at = torch.searchsorted(view.key, key).clamp_max_(max(0, len(view.key) - 1))
            there = positions(view.key[at] == key) if len(view.key) else at[:0]
            new = view.rows(at[there])
            parts.append((h.index_copy_(0, there, new), asked.index_copy_(0, there, self._logits(new))))
        return self._final(self.collaborative.index_select(0, item), parts)

    def rebuilt(self, item: Tensor, features: Mapping[str, Tensor]) -> ExactItems:
        """Return the items with all graphs of the given modalities rebuilt: the slow reference, O(n²·d)."""
        new = {name: self.modalities[name].rebuilt(item, x) for name, x in features.items()}
        return replace(self, modalities={**self.modalities, **new})
