"""What rankers share: how they are trained, and the checks of what they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import did_you_mean, with_settings
from recsim_gen.core.types import Catalog, Interactions

LARGE_LOG = 50_000
"""Training choices from which steps are of 8192: half the time an epoch, and no worse on validation."""


@dataclass(frozen=True)
class Training:
    """How a model is trained, under RecBole's names."""

    epochs: int = 1000
    learning_rate: float = 1e-2
    learning_rate_decay: float = 0.96  # factor per 50 epochs
    train_batch_size: int = 0  # choices a step; 0: 4096, or 8192 of a log of 50,000 or more
    eval_step: int = 5  # epochs between validations
    stopping_step: int = 5  # validations without improvement; published: 10
    valid_metric: Literal["Recall@10", "Recall@20", "NDCG@10", "NDCG@20"] = "Recall@20"
    sampling: Literal["interaction", "user"] = "interaction"

    def __post_init__(self) -> None:
        for name in ("epochs", "eval_step", "stopping_step"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.train_batch_size < 0:
            raise SettingError(f"train_batch_size must be at least 0, got {self.train_batch_size}")

    def for_log(self, n_choices: int) -> Training:
        """These settings with the batch size that a training log of ``n_choices`` is learned with."""
        return replace(self, train_batch_size=batch_size(self.train_batch_size, n_choices))


def batch_size(asked: int, n_choices: int) -> int:
    """``asked``, or where that is 0 what a training log of ``n_choices`` is learned with."""
    return asked or (8192 if n_choices >= LARGE_LOG else 4096)


def check_users(users: np.ndarray, n_users: int) -> np.ndarray:
    """``users`` (B,) as an array; DataError unless all are rows in [0, n_users)."""
    users = np.ascontiguousarray(users, dtype=np.int64)  # torch takes no view that runs backwards
    if users.size and (users.min() < 0 or users.max() >= n_users):
        raise DataError(f"user rows must be in [0, {n_users}), got {users.min()}…{users.max()}")
    return users


def check_histories(histories: Sequence[np.ndarray], n_items: int) -> None:
    """DataError (row) unless each history has items, all of them rows in [0, n_items)."""
    for position, history in enumerate(histories):
        rows = np.asarray(history)
        if rows.size == 0 or rows.min() < 0 or rows.max() >= n_items:
            raise DataError(
                f"history {position} must have item rows in [0, {n_items}), got {rows.tolist()[:5]}"
            )


def check_catalog(catalog: Catalog, interactions: Interactions) -> None:
    """DataError unless the interactions are with the items of this catalogue."""
    if len(catalog) != interactions.n_items:
        raise DataError(
            f"interactions must be with the catalogue's {len(catalog)} items, got {interactions.n_items}"
        )


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
