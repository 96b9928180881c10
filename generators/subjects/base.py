"""What subject-driven methods share: settings, the subject, prompts with a place for it, and batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from generators.base import Configured
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.store import fingerprint
from recsim_gen.models.prompts import check_prompt

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from generators.sampler import Conditions, Sampler
    from recsim_gen.core.protocols import TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Subject

Request = tuple[str, "Image.Image", "Rng"]
"""Prompt with ``{subject}`` in it, a picture of the subject, and the stream of all chance."""

Self = TypeVar("Self", bound="BaseSubjectGenerator")


class BaseSubjectGenerator(Configured):
    """A method that lacks ``draw_each``; where it learns, `_fit`, or `learn`, `weights` and `restore`."""

    roles: tuple[str, ...] = ("diffusion",)
    learns_from_others: bool = False
    fewest: int = 1

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._subject: Subject | None = None

    @property
    def subject(self) -> Subject:
        """The one it draws; SettingError before `fit`."""
        if self._subject is None:
            raise SettingError(f"{self.name} knows no subject yet: call fit first")
        return self._subject

    @property
    def fingerprint(self) -> str:
        """Hash of name, settings, models and how they draw, and what was learned from others."""
        weights = {name: x.numpy() for name, x in self.weights().items()}
        return fingerprint(self.name, asdict(self.config), self.family.fingerprint(*self.roles), weights)

    def learn(
        self: Self,
        others: Sequence[Subject],
        *,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Self:
        """There is nothing to learn from others."""
        return self

    def fit(
        self: Self,
        subject: Subject,
        *,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Self:
        """Take the subject. Raises DataError where it has fewer pictures than ``fewest``."""
        if len(subject) < self.fewest:
            raise DataError(
                f"{self.name} wants {self.fewest} or more pictures of a subject, {subject.name!r} has "
                f"{len(subject)}",
                remedy="Give more pictures of it",
            )
        self._subject = None  # a training that fails leaves no subject behind
        self._fit(subject, rng, work, tracker)
        self._subject = subject
        return self

    def _fit(self, subject: Subject, rng: Rng, work: Path | None, tracker: TrainingTracker | None) -> None:
        """Learn the subject; here there is nothing to learn."""

    def draw(self, prompt: str, reference: Image.Image, *, noise: Rng) -> torch.Tensor:
        """One picture (3, H, W) float32 in [0, 1], on the CPU."""
        return self.draw_each([(prompt, reference, noise)])[0]

    def draw_each(self, requests: Sequence[Request]) -> list[torch.Tensor]:
        """A picture for each, to the bit the same in any company."""
        raise NotImplementedError

    def words(self, prompt: str) -> str:
        """The prompt with the subject in its place. Raises SettingError where it has no ``{subject}``."""
        check_prompt(prompt)
        return prompt.format(subject=self.called)

    @property
    def called(self) -> str:
        """What stands for the subject in a prompt: what it is."""
        return self.subject.noun

    def weights(self) -> dict[str, torch.Tensor]:
        """What was learned from others: nothing."""
        return {}

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take what ``weights`` gave."""


class SamplingSubjectGenerator(BaseSubjectGenerator):
    """One that draws by the family's diffusion model: it lacks ``ready``, and ``shown`` where it looks."""

    def ready(self) -> Sampler:
        """What draws the subject."""
        raise NotImplementedError

    def conditions(self, prompt: str, reference: Image.Image) -> Conditions:
        """What a picture is drawn from."""
        from generators.sampler import Conditions

        text = self.words(prompt)
        return Conditions(self.ready().states([text])[0], text=text)

    def draw_each(self, requests: Sequence[Request]) -> list[torch.Tensor]:
        """In batches of one size."""
        pairs = [(self.conditions(prompt, reference), noise) for prompt, reference, noise in requests]
        return self.ready().draw_each(pairs, f"{self.name}: drawing")
