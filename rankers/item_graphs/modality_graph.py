"""Item graph of one modality: a mixture of a frozen and a learned graph.

Zhang et al., "Mining Latent Structures for Multimedia Recommendation" (LATTICE, MM 2021), Sec. 3.1, adopted
by MICRO.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rankers.configs import ItemGraphConfig
from rankers.item_graphs.cells import cached_neighbours, listed, neighbours, recall
from rankers.item_graphs.item_graph import edge_weights
from rankers.item_graphs.knn import Neighbours, unit
from rankers.item_graphs.learned_edges import edge_products, messages
from rankers.item_graphs.mapped_rows import by_rows
from rankers.propagation import Graph, GraphConv, row_by_row
from rankers.training.columns import Columns
from recsim_gen.core.vectors import unload


class ModalityGraph(nn.Module):
    """One modality: its raw features, their projection, and the mixture of both graphs.

    A = (1 − λ)·A(projected) + λ·A(raw). The raw graph is fixed. The projected one is rebuilt on request, once
    with a gradient to the projection, and is constant in between. Neighbour lists are one longer than the
    graphs' rows: a substitution may let the next item in.
    """

    def __init__(self, x: Tensor, config: ItemGraphConfig, lists: Mapping[str, Tensor] | None = None) -> None:
        """Find the neighbours of ``x``, or take ``lists`` of a checkpoint, as `lists` returns them."""
        super().__init__()
        self.config = config
        self.conv = GraphConv()
        self.given: Tensor  # as encoded; features of new images are compared with it
        self.register_buffer("given", x, persistent=False)
        self.raw: Tensor
        if config.raw_features == "trainable":
            self.raw = nn.Parameter(x.to(torch.float32, copy=True))
        else:  # data, not weights: not saved in checkpoints
            self.register_buffer("raw", x, persistent=False)
        self.projection = nn.Linear(x.shape[1], config.embedding_size)
        self.length = max(config.knn_k, min(config.knn_k + 1, len(x)))
        found = (
            listed(x, lists["raw"]) if lists else cached_neighbours(x, self.length, config.approximate_from)
        )
        unload(x.data_ptr())
        self._raw = found.to(torch.int32)  # kept by every modality for both graphs: half the bytes
        self._learned: Neighbours | None = None
        self._edges: tuple[Tensor, Tensor] | None = None  # learned index and weights, until they are mixed
        self._mixed: Graph | None = None
        self._made_of: tuple[int, ...] = ()  # versions of the weights that gave the learned neighbours

    def _weights(self, neighbours: Neighbours) -> Tensor:
        return edge_weights(
            neighbours, norm=self.config.item_norm, clamp=self.config.negative_cosine == "clamp"
        )

    @property
    def raw_list(self) -> Neighbours:
        """Neighbour lists of the features."""
        return self._raw.to(torch.int64)

    @property
    def raw_neighbours(self) -> Neighbours:
        """Edges of the frozen graph, int32."""
        return self._raw.first(self.config.knn_k)

    @property
    def raw_weight(self) -> Tensor:
        """Weights (n, k) of the frozen graph's edges, float64; computed when asked for."""
        return self._weights(self.raw_neighbours)

    @property
    def raw_graph(self) -> Graph:
        """The frozen graph; computed when asked for, since steps use `mixed_graph` except after a rebuild."""
        return Graph.from_neighbours(self.raw_neighbours.index, self.raw_weight)

    def projected(self, x: Tensor | None = None) -> Tensor:
        """Return the (n, d) projected features.

        Computed in float64 and rounded to float32, so that an item's row has the same bits whichever rows are
        computed with it: ties stay ties.
        """
        x = self.raw if x is None else x
        weight, bias = self.projection.weight.double(), self.projection.bias.double()
        if x.dtype == torch.float16:
            return by_rows(x, weight, bias)
        return (x.double() @ weight.T + bias).float()

    def rebuild(self) -> Tensor:
        """Recompute the neighbours of the projected features; return their weights (n, k), differentiable."""
        self._mixed = None  # its memory is free for the search
        with torch.no_grad():
            index = self._found(self.projected()).index[:, : self.config.knn_k]
        weight: Tensor = checkpoint(self._learned_weights, index, use_reentrant=False)
        self._edges = index, weight.detach()
        return weight

    def _learned_weights(self, index: Tensor) -> Tensor:
        """Return the weights (n, k) of the projected graph; tables of float64, made again going backwards."""
        rows = row_by_row(unit, self.projected())
        return self._weights(Neighbours(index, edge_products(rows, rows, index)))

    @property
    def mixed_graph(self) -> Graph:
        """Both graphs as one matrix, in which an edge of both is multiplied once; since the last rebuild.

        Made when it is first asked for, which is after the step with a gradient to the projection.
        """
        if self._edges is not None:
            (index, weight), frozen, self._edges = self._edges, self.config.frozen_weight, None
            self._mixed = Graph.from_neighbours(
                torch.cat([index, self.raw_neighbours.index], dim=1),
                torch.cat([(1 - frozen) * weight, frozen * self.raw_weight], dim=1),
            )
        assert self._mixed is not None
        return self._mixed

    def learned(self, projected: Tensor) -> Neighbours:
        """Return the neighbour lists of the ``projected`` rows."""
        return self._found(projected).to(torch.int64)

    def _found(self, projected: Tensor) -> Neighbours:
        """Return the same, int32; cached until weights change."""
        if self._learned is None or self._made_of != self._versions():
            self._made_of, self._learned = self._versions(), None  # the last one's memory is free
            found = neighbours(projected, self.length, self.config.approximate_from)
            self._learned = found.to(torch.int32)
        return self._learned

    @torch.no_grad()
    def search(self, columns: Columns) -> None:
        """Find the learned lists for the current weights together, each process those of its rows."""
        projected, self._learned, self._mixed = self.projected(), None, None
        n = len(projected)
        own = neighbours(projected, self.length, self.config.approximate_from, columns.rows(n))
        parts = own.to(torch.int32)
        self._learned = Neighbours(*(columns.together(part, n) for part in (parts.index, parts.value)))
        self._made_of = self._versions()

    def _versions(self) -> tuple[int, ...]:
        return tuple(p._version for p in (self.raw, *self.projection.parameters()))

    @torch.no_grad()
    def lists(self) -> dict[str, Tensor]:
        """Return the raw and the learned lists (n, k + 1), int32, if an index made them, else {}.

        Checkpoints hold them, since an index may find others on another machine.
        """
        if not self.approximate:
            return {}
        both = {"raw": self._raw, "learned": self._found(self.projected())}
        return {name: each.index.cpu().contiguous() for name, each in both.items()}

    @torch.no_grad()
    def take(self, lists: Mapping[str, Tensor]) -> None:
        """Use the learned list of ``lists`` for the current weights."""
        if lists:
            found = listed(self.projected(), lists["learned"])
            self._made_of, self._learned = self._versions(), found.to(torch.int32)

    @property
    def learned_neighbours(self) -> Neighbours | None:
        """Edges of the learned graph, int32; None before it is built."""
        return None if self._learned is None else self._learned.first(self.config.knn_k)

    @property
    def approximate(self) -> bool:
        """Whether the lists came from an index."""
        return 0 < self.config.approximate_from <= len(self.raw)

    @torch.no_grad()
    def recall(self) -> dict[str, float]:
        """Return the share of the true neighbours that are edges of the raw and of the learned graph."""
        learned = self._found(self.projected()).first(self.config.knn_k)
        raw = recall(self.given, self.raw_neighbours)
        unload(self.given.data_ptr())
        return {"raw": raw, "learned": recall(self.projected(), learned)}

    def forward(self, x: Tensor, fresh: Tensor | None, rows: Tensor | None = None) -> Tensor:
        """Return ``rows`` (None: all) of A^L·x for item embeddings x (n, d).

        ``fresh`` weights carry the projection's gradient.
        """
        for left in reversed(range(self.config.n_item_layers)):
            x = self.step(x, fresh, None if left else rows)
        return x

    def step(self, x: Tensor, fresh: Tensor | None, rows: Tensor | None = None) -> Tensor:
        """Return ``rows`` (None: all) of A·x, (rows, d)."""
        if fresh is None:
            return self.conv(x, self.mixed_graph if rows is None else self.mixed_graph.of_rows(rows))
        assert self.learned_neighbours is not None
        frozen = self.config.frozen_weight
        learned = messages(fresh.float(), x, self.learned_neighbours.index)
        mixed = (1 - frozen) * learned + frozen * self.conv(x, self.raw_graph)
        return mixed if rows is None else mixed[rows]
