"""The generators of methods: each trained on the same episodes by its own judge, or loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from recsim_gen.artifacts.trained_generators import train_missing
from recsim_gen.datasets.episodes import training_episodes

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Dataset, Episode
    from recsim_gen.experiments.methods import Method
    from recsim_gen.judging.judges import Judge
    from recsim_gen.models.family import ModelFamily


@dataclass(frozen=True)
class OpenedMethods:
    """Input to open methods with: ``judges`` {label: judge} are the rewards of those that need one."""

    dataset: Dataset
    judges: Mapping[str, Judge]
    family: ModelFamily
    device: str | None
    tracker: Tracker | None = None

    @cached_property
    def _episodes(self) -> tuple[Episode, ...]:
        return training_episodes(self.dataset)

    def train(self, methods: Sequence[Method], seeds: Sequence[int]) -> None:
        """Train the methods that are not in the cache with these seeds, as `train_missing` does."""
        trainings = [
            method.training(self.dataset, judge=self.judges.get(method.label), seed=seed)
            for seed in seeds
            for method in methods
            if method.learns
        ]
        if trainings:
            train_missing(trainings, self._episodes, models=self.family, device=self.device)

    def open(self, method: Method, seed: int) -> Generator:
        """Return the generator, ready to draw."""
        return method.open(
            self.dataset,
            self._episodes,
            judge=self.judges.get(method.label),
            seed=seed,
            models=self.family,
            device=self.device,
            tracker=self.tracker,
        )
