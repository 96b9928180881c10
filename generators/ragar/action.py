"""Interface of RAGAR's actions: states of a network (`states`), or keywords (`keyword_action`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch

    from generators.ragar.judge import PictureJudge
    from generators.sampler import Conditions
    from recsim_gen.core.protocols import ExportedPart, TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Episode


class Proposal(NamedTuple):
    """Conditions of a candidate, and its expected gain before it is drawn, in units of gain."""

    conditions: Conditions
    prior: float


@dataclass(frozen=True)
class TrainingContext:
    """Context of one training.

    Parameters
    ----------
    rng
        Source of all randomness.
    folder
        Folder for checkpoints, from which an interrupted training resumes.
    data, start
        Hashes of everything that the training, and its warm start, depend on.
    tracker
        Receives losses and evaluations, if given.
    """

    rng: Rng
    folder: Path
    data: str
    start: str
    tracker: TrainingTracker | None


class Action(Protocol):
    """What the policy selects."""

    def train(
        self,
        episodes: Sequence[Episode],
        judge: PictureJudge | None,
        watching: PictureJudge | None,
        run: TrainingContext,
    ) -> None:
        """Train with rewards of ``judge``, if given; ``watching`` decides when to stop."""

    def proposals(self, episodes: Sequence[Episode], count: int) -> list[list[Proposal]]:
        """Return ``count`` candidates of each episode, the most promising first."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the learned weights, on the CPU."""

    def export(self, folder: Path) -> list[ExportedPart]:
        """Write what was learned in the formats of other libraries."""

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load what ``weights`` returned."""
