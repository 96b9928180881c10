"""``placebo``: another real image of the reference, unrelated to anybody's taste.

In Boutique the same look is drawn again. For other data the user provides other images of the items: other
posters of the films, other photographs of the products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from generators.base import BaseGenerator
from generators.images import to_pixels
from generators.shop import drawn, known_world, world_of
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.store import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from recsim_gen.core.protocols import Ranker, TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Episode
    from recsim_gen.datasets.files.images import ImageFiles


@dataclass(frozen=True)
class PlaceboConfig:
    """Settings."""

    images: str = ""  # folder or tar of <item id>.png; needed unless the catalogue is Boutique's
    size: int = 0  # side in pixels; 0: unchanged


class Placebo(BaseGenerator):
    """Returns another image of the reference; if images are provided, the same one for every seed."""

    name = "placebo"
    config_class = PlaceboConfig

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
    ) -> Placebo:
        """Set the catalogue.

        Raises SettingError if other images must be provided, DataError if those provided belong to no item.
        """
        if world_of(catalog) is None and not self.config.images:
            raise SettingError(
                "other real pictures of the items are wanted: set `images` to a folder or tar of "
                "<item id>.png"
            )
        super().fit(catalog, episodes, rng=rng)
        if self.config.images and not self._brought.present.any():
            count = self._brought.unmatched
            raise DataError(
                f"other pictures named <item id>.png are wanted, none of {count:,} is of an item",
                file=self.config.images,
                remedy="Name them so, with the ids of --data",
            )
        return self

    @property
    def fingerprint(self) -> str:
        """Hash that includes the content of the provided images."""
        brought = self._brought.fingerprint if self.config.images else None
        return fingerprint(super().fingerprint, brought)

    def draw(self, episode: Episode, noise: Rng) -> torch.Tensor:
        """Return another image of the reference. Raises DataError if there is none."""
        if self.config.images:
            return self._read(episode.reference)
        return drawn(known_world(self.catalog).attributes(episode.reference), noise)

    def _read(self, row: int) -> torch.Tensor:
        if not self._brought.present[row]:
            raise DataError(
                f"item {str(self.catalog.item_ids[row])!r} has no other picture",
                file=self.config.images,
                remedy="Leave out the episodes that need it",
            )
        return to_pixels(self._brought.read(row), self.config.size)

    @cached_property
    def _brought(self) -> ImageFiles:
        from recsim_gen.datasets.files.images import open_images

        return open_images(self.config.images, self.catalog.item_ids)
