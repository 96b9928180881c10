"""Base class of editors, which use the reference's own image and evidence of a person's taste."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.base import BatchedGenerator, check_episodes
from generators.images import image_of, to_pixels
from generators.ragar.evidence import Evidence
from generators.ragar.looks import training_choices
from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.protocols import Ranker, TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Episode


class Editor(BatchedGenerator):
    """Base class of generators that edit the reference's image.

    Subclasses implement ``words``, ``pipeline`` and ``arguments``.
    """

    def fit(
        self,
        catalog: Catalog,
        episodes: Sequence[Episode],
        *,
        ranker: Ranker | None = None,
        judge: Ranker | None = None,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Editor:
        """Set the catalogue, and learn tastes from the histories if keywords are selected by taste.

        Raises DataError if there are no histories to learn from.
        """
        self._catalog = catalog
        self.__dict__.pop("_evidence", None)
        if self.config.of_evidence.evidence == "taste":
            if not episodes:
                raise DataError("histories to learn tastes from are wanted, got no training episode")
            check_episodes(episodes, catalog)
            self._evidence.learn(training_choices(episodes))
        return self

    def pipeline(self) -> Any:
        """Return the diffusers pipeline that edits. Raises SettingError if it must be trained first."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of its call that are the same for all images."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Side in pixels of its input and output."""
        pipeline = self.pipeline()
        size: int = self.family.image_size or pipeline.unet.config.sample_size * pipeline.vae_scale_factor
        return size

    def draw_batch(self, requests: Sequence[tuple[Episode, Rng]]) -> torch.Tensor:
        """Return the references' images, edited. Raises DataError for a reference without an image."""
        import torch

        size = self.size
        words = {episode: self.words(episode) for episode, _ in requests}
        images = {e: to_pixels(image_of(self.catalog, e.reference), size) for e in words}
        return self.edited(
            [words[episode] for episode, _ in requests],
            torch.stack([images[episode] for episode, _ in requests]),
            [noise for _, noise in requests],
        )

    def edited(self, texts: Sequence[str], images: torch.Tensor, noise: Sequence[Rng]) -> torch.Tensor:
        """Return (B, 3, s, s) float32 in [0, 1] on the CPU, from ``images`` (B, 3, s, s) and one text each.

        All randomness of row i comes from ``noise[i]``.
        """
        drawn = self.pipeline()(
            prompt=[*texts],
            image=images,
            generator=[stream.for_("edit").torch() for stream in noise],
            output_type="pt",
            **self.arguments(),
        )
        pixels: torch.Tensor = drawn.images.float().cpu().clamp(0, 1)
        return pixels

    def weights(self) -> dict[str, torch.Tensor]:
        """Return what the evidence learned."""
        return self._evidence.weights()

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load what was learned. Raises DataError if it does not fit the catalogue."""
        self._evidence.restore(weights)

    @cached_property
    def _evidence(self) -> Evidence:
        return Evidence(self.catalog, self.family, self.config.of_evidence, self.device)
