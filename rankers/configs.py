"""Settings of every ranker; nothing heavy is imported, so that a command can list and check them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from rankers.search import OneOf, Range, Space
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean, with_settings

LARGE_LOG = 50_000
"""Training choices from which steps are of 8192: half the time an epoch, and no worse on validation."""

STEPS = 32
"""Steps of an epoch at most. Each passes over all items: more steps for more items make time quadratic."""

Sampling = Literal["interaction", "user", "user-repeated"]


@dataclass(frozen=True)
class Training:
    """How a model is trained, under RecBole's names; ``search_space`` is what a search draws from.

    ``sampling``: ``interaction`` takes each choice once an epoch; ``user`` draws the users of a step, each
    once, and a choice of each; ``user-repeated`` draws them repeatedly where a step has more than there are.
    """

    epochs: int = 1000  # at most; validation stops earlier
    learning_rate: float = 1e-2  # of Adam, at the start
    learning_rate_decay: float = 0.96  # factor of the learning rate per 50 epochs
    train_batch_size: int = 0  # choices a step; 0: 4096, 8192 of 50,000 or more, at least a 32nd of all
    eval_step: int = 5  # epochs between validations
    stopping_step: int = 5  # validations without improvement; published: 10
    valid_metric: Literal["Recall@10", "Recall@20", "NDCG@10", "NDCG@20"] = "Recall@20"  # stops the training
    valid_users: int = 10_000  # people that a validation asks at most, always the same; 0: all
    sampling: Sampling = "interaction"  # what a step draws: choices, users, or users as published

    def __post_init__(self) -> None:
        for name in ("epochs", "eval_step", "stopping_step"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("train_batch_size", "valid_users"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name} must be at least 0, got {getattr(self, name)}")

    def for_log(self, n_choices: int) -> Training:
        """These settings with the batch size that a training log of ``n_choices`` is learned with."""
        return replace(self, train_batch_size=batch_size(self.train_batch_size, n_choices))


def batch_size(asked: int, n_choices: int) -> int:
    """``asked``, or where that is 0 what a training log of ``n_choices`` is learned with."""
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
"""What the published code of LATTICE and of MICRO does otherwise."""


@dataclass(frozen=True)
class ItemGraphConfig(Training):
    """Settings of a model with an item graph; values quoted are those of the published code."""

    embedding_size: int = 64  # d: numbers a user or item is
    n_layers: int = 2  # user–item convolutions, mean over layers
    n_item_layers: int = 1  # convolutions over the item graph
    knn_k: int = 10  # neighbours of an item, the item itself included
    frozen_weight: float = 0.9  # λ, of the graph from raw features
    rebuild_every: int = 5  # epochs between rebuilds of the learned graphs; published: 1
    reg_weight: float = 1e-5  # ½Σx² of the batch's final embeddings, divided by the batch size
    user_item_norm: UserItemNorm = "symmetric"  # symmetric: LightGCN's; row-self-loop: D⁻¹(A + I), published
    item_norm: Norm = "symmetric"  # how edges of the item graph are scaled, by row degrees
    raw_features: Literal["frozen", "trainable"] = "frozen"  # frozen: features of a fresh image fit the table
    negative_cosine: Literal["clamp", "keep"] = "clamp"  # as edge weights; kept, they can give NaN
    approximate_from: int = 50_000  # items from which an index finds neighbours, 0.99 of them; 0: never

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
    """Settings; values quoted are those of the published code."""

    temperature: float = 0.5  # τ, of the contrastive term
    contrastive_weight: float = 0.03  # of the contrastive term in the loss
    contrastive_anchors: int = 64  # items a step averages over; 0 = all, as published: O(N²) a step
    contrastive_every: int = 4  # steps between two that hold the term, as many times as heavy; published: 1

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
    """Settings; values are those of the published code, which MICRO took over.

    ``published-code`` leaves what the module's docstring says as it is.
    """

    epochs: int = 200  # at most; validation stops earlier

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "published-code": PUBLISHED_CODE,
    }


@dataclass(frozen=True)
class VBPRConfig(Training):
    """Settings. Sizes as in MMRec: 64 for each part, not 64 split among them."""

    embedding_size: int = 64  # γ: numbers a user or item is
    feature_size: int = 64  # θ: numbers that a modality is projected to
    learning_rate: float = 2e-3  # 1e-2 is worse on Boutique's validation
    reg_weight: float = 1e-2  # ½Σx² of the batch's rows, divided by the batch size; W and β go free

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
    """Settings of the closed form; there is nothing to train."""

    width: int = 64  # d: whitened coordinates of each modality, at most
    noise: float = 0.0  # σ² of a choice, in units of a coordinate's variance; 0: by validation choices
    smoothing: float = 3.0  # choices of each category that everybody is taken to have made before
    clusters: int = 20  # of text features, that stand in for categories where the catalogue has none

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
    """Settings of the history that attends to the candidate; sizes are our own, the paper has ids."""

    embedding_size: int = 64  # numbers that the heads share, of each of query, key, value and reply
    heads: int = 2  # that attend apart from each other
    hidden_size: int = 128  # of the layer that encodes items
    width: int = 24  # whitened coordinates of each modality
    clusters: int = 20  # of text features, that stand in for categories where the catalogue has none
    dropout: float = 0.2  # of what encodes items
    history_dropout: float = 0.2  # share of choices that a step does not see in the history
    alone: float = 0.5  # share of steps that see one modality alone, as a new picture is judged
    history: int = 50  # choices of a user that a step sees at most; all when scoring
    negatives: int = 128  # items that a batch's choices are held against
    weight_decay: float = 1e-4  # of Adam
    epochs: int = 8  # at most, each of as many users as there are choices; validation stops earlier
    learning_rate: float = 2e-3  # of Adam, at the start
    learning_rate_decay: float = 1e-9  # factor of the learning rate per 50 epochs: a third less each epoch
    train_batch_size: int = 32  # users a step, with all of their choices
    eval_step: int = 1  # epochs between validations
    stopping_step: int = 3  # validations without improvement
    valid_metric: Literal["Recall@10", "Recall@20", "NDCG@10", "NDCG@20"] = "NDCG@20"  # less coarse
    sampling: Sampling = "user"  # each of a step's users once

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
    """Nothing to set."""


@dataclass(frozen=True)
class BPRConfig(Training):
    """Matrix factorisation (Rendle et al., UAI 2009)."""

    embedding_size: int = 64  # d: numbers a user or item is

    search_space: ClassVar[Space] = {
        "learning_rate": Range(5e-4, 3e-2, log=True),
        "embedding_size": OneOf((16, 32, 64, 128)),
    }


@dataclass(frozen=True)
class LightGCNConfig(Training):
    """LightGCN (He et al., SIGIR 2020)."""

    embedding_size: int = 64  # d: numbers a user or item is
    n_layers: int = 2  # convolutions, mean over layers
    reg_weight: float = 1e-5  # of the lengths of the batch's embeddings
    require_pow: bool = True  # squares of the lengths

    search_space: ClassVar[Space] = {
        "learning_rate": Range(1e-3, 3e-2, log=True),
        "reg_weight": Range(1e-6, 1e-1, log=True),
        "n_layers": Range(1, 4),
    }


def config_from(config_class: type[Any], settings: Mapping[str, Any]) -> Any:
    """A config dataclass from settings; ``recipe`` names a set of values that the others override."""
    recipes = getattr(config_class, "recipes", {"default": {}})
    recipe = settings.get("recipe", "default")
    if recipe not in recipes:
        raise SettingError(
            f"unknown recipe {recipe!r} of {config_class.__name__}.{did_you_mean(recipe, recipes)}"
        )
    given = {k: v for k, v in settings.items() if k != "recipe"}
    return with_settings(config_class, {**recipes[recipe], **given})
