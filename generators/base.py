"""Base classes of generators: settings, the catalogue, checkpoints, and batching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from generators import checkpoint
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.progress import bar
from recsim_gen.core.registry import with_settings
from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Catalog, Episode, ImageBatch
from recsim_gen.models.family import ModelFamily, open_family

if TYPE_CHECKING:
    import torch

    from generators.sampler import Conditions, Sampler
    from recsim_gen.core.protocols import ExportedPart, Ranker, TrainingTracker
    from recsim_gen.core.randomness import Rng

Self = TypeVar("Self", bound="BaseGenerator")


class Configured:
    """Base class for classes with settings and the models of a family.

    Subclasses set ``name``, ``config_class`` and ``roles``.

    Parameters
    ----------
    models
        A family or an argument of ``open_family``; it is never modified.
    device
        Device of the models; None: Accelerate's choice.
    settings
        Fields of ``config_class``; fields not given have the recipe's values, if there are recipes.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[Any]]
    roles: tuple[str, ...] = ()
    """Roles of the family's models that its images depend on."""

    def __init__(
        self, *, models: ModelFamily | str | Path = "embedded", device: str | None = None, **settings: Any
    ) -> None:
        self.family = models if isinstance(models, ModelFamily) else open_family(models)
        self.config: Any = with_settings(self.config_class, self._with_recipe(settings))
        self.device = device

    def _with_recipe(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the settings on top of those of their recipe, or of the family's recipe."""
        recipes: Mapping[str, Mapping[str, Any]] = getattr(self.config_class, "recipes", {})
        family = self.family.name if self.family.name in recipes else next(iter(recipes), "")
        recipe = settings.get("recipe") or family
        return {**recipes[recipe], **settings, "recipe": recipe} if recipe in recipes else settings


class BaseGenerator(Configured):
    """Base class of generators.

    Subclasses implement ``draw``, and if they ``learns`` also ``fit``, ``weights`` and ``restore``.
    """

    learns: bool = False
    training_version: int = 1
    """Increase it when equal settings give other weights: generators cached before are then not used."""
    uses_ranker: bool = False
    chooses: bool = False
    weighs_doubt: bool = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._catalog: Catalog | None = None

    @property
    def catalog(self) -> Catalog:
        """The catalogue of `fit` or `load`; SettingError before."""
        if self._catalog is None:
            raise SettingError(f"{self.name} is neither fitted nor loaded: call fit or load first")
        return self._catalog

    @property
    def fingerprint(self) -> str:
        """Hash of name, settings, models and their image settings, catalogue and weights."""
        weights = {name: x.numpy() for name, x in self.weights().items()}
        models = self.family.fingerprint(*self.roles) if self.roles else None
        return fingerprint(self.name, asdict(self.config), models, catalog_key(self.catalog), weights)

    def fit(
        self: Self,
        catalog: Catalog,
        episodes: Sequence[Episode],
        *,
        ranker: Ranker | None = None,
        judge: Ranker | None = None,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Self:
        """Set the catalogue; there is nothing to learn. Parameters are those of `Generator.fit`."""
        self._catalog = catalog
        return self

    def judged_by(self, ranker: Ranker | None) -> None:
        """Set the ranker that selects images when drawing; ignored by most generators."""

    def generate(self, episodes: Sequence[Episode], *, n: int = 1, rng: Rng) -> ImageBatch:
        """Draw ``n`` images of the reference item of each episode.

        All randomness of image (episode, seed) comes from ``rng.for_("noise", episode.id, seed)``; other
        images do not change a bit of it.

        Parameters
        ----------
        episodes
            (B,) episodes.
        n
            Images per episode, with the seeds 0…n−1.
        rng
            Source of the noise.

        Returns
        -------
        ImageBatch
            B·n images, ordered by episode, then by seed.

        Raises
        ------
        SettingError
            If ``n`` is below 1.
        DataError
            If an item is not in the catalogue, or images differ in size.
        """
        if n < 1:
            raise SettingError(f"n must be 1 picture an episode or more, got {n}")
        check_episodes(episodes, self.catalog)
        pixels = self.draw_each([(e, rng.for_("noise", e.id, seed)) for e in episodes for seed in range(n)])
        return ImageBatch(
            pixels=_stacked(pixels),
            episode=np.repeat(np.array([e.id for e in episodes], dtype=str), n),
            item=np.repeat(np.array([e.reference for e in episodes], dtype=np.int64), n),
            seed=np.tile(np.arange(n), len(episodes)),
            generator=self.name,
        )

    def draw_each(self, requests: Sequence[tuple[Episode, Rng]]) -> list[torch.Tensor]:
        """Draw one image per request, independent of the other requests; here one at a time."""
        shown = bar(requests, f"{self.name}: drawing", unit="picture") if len(requests) > 1 else requests
        return [self.draw(episode, noise) for episode, noise in shown]

    def draw(self, episode: Episode, noise: Rng) -> torch.Tensor:
        """Draw one image: (3, H, W) float32 RGB in [0, 1], on the CPU.

        All randomness comes from ``noise``.
        """
        raise NotImplementedError

    def words(self, episode: Episode) -> str:
        """Return the text that the image of this episode is drawn from; "" if there is none."""
        return ""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the trained weights, on the CPU; {} if there is nothing to learn."""
        return {}

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load what ``weights`` returned. Raises DataError if the weights do not fit the models."""

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """Write what was learned for other libraries, if it ``learns``.

        Parameters are those of `Exporting.export`.
        """
        raise SettingError(f"{self.name} learned nothing of its own: there is nothing to export")

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and, if it learns, ``model.safetensors``, atomically."""
        about = {"settings": asdict(self.config), "data": catalog_key(self.catalog), "models": self._models()}
        with checkpoint.writing(folder, self.name, about) as temporary:
            self._write_weights(temporary)

    @classmethod
    def load(
        cls: type[Self],
        folder: str | Path,
        catalog: Catalog,
        *,
        models: ModelFamily | str | Path = "embedded",
        device: str | None = None,
    ) -> Self:
        """Load what ``save`` wrote. Parameters are those of `Generator.load`.

        Raises
        ------
        DataError
            If the checkpoint is that of another generator, or was made with another catalogue or other
            models.
        """
        folder = Path(folder)
        about = checkpoint.read(folder, cls.name)
        made = cls(models=models, device=device, **about["settings"])
        if about["data"] != catalog_key(catalog):
            remedy = "Give the same --data as in training"
            raise DataError("the checkpoint was trained on another catalogue", file=folder, remedy=remedy)
        if about["models"] != made._models():
            remedy = "Give the same --models as in training"
            raise DataError("the checkpoint was trained with other models", file=folder, remedy=remedy)
        made._catalog = catalog
        made._read_weights(folder)
        return made

    def _models(self) -> dict[str, str]:
        return {role: self.family.checkpoint(role).fingerprint for role in self.roles}

    def _write_weights(self, folder: Path) -> None:
        if self.learns:
            checkpoint.write_weights(folder, self.weights())

    def _read_weights(self, folder: Path) -> None:
        if self.learns:
            self.restore(checkpoint.read_weights(folder))

    def _own_family(self) -> ModelFamily:
        """Return the family with its own copies of the models, which may be modified."""
        return replace(self.family)


class BatchedGenerator(BaseGenerator):
    """Base class of generators that draw a batch at a time; subclasses implement ``draw_batch``."""

    def draw_batch(self, requests: Sequence[tuple[Episode, Rng]]) -> torch.Tensor:
        """Return (B, 3, H, W) float32 in [0, 1] on the CPU, one per request; B is the family's ``batch``."""
        raise NotImplementedError

    def draw_each(self, requests: Sequence[tuple[Episode, Rng]]) -> list[torch.Tensor]:
        """Draw in batches of constant size, the last one padded.

        The last bits of an image depend on the number of rows.
        """
        batch = self.family.batch
        pictures: list[torch.Tensor] = []
        for start in bar(range(0, len(requests), batch), f"{self.name}: drawing", unit="batch"):
            part = requests[start : start + batch]
            drawn = self.draw_batch([*part, *[part[0]] * (batch - len(part))])
            pictures += [*drawn[: len(part)]]
        return pictures


class SamplingGenerator(BaseGenerator):
    """Base class of generators that use the family's diffusion model.

    Subclasses implement ``conditions`` and ``ready``.
    """

    def conditions(self, episode: Episode) -> Conditions:
        """Return what the images of this episode are conditioned on.

        Raises DataError if something is missing.
        """
        raise NotImplementedError

    def words(self, episode: Episode) -> str:
        """Return the text of its `conditions`."""
        return self.conditions(episode).text

    def ready(self) -> Sampler:
        """Return the sampler. Raises SettingError if the generator is neither fitted nor loaded."""
        raise NotImplementedError

    def draw_each(self, requests: Sequence[tuple[Episode, Rng]]) -> list[torch.Tensor]:
        """Draw one image per request, in batches of constant size."""
        sampler = self.ready()
        conditions = {episode: self.conditions(episode) for episode, _ in requests}
        pairs = [(conditions[episode], noise) for episode, noise in requests]
        return sampler.draw_each(pairs, f"{self.name}: drawing")


def catalog_key(catalog: Catalog) -> str:
    """Return a hash of items, texts and images; features only matter to rankers."""
    images = None if catalog.images is None else catalog.images.fingerprint
    return fingerprint(catalog.item_ids, catalog.titles, catalog.captions, catalog.categories, images)


def check_episodes(episodes: Sequence[Episode], catalog: Catalog) -> None:
    """Raise DataError unless all items of all episodes are rows of the catalogue."""
    for episode in episodes:
        for row in (episode.reference, *episode.history):
            if not 0 <= row < len(catalog):
                raise DataError(
                    f"episode {episode.id}: unknown item: rows must be in [0, {len(catalog)}), got {row}",
                    remedy="Were the episodes made from another catalogue?",
                )


def _stacked(pixels: Sequence[torch.Tensor]) -> torch.Tensor:
    import torch

    sizes = sorted({tuple(x.shape[1:]) for x in pixels})
    if len(sizes) > 1:
        raise DataError(
            f"pictures of one size are wanted in one batch, got {sizes[0]}, {sizes[1]}…",
            remedy="Generate for one episode at a time, or set `size`",
        )
    return torch.stack(list(pixels)) if pixels else torch.empty(0, 3, 1, 1)
