"""Settings of the rankers; imports no heavy package, so that commands can list and check them quickly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from rankers.search import OneOf, Range, Space
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean, with_settings

LARGE_LOG = 50_000
"""Number of training choices from which a batch has 8192: half the time an epoch, no worse on validation."""

STEPS = 32
"""Maximal steps per epoch. Each propagates over all items: more steps for more items make time quadratic."""

Sampling = Literal["interaction", "user", "user-repeated"]


@dataclass(frozen=True)
class Training:
    """Settings of the training, under RecBole's names; ``search_space`` holds the ranges of a search.

    ``sampling``: ``interaction`` uses each choice once per epoch; ``user`` draws distinct users for each
    batch, and one choice of each; ``user-repeated`` draws users with replacement if the batch is larger than
    their number.
    """

    epochs: int = 1000  # maximum; validation may stop earlier
    learning_rate: float = 1e-2  # initial learning rate of Adam
    learning_rate_decay: float = 0.96  # factor of the learning rate per 50 epochs
    train_batch_size: int = 0  # choices per batch; 0: 4096, or 8192 of 50,000 or more, at least 1/32 of all
    eval_step: int = 5  # epochs between validations
    stopping_step: int = 5  # validations without improvement that are tolerated; published: 10
    valid_metric: Literal["Recall@10", "Recall@20", "NDCG@10", "NDCG@20"] = "Recall@20"  # for early stopping
    valid_users: int = 10_000  # maximal number of users in a validation, always the same; 0: all
    sampling: Sampling = "interaction"  # what a batch draws: choices, users, or users as published

    def __post_init__(self) -> None:
        for name in ("epochs", "eval_step", "stopping_step"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("train_batch_size", "valid_users"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name} must be at least 0, got {getattr(self, name)}")

    def for_log(self, n_choices: int) -> Training:
        """Return these settings with the batch size for a training log of ``n_choices``."""
        return replace(self, train_batch_size=batch_size(self.train_batch_size, n_choices))


def batch_size(asked: int, n_choices: int) -> int:
    """Return ``asked``, or if it is 0 the default for a training log of ``n_choices``."""
    return asked or max(8192 if n_choices >= LARGE_LOG else 4096, -(-n_choices // STEPS))


UserItemNorm = Literal["symmetric", "row-self-loop"]


Norm = Literal["symmetric", "row"]


PUBLISHED_CODE: Mapping[str, Any] = MappingProxyType(
    {
        "user_item_norm": "row-self-loop",
        "raw_features": "trainable",
        "negative_cosine": "keep",
        "sampling": "user-repeated",
        "rebuild_every": 1,
        "approximate_from": 0,
        "valid_users": 0,
        "stopping_step": 10,
        "learning_rate": 5e-4,
        "train_batch_size": 1024,
    }
)
"""Settings in which the published code of LATTICE and of MICRO differs from the defaults."""


@dataclass(frozen=True)
class ItemGraphConfig(Training):
    """Settings of a model with an item graph; quoted values are those of the published code."""

    embedding_size: int = 64  # d: size of the embedding of a user or item
    n_layers: int = 2  # user–item convolutions, averaged over layers
    n_item_layers: int = 1  # convolutions over the item graph
    knn_k: int = 10  # neighbours of an item, including itself
    frozen_weight: float = 0.9  # λ, weight of the graph from raw features
    rebuild_every: int = 5  # epochs between rebuilds of the learned graphs; published: 1
    reg_weight: float = 1e-5  # weight of ½Σx² of the batch's final embeddings, divided by the batch size
    user_item_norm: UserItemNorm = "symmetric"  # symmetric: LightGCN's; row-self-loop: D⁻¹(A + I), published
    item_norm: Norm = "symmetric"  # normalisation of the item graph's edges, by row degrees
    raw_features: Literal["frozen", "trainable"] = "frozen"  # frozen: features of a new image fit the table
    negative_cosine: Literal["clamp", "keep"] = "clamp"  # negative edge weights; keep can give NaN
    approximate_from: int = 50_000  # items from which an index finds neighbours, with recall 0.99; 0: never

    search_space: ClassVar[Space] = {
        "learning_rate": Range(1e-3, 3e-2, log=True),
        "reg_weight": Range(1e-6, 1e-1, log=True),
        "n_layers": Range(1, 3),
        "knn_k": Range(5, 20),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("knn_k", "n_item_layers", "rebuild_every"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.approximate_from < 0:
            raise SettingError(f"approximate_from must be at least 0, got {self.approximate_from}")
        if not 0 <= self.frozen_weight <= 1:
            raise SettingError(f"frozen_weight must be in [0, 1], got {self.frozen_weight}")


@dataclass(frozen=True)
class MICROConfig(ItemGraphConfig):
    """Settings of MICRO; quoted values are those of the published code."""

    temperature: float = 0.5  # τ of the contrastive loss
    contrastive_weight: float = 0.03  # weight of the contrastive loss
    contrastive_anchors: int = 64  # items that a step averages over; 0: all, as published, O(N²) per step
    contrastive_every: int = 4  # steps between contrastive losses, each multiplied by it; published: 1

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "published-code": {**PUBLISHED_CODE, "contrastive_anchors": 0, "contrastive_every": 1},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.contrastive_every < 1:
            raise SettingError(f"contrastive_every must be at least 1, got {self.contrastive_every}")


@dataclass(frozen=True)
class LATTICEConfig(ItemGraphConfig):
    """Settings of LATTICE; values are those of the published code, which MICRO took over.

    ``published-code`` does not change the differences listed in `rankers.lattice`.
    """

    epochs: int = 200  # maximum; validation may stop earlier

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "published-code": PUBLISHED_CODE,
    }


@dataclass(frozen=True)
class VBPRConfig(Training):
    """Settings of VBPR. Sizes as in MMRec: 64 for each part, not 64 split among them."""

    embedding_size: int = 64  # size of γ of a user or item
    feature_size: int = 64  # size of θ, to which a modality is projected
    learning_rate: float = 2e-3  # 1e-2 is worse on Boutique's validation
    reg_weight: float = 1e-2  # weight of ½Σx² of the batch's rows, divided by the batch size; not of W and β

    search_space: ClassVar[Space] = {
        "learning_rate": Range(5e-4, 1e-2, log=True),
        "reg_weight": Range(1e-4, 1e-1, log=True),
        "feature_size": OneOf((32, 64, 128)),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding_size < 1 or self.feature_size < 1:
            raise SettingError(
                "embedding_size and feature_size must be at least 1, got "
                f"{self.embedding_size} and {self.feature_size}"
            )


@dataclass(frozen=True)
class TasteConfig:
    """Settings of the taste ranker, whose solution is in closed form."""

    width: int = 64  # d: maximal number of whitened coordinates per modality
    noise: float = 0.0  # σ² of a choice, in units of a coordinate's variance; 0: selected on validation
    smoothing: float = 3.0  # prior choices of every user in each category, on average
    clusters: int = 20  # clusters of text features, used as categories if the catalogue has none

    says_how_sure: ClassVar[bool] = True  # the ranker has ``appraise``
    search_space: ClassVar[Space] = {"width": Range(12, 48), "smoothing": Range(0.5, 10.0, log=True)}

    def __post_init__(self) -> None:
        for name in ("width", "clusters"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.noise < 0 or self.smoothing <= 0:
            got = f"{self.noise} and {self.smoothing}"
            raise SettingError(f"noise must be at least 0 and smoothing above 0, got {got}")


@dataclass(frozen=True)
class DINConfig(Training):
    """Settings of DIN; sizes are ours, since the paper uses item ids."""

    embedding_size: int = 64  # total size of the heads, for each of query, key, value and reply
    heads: int = 2  # attention heads; must divide embedding_size
    hidden_size: int = 128  # width of the item encoder's hidden layer
    width: int = 24  # maximal number of whitened coordinates per modality
    clusters: int = 20  # clusters of text features, used as categories if the catalogue has none
    dropout: float = 0.2  # dropout of the item encoder
    history_dropout: float = 0.2  # share of a history's choices that a step leaves out
    alone: float = 0.5  # share of steps that use one modality only, as a new image is judged
    history: int = 50  # maximal number of a user's choices in a step; all when scoring
    negatives: int = 128  # items that the choices of a batch are compared with
    weight_decay: float = 1e-4  # L2 regularisation of Adam
    epochs: int = 8  # maximal number, each of as many users as there are choices; validation may stop earlier
    learning_rate: float = 2e-3  # initial learning rate of Adam
    learning_rate_decay: float = 1e-9  # factor of the learning rate per 50 epochs: a third less per epoch
    train_batch_size: int = 32  # users per batch, with all of their choices
    eval_step: int = 1  # epochs between validations
    stopping_step: int = 3  # validations without improvement that are tolerated
    valid_metric: Literal["Recall@10", "Recall@20", "NDCG@10", "NDCG@20"] = "NDCG@20"  # finer than recall
    sampling: Sampling = "user"  # users of a batch, each once

    says_how_sure: ClassVar[bool] = True  # the ranker has ``appraise``
    search_space: ClassVar[Space] = {
        "learning_rate": Range(5e-4, 5e-3, log=True),
        "dropout": Range(0.1, 0.5),
        "history_dropout": Range(0.0, 0.5),
        "weight_decay": Range(1e-5, 1e-2, log=True),
        "width": Range(12, 48),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("embedding_size", "heads", "hidden_size", "width", "clusters", "history", "negatives"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.embedding_size % self.heads:
            got = f"{self.embedding_size} and {self.heads}"
            raise SettingError(f"embedding_size must be a multiple of heads, got {got}")
        for name in ("dropout", "history_dropout", "alone"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} must be in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True)
class PopularityConfig:
    """No settings."""


@dataclass(frozen=True)
class BPRConfig(Training):
    """Settings of matrix factorisation (Rendle et al., UAI 2009)."""

    embedding_size: int = 64  # d: size of the embedding of a user or item

    search_space: ClassVar[Space] = {
        "learning_rate": Range(5e-4, 3e-2, log=True),
        "embedding_size": OneOf((16, 32, 64, 128)),
    }


@dataclass(frozen=True)
class LightGCNConfig(Training):
    """Settings of LightGCN (He et al., SIGIR 2020)."""

    embedding_size: int = 64  # d: size of the embedding of a user or item
    n_layers: int = 2  # convolutions, averaged over layers
    reg_weight: float = 1e-5  # weight of the norms of the batch's embeddings
    require_pow: bool = True  # whether the norms are squared

    search_space: ClassVar[Space] = {
        "learning_rate": Range(1e-3, 3e-2, log=True),
        "reg_weight": Range(1e-6, 1e-1, log=True),
        "n_layers": Range(1, 4),
    }


def config_from(config_class: type[Any], settings: Mapping[str, Any]) -> Any:
    """Return a config with ``settings``, which override the values of the recipe ``recipe`` among them.

    Raises SettingError for an unknown recipe or setting.
    """
    recipes = getattr(config_class, "recipes", {"default": {}})
    recipe = settings.get("recipe", "default")
    if recipe not in recipes:
        raise SettingError(
            f"unknown recipe {recipe!r} of {config_class.__name__}.{did_you_mean(recipe, recipes)}"
        )
    given = {k: v for k, v in settings.items() if k != "recipe"}
    return with_settings(config_class, {**recipes[recipe], **given})
