"""Base of MICRO and LATTICE: LightGCN plus item vectors from item graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rankers.configs import ItemGraphConfig
from rankers.counterfactual import Changed
from rankers.fold_in import propagate
from rankers.item_graphs.modality_graph import ModalityGraph
from rankers.item_graphs.substitution import Attention, ExactItems, Modality
from rankers.learned_ranker import LearnedRanker, Lists
from rankers.propagation import (
    Graph,
    GraphConv,
    Near,
    layers,
    mean_of_layers,
    rows_of_mean,
    user_item_graph,
)
from rankers.table_model import TableModel
from rankers.training.data import TrainingData
from rankers.training.model import drawn_apart
from rankers.training.pairs import Batch
from recsim_gen.core.types import Catalog, Interactions, Scope


class ItemGraphModel(TableModel):
    """Final item = LightGCN item + h/‖h‖; subclasses compute h (n, d) from the modalities' graphs."""

    settings: ItemGraphConfig

    def __init__(self, settings: ItemGraphConfig, data: TrainingData) -> None:
        super().__init__(settings, data)
        self.user_embedding = nn.Embedding(self.n_users, self.settings.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.settings.embedding_size)
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        with drawn_apart():
            graphs = {m: ModalityGraph(x, settings, _of(m, data.lists)) for m, x in data.features.items()}
            self.modalities = nn.ModuleDict(graphs)
        self._make_fusion()
        self.conv = GraphConv()
        norm = settings.user_item_norm
        self.user_item = user_item_graph(data.user, data.item, self.n_users, self.n_items, norm)
        self._stale, self._epoch = True, 0

    def _make_fusion(self) -> None:
        """Create the parameters of the fusion; called after ``modalities`` is set."""
        raise NotImplementedError

    def tables(self) -> list[nn.Embedding]:
        """Return both embeddings."""
        return [self.user_embedding, self.item_embedding]

    def exact_views(self) -> tuple[dict[str, float], ...]:
        """Return the modalities and their shares, for each view that is convolved separately."""
        raise NotImplementedError

    def exact_attention(self) -> Attention | None:
        """Return the attention over the views in float64; None if there is one view."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> ItemGraphModel:
        """Mark the learned graphs for a rebuild, every ``rebuild_every`` epochs and at every evaluation."""
        self._epoch += mode
        every = self.settings.rebuild_every
        self._stale = self._stale or not mode or self._epoch % every == 1 % every
        super().train(mode)
        return self

    def graphs(self) -> dict[str, tuple[ModalityGraph, Tensor | None]]:
        """Return each modality's graph, rebuilt if stale, and the weights that carry a gradient (or None)."""
        out: dict[str, tuple[ModalityGraph, Tensor | None]] = {}
        for name, graph in self.modalities.items():
            assert isinstance(graph, ModalityGraph)
            if self._stale and self.columns.shared:
                graph.search(self.columns)
            fresh = graph.rebuild() if self._stale else None
            out[name] = graph, fresh if torch.is_grad_enabled() else None
        self._stale = False
        return out

    def lists(self) -> dict[str, Tensor]:
        """Return the lists of an index by ``modality.raw`` and ``modality.learned``."""
        return {
            f"{m}.{name}": index
            for m, graph in self.modalities.items()
            if isinstance(graph, ModalityGraph)
            for name, index in graph.lists().items()
        }

    def take(self, lists: Mapping[str, Tensor]) -> None:
        """Use the learned lists of a checkpoint with its weights."""
        for m, graph in self.modalities.items():
            assert isinstance(graph, ModalityGraph)
            graph.take(_of(m, lists))

    def neighbour_recall(self) -> dict[str, float]:
        """Return the recall of each modality's raw and learned neighbour lists, if an index made them."""
        return {
            f"{name} {lists}": share
            for name, graph in self.modalities.items()
            if isinstance(graph, ModalityGraph) and graph.approximate
            for lists, share in graph.recall().items()
        }

    def collaborative(self) -> list[Tensor]:
        """Return LightGCN's layers over users, then items: n_layers + 1 of (users + items, d)."""
        return layers(self.conv, self._first_layer(), self.user_item, self.settings.n_layers)

    def _first_layer(self) -> Tensor:
        return torch.cat([self.user_embedding.weight, self.item_embedding.weight])

    def latent(self, items: Tensor | None = None) -> Tensor:
        """Return what is added to ``items`` (None: all): h/‖h‖, (items, d), differentiable; own columns."""
        raise NotImplementedError

    def _columns_of(self, rows: Tensor, items: Tensor | None) -> Tensor:
        """Return this process's columns of a table of ``items`` (None: all), from its rows of it."""
        return self.columns.by_columns(rows, self.n_items if items is None else len(items))

    @torch.no_grad()
    def forward(self) -> tuple[Tensor, Tensor]:
        """Return final users (U, d) and final items (n, d) = LightGCN item + h/‖h‖, without a gradient."""
        h = self.latent()
        users, items = mean_of_layers(*self._propagation())
        return self.whole(users, items + h)

    def near(self, batch: Batch) -> Near:
        """Return the rows that a batch's step needs."""
        return Near.of(batch, self.user_item, self.n_users, self.settings.embedding_size)

    def rows(self, near: Near, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a batch's rows of the final users and items; ``h`` is that of the items of ``near``."""
        return rows_of_mean(*self._propagation(), near, h)

    def _propagation(self) -> tuple[Tensor, Tensor, Graph, int]:
        embeddings = self.user_embedding.weight, self.item_embedding.weight
        return *embeddings, self.user_item, self.settings.n_layers


def _of(modality: str, lists: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the lists of one modality, by ``raw`` and ``learned``."""
    names = {name: f"{modality}.{name}" for name in ("raw", "learned")}
    return {name: lists[key] for name, key in names.items() if key in lists}


class ItemGraphRanker(LearnedRanker):
    """Base of rankers with item graphs; new users are folded in by the model's propagation."""

    needs_features = True
    training_version = 7
    model: ItemGraphModel
    _exact: ExactItems | None = None

    def _build(self, catalog: Catalog, interactions: Interactions, lists: Lists) -> None:
        super()._build(catalog, interactions, lists)
        self._exact = None

    def _neighbour_recall(self) -> dict[str, float]:
        return self.model.neighbour_recall()

    @property
    @torch.no_grad()
    def exact(self) -> ExactItems:
        """The trained items in float64, from which counterfactuals start; computed once."""
        self._fitted()
        if self._exact is None:
            model = self.model
            items = mean_of_layers(*model._propagation())[1].double()
            modalities = {
                name: Modality.of(graph)
                for name, graph in model.modalities.items()
                if isinstance(graph, ModalityGraph)
            }
            x, depth = model.item_embedding.weight.detach().double(), self.config.n_item_layers
            views, attention = model.exact_views(), model.exact_attention()
            self._exact = ExactItems(items, x, depth, modalities, views, attention)
        return self._exact

    def _exact_tables(self) -> tuple[Tensor, Tensor]:
        items = self.exact.table
        return self._tables()[0].double(), items

    def _changed(self, items: Tensor, features: Mapping[str, Tensor], scope: Scope) -> Changed:
        return self.exact.changed(items, features, own_row_only=scope == "item")

    def _rebuilt(self, item: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        return self.exact.rebuilt(item, features).table

    def _new_users(self, histories: Sequence[np.ndarray]) -> Tensor:
        item_layers = [layer[self.model.n_users :] for layer in self.model.collaborative()]
        return propagate(histories, item_layers, self._train_degree, self.config.user_item_norm)
