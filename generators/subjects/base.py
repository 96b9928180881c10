"""Base classes of subject-driven methods: settings, the subject, prompts with a placeholder, and batching."""

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
"""Prompt with ``{subject}``, an image of the subject, and the source of all randomness."""

Self = TypeVar("Self", bound="BaseSubjectGenerator")


class BaseSubjectGenerator(Configured):
    """Base class of subject-driven methods.

    Subclasses implement ``draw_each``; if they train per subject `_fit`, and if they train on others `learn`,
    `weights` and `restore`.
    """

    roles: tuple[str, ...] = ("diffusion",)
    learns_from_others: bool = False
    fewest: int = 1

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._subject: Subject | None = None

    @property
    def subject(self) -> Subject:
        """The subject; SettingError before `fit`."""
        if self._subject is None:
            raise SettingError(f"{self.name} knows no subject yet: call fit first")
        return self._subject

    @property
    def fingerprint(self) -> str:
        """Hash of name, settings, models and their image settings, and what was learned from others."""
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
        """Do nothing, since there is nothing to learn from others."""
        return self

    def fit(
        self: Self,
        subject: Subject,
        *,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Self:
        """Set the subject. Raises DataError if it has fewer images than ``fewest``."""
        if len(subject) < self.fewest:
            raise DataError(
                f"{self.name} wants {self.fewest} or more pictures of a subject, {subject.name!r} has "
                f"{len(subject)}",
                remedy="Give more pictures of it",
            )
        self._subject = None  # no subject if the training fails
        self._fit(subject, rng, work, tracker)
        self._subject = subject
        return self

    def _fit(self, subject: Subject, rng: Rng, work: Path | None, tracker: TrainingTracker | None) -> None:
        """Train on the subject; here there is nothing to learn."""

    def draw(self, prompt: str, reference: Image.Image, *, noise: Rng) -> torch.Tensor:
        """Return one image (3, H, W) float32 in [0, 1], on the CPU."""
        return self.draw_each([(prompt, reference, noise)])[0]

    def draw_each(self, requests: Sequence[Request]) -> list[torch.Tensor]:
        """Return an image for each request, bit-identical whatever the other requests are."""
        raise NotImplementedError

    def words(self, prompt: str) -> str:
        """Return the prompt with the subject inserted. Raises SettingError if it has no ``{subject}``."""
        check_prompt(prompt)
        return prompt.format(subject=self.called)

    @property
    def called(self) -> str:
        """Return the words for the subject in a prompt: its noun."""
        return self.subject.noun

    def weights(self) -> dict[str, torch.Tensor]:
        """Return what was learned from others: nothing."""
        return {}

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load what ``weights`` returned."""


class SamplingSubjectGenerator(BaseSubjectGenerator):
    """Base class of methods that use the family's diffusion model.

    Subclasses implement ``ready``, and ``shown`` if they use the reference.
    """

    def ready(self) -> Sampler:
        """Return the sampler that draws the subject."""
        raise NotImplementedError

    def conditions(self, prompt: str, reference: Image.Image) -> Conditions:
        """Return the conditions of an image."""
        from generators.sampler import Conditions

        text = self.words(prompt)
        return Conditions(self.ready().states([text])[0], text=text)

    def draw_each(self, requests: Sequence[Request]) -> list[torch.Tensor]:
        """Draw in batches of constant size."""
        pairs = [(self.conditions(prompt, reference), noise) for prompt, reference, noise in requests]
        return self.ready().draw_each(pairs, f"{self.name}: drawing")
