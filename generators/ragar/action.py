"""What a RAGAR chooses when it draws: the states of a network (`states`), or keywords (`keyword_action`)."""

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
    """What a candidate is drawn from, and what is expected of it before it is drawn, in units of gain."""

    conditions: Conditions
    prior: float


@dataclass(frozen=True)
class TrainingContext:
    """A training: its chance, where it keeps how far it is, and who is told.

    Parameters
    ----------
    rng
        All its chance.
    folder
        Where a killed training finds how far it was.
    data, start
        Hashes of all that it, and its warm start, depend on.
    tracker
        Gets losses and evaluations, if there is one.
    """

    rng: Rng
    folder: Path
    data: str
    start: str
    tracker: TrainingTracker | None


class Action(Protocol):
    """What the policy chooses."""

    def train(
        self,
        episodes: Sequence[Episode],
        judge: PictureJudge | None,
        watching: PictureJudge | None,
        run: TrainingContext,
    ) -> None:
        """Learn from what ``judge`` says of pictures, if there is one; ``watching`` tells when to stop."""

    def proposals(self, episodes: Sequence[Episode], count: int) -> list[list[Proposal]]:
        """``count`` candidates of each episode, the most promising first."""

    def weights(self) -> dict[str, torch.Tensor]:
        """What was learned, on the CPU."""

    def export(self, folder: Path) -> list[ExportedPart]:
        """Write what was learned as other libraries read it."""

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take what ``weights`` gave."""
