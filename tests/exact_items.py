"""Random item-graph models, without training: what `substitute` and `rebuild` are compared on."""

from __future__ import annotations

from typing import Any

import torch

from rankers.configs import MICROConfig
from rankers.item_graphs.modality_graph import ModalityGraph
from rankers.item_graphs.substitution import Attention, ExactItems, Modality


def attention(d: int, generator: torch.Generator) -> Attention:
    """A query like MICRO's, with random weights."""
    inner = torch.randn(d, d, generator=generator, dtype=torch.float64) / d**0.5
    outer = torch.randn(d, 1, generator=generator, dtype=torch.float64)
    return Attention(inner.T, torch.zeros(d, dtype=torch.float64), outer)


def random_items(
    features: dict[str, torch.Tensor], *, seed: int = 0, d: int = 16, one_view: bool = False, **settings: Any
) -> ExactItems:
    """MICRO's (or, with ``one_view``, LATTICE's) arrangement over random embeddings and projections."""
    generator = torch.Generator().manual_seed(seed)
    config = MICROConfig(embedding_size=d, **settings)
    n = len(next(iter(features.values())))
    modalities = {}
    for name, x in features.items():
        graph = ModalityGraph(x, config)
        graph.projection.weight.data = torch.randn(d, x.shape[1], generator=generator)
        graph.projection.bias.data = torch.randn(d, generator=generator) / 10
        if config.raw_features == "trainable":  # as if training had moved them a little
            graph.raw.data += torch.randn(x.shape, generator=generator) / 100
        modalities[name] = Modality.of(graph)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    collaborative = torch.randn(n, d, generator=generator, dtype=torch.float64) / 2
    if one_view:
        shares = torch.rand(len(features), generator=generator).softmax(0).tolist()
        views: tuple[dict[str, float], ...] = (dict(zip(features, shares, strict=True)),)
        return ExactItems(collaborative, x, config.n_item_layers, modalities, views, None)
    views = tuple({name: 1.0} for name in features)
    return ExactItems(collaborative, x, config.n_item_layers, modalities, views, attention(d, generator))
