"""``ip_adapter``: images of the history as image prompts (Ye et al. 2023), with one adapter for all people.

A family that names an ``ip_adapter`` brings a trained one with its image encoder, as published for SD-1.5.
Otherwise the projection and the attention to images are trained on histories with a frozen UNet: to draw one
item from its category and *other* items of the same person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.adapter import check_adapter, install, installed, published, trainable, untrained
from generators.base import SamplingGenerator, catalog_key, check_episodes
from generators.denoising import Denoising, draw_rows, frozen_sampler, train, user_items, with_images
from generators.image_prompts import ImageVectors, adapter_encoder, family_encoder
from generators.prompts import check_template, prompt_of
from generators.sampler import Conditions, Sampler
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.store import fingerprint

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.protocols import ExportedPart, Ranker, TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Episode


@dataclass(frozen=True)
class IPAdapterConfig:
    """Settings."""

    images: int = 5  # number of latest history images used
    scale: float = 0.6  # weight of the attention to images relative to text, when drawing
    prompt: str = "{caption}"  # template; fields {caption}, {title} and {category} of the reference
    train_prompt: str = "{category}"  # without colours, which the images must provide
    steps: int = 1000  # training steps, if the family has no adapter
    batch_size: int = 16  # images per batch
    accumulate: int = 1  # batches per step, shared by processes
    lr: float = 3e-4  # peak learning rate of AdamW, after the warm-up
    weight_decay: float = 0.01  # of AdamW
    drop: float = 0.1  # share of examples without text, and without images, for guidance

    def __post_init__(self) -> None:
        for name in ("images", "steps", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not 0 <= self.drop < 1:
            raise SettingError(f"drop must be in [0, 1), got {self.drop}")
        for template in (self.prompt, self.train_prompt):
            check_template(template)


class IPAdapter(SamplingGenerator):
    """Conditions on the reference's prompt and the latest images of the history."""

    name = "ip_adapter"
    config_class = IPAdapterConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.learns = not self.family.models.ip_adapter
        self.roles = ("diffusion", "image_encoder" if self.learns else "ip_adapter")
        self._weights: dict[str, torch.Tensor] = {}
        self._sampler: Sampler | None = None

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
    ) -> IPAdapter:
        """Train the adapter on histories, without their references, or use the published one."""
        self._catalog = catalog
        self.__dict__.pop("_vectors", None)
        if not self.learns:
            self._sampler = None
            return self
        check_episodes(episodes, catalog)
        items = [*user_items(catalog, episodes, least=2).values()]
        sampler = frozen_sampler(self.family.to_learn(), self.device)
        unet = sampler.pipeline.unet
        install(sampler.pipeline, untrained(unet, self._vectors.of(items[0][:1]).shape[1], rng.for_("start")))
        denoising = Denoising(sampler, catalog)
        data = fingerprint(catalog_key(catalog), items, self.config, self._models())
        self._learn(denoising, trainable(unet), items, data, rng, work, tracker)
        self.restore(installed(unet))
        return self

    def _learn(
        self,
        denoising: Denoising,
        adapter: torch.nn.Module,
        items: Sequence[Sequence[int]],
        data: str,
        rng: Rng,
        work: Path | None,
        tracker: TrainingTracker | None,
    ) -> None:
        import torch

        from recsim_gen.core.training_loop import Schedule

        config, sampler = self.config, denoising.sampler

        def loss(step: Rng) -> dict[str, torch.Tensor]:
            """Return the MSE on each user's random item, with other items of the user as image prompts."""
            random = step.numpy()
            drawn = []
            for k in draw_rows(len(items), config.batch_size, random):
                target, *others = random.permutation(items[k]).tolist()
                drawn.append((target, random.choice(others, config.images, len(others) < config.images)))
            rows = [target for target, _ in drawn]
            images = torch.stack([self._vectors.of(others.tolist()) for _, others in drawn])
            images[torch.from_numpy(random.random(len(rows)) < config.drop)] = 0
            silent = random.random(len(rows)) < config.drop
            texts = [prompt_of(denoising.catalog, row, config.train_prompt) for row in rows]
            states = sampler.states(["" if quiet else t for t, quiet in zip(texts, silent, strict=True)])
            images = images.to(states)
            return {"loss": denoising.loss(rows, states, step.torch(), image_embeds=[images])}

        schedule = Schedule(
            config.steps,
            config.lr,
            warmup=min(50, config.steps // 10),
            weight_decay=config.weight_decay,
            accumulate=config.accumulate,
        )
        train(self.name, adapter, loss, schedule, data=data, rng=rng, work=work, tracker=tracker)

    def conditions(self, episode: Episode) -> Conditions:
        """Return the reference's prompt and the history's images. Raises DataError if one is missing."""
        rows = with_images(self.catalog, episode.history)[-self.config.images :]
        if not rows:
            raise DataError(
                f"episode {episode.id}: a history with pictures is wanted, none of its "
                f"{len(episode.history)} items has one",
                remedy="Leave the episode out",
            )
        text = prompt_of(self.catalog, episode.reference, self.config.prompt)
        states = self.ready().states([text])[0]
        return Conditions(states, self._vectors.of(rows).to(states), text)

    def ready(self) -> Sampler:
        """Return the sampler with the adapter installed."""
        if self._sampler is None:
            if self.learns:
                raise SettingError(f"{self.name} is neither fitted nor loaded: call fit or load first")
            self._put(published(self.family.folder("ip_adapter")))
        assert self._sampler is not None
        return self._sampler

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        sampler = Sampler(self._own_family(), self.device)
        row = int(self.catalog.images.present.argmax()) if self.catalog.images is not None else 0
        check_adapter(sampler.pipeline.unet, weights, self._vectors.of([row]).shape[1])
        install(sampler.pipeline, weights)
        sampler.pipeline.set_ip_adapter_scale(self.config.scale)
        self._sampler = sampler

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights with the names of ``ip-adapter_sd15.safetensors``.

        {} for a published adapter.
        """
        return dict(self._weights)

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load an adapter. Raises DataError if it does not fit the UNet or the image vectors."""
        self._put(weights)
        self._weights = dict(weights)

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """Write the pipeline, the adapter and its image encoder, in the published layout."""
        if not self.learns:
            return super().export(folder, user_ids)
        from recsim_gen.core.protocols import ExportedPart
        from recsim_gen.models.exporting import write_image_encoder, write_pipeline, write_tensors

        file = folder / self.name / f"{self.name}.safetensors"
        write_tensors(file, self._weights, "")
        pixels = write_image_encoder(self.family, folder / self.name / "image_encoder")
        pipeline = write_pipeline(self.family, folder, feature_extractor=pixels)
        where = f'".", subfolder="{self.name}", weight_name="{file.name}"'
        what = "the adapter, and the image encoder that it was learned with"
        if pixels is None:
            where += ", image_encoder_folder=None"
            what = "the adapter; it takes vectors of the family's image encoder as `ip_adapter_image_embeds`"
        load = f"pipeline.load_ip_adapter({where})\npipeline.set_ip_adapter_scale({self.config.scale})"
        return [pipeline, ExportedPart(self.name, what, load)]

    @cached_property
    def _vectors(self) -> ImageVectors:
        encoder = family_encoder if self.learns else adapter_encoder
        return ImageVectors(self.catalog, encoder(self.family, self.device))
