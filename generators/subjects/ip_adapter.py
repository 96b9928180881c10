"""``ip_adapter`` and ``ip_adapter_plus``: an image of the subject as additional condition (Ye et al. 2023).

Nothing is trained per subject. A family that names an ``ip_adapter`` brings published ones; otherwise they
are trained once on pairs of images of other subjects, with a frozen UNet: to draw one image from the noun and
the other image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from generators import adapter, resampler
from generators.denoising import Denoiser, draw_rows, frozen_sampler, train
from generators.image_prompts import adapter_encoder, adapter_patches, family_encoder, family_patches
from generators.images import to_pixels
from generators.sampler import Conditions, Sampler, with_own
from generators.subjects.base import SamplingSubjectGenerator
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.store import fingerprint
from recsim_gen.models.prompts import check_prompt

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.core.protocols import TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Subject

FEWEST_OTHERS = 2


@dataclass(frozen=True)
class SubjectIPAdapterConfig:
    """Settings."""

    scale: float = 0.6  # weight of the attention to the image relative to text; as published
    train_prompt: str = "{subject}"  # prompt in training; the image must provide all details
    steps: int = 1000  # training steps, if the family has no adapter
    batch_size: int = 16  # images per batch
    lr: float = 3e-4  # peak learning rate of AdamW, after the warm-up
    weight_decay: float = 0.01  # of AdamW
    drop: float = 0.1  # share of examples without text, and without image, for guidance

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not 0 <= self.drop < 1:
            raise SettingError(f"drop must be in [0, 1), got {self.drop}")
        check_prompt(self.train_prompt)


@dataclass(frozen=True)
class SubjectIPAdapterPlusConfig(SubjectIPAdapterConfig):
    """Settings."""

    queries: int = 16  # tokens per image
    hidden: int = 128  # channels of the resampler, one head per 64


class SubjectIPAdapter(SamplingSubjectGenerator):
    """Encodes the reference as one vector, mapped to 4 tokens."""

    name = "ip_adapter"
    config_class: ClassVar[type[Any]] = SubjectIPAdapterConfig
    file = adapter.FILE

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.learns_from_others = not self.family.models.ip_adapter
        self.roles = ("diffusion", "image_encoder" if self.learns_from_others else "ip_adapter")
        self._weights: dict[str, torch.Tensor] = {}
        self._sampler: Sampler | None = None

    def learn(
        self,
        others: Sequence[Subject],
        *,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> SubjectIPAdapter:
        """Train the adapter on pairs of images, or use the published one."""
        if not self.learns_from_others:
            return self
        pairs = [subject for subject in others if len(subject) > 1]
        if len(pairs) < FEWEST_OTHERS:
            raise DataError(
                f"{self.name} learns from {FEWEST_OTHERS} or more other subjects of 2 or more pictures, got "
                f"{len(pairs)}",
                remedy="Give more of them, or models with a trained adapter (`ip_adapter:` under `models:`)",
            )
        denoiser = Denoiser(frozen_sampler(self.family.to_learn(), self.device))
        pipeline = denoiser.sampler.pipeline
        adapter.install(pipeline, self._start(pipeline.unet, rng.for_("start")))
        learned = adapter.trainable(pipeline.unet)
        self._train(denoiser, learned, pairs, rng, work, tracker)
        self.restore(self._installed(pipeline.unet))
        return self

    def _train(
        self,
        denoiser: Denoiser,
        learned: torch.nn.Module,
        pairs: Sequence[Subject],
        rng: Rng,
        work: Path | None,
        tracker: TrainingTracker | None,
    ) -> None:
        import torch
        import torch.nn.functional as F

        from recsim_gen.core.training_loop import Schedule

        config, sampler = self.config, denoiser.sampler
        pixels = [torch.stack([to_pixels(x, sampler.size) for x in s.images]) for s in pairs]
        vectors = [torch.stack([self._encoded(x) for x in s.images]) for s in pairs]
        texts = [config.train_prompt.format(subject=s.noun) for s in pairs]

        def loss(step: Rng) -> dict[str, torch.Tensor]:
            """Return the MSE on one image of each subject, with another one as image prompt."""
            random = step.numpy()
            rows = draw_rows(len(pairs), config.batch_size, random)
            places = [random.permutation(len(pairs[k]))[:2].tolist() for k in rows]
            target = torch.stack([pixels[k][place[0]] for k, place in zip(rows, places, strict=True)])
            images = torch.stack([vectors[k][place[1]] for k, place in zip(rows, places, strict=True)])
            images[torch.from_numpy(random.random(len(rows)) < config.drop)] = self._nothing
            silent = random.random(len(rows)) < config.drop
            states = sampler.states(
                ["" if quiet else texts[k] for k, quiet in zip(rows, silent, strict=True)]
            )
            shown = [images[:, None].to(states)]
            return {"loss": F.mse_loss(*denoiser.on_pixels(target, states, step.torch(), image_embeds=shown))}

        schedule = Schedule(
            config.steps, config.lr, warmup=min(50, config.steps // 10), weight_decay=config.weight_decay
        )
        data = fingerprint([s.fingerprint for s in pairs], config, self.family.fingerprint(*self.roles))
        train(self.name, learned, loss, schedule, data=data, rng=rng, work=work, tracker=tracker)

    def _fit(self, subject: Subject, rng: Rng, work: Path | None, tracker: TrainingTracker | None) -> None:
        self.ready()

    def ready(self) -> Sampler:
        """Return the sampler with the adapter installed. Raises SettingError if it must be trained first."""
        if self._sampler is None:
            if self.learns_from_others:
                raise SettingError(f"{self.name} has to learn from other subjects first: call learn")
            self._put(adapter.published(self.family.folder("ip_adapter"), self.file))
        assert self._sampler is not None
        return self._sampler

    def conditions(self, prompt: str, reference: Image.Image) -> Conditions:
        """Return the prompt and the image as conditions."""
        text = self.words(prompt)
        states = self.ready().states([text])[0]
        shown, nothing = self._encoded(reference), self._nothing
        return Conditions(states, shown[None].to(states), text, nothing[None].to(states))

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights with the published names; {} for a published adapter."""
        return dict(self._weights)

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load an adapter. Raises DataError if it does not fit the UNet or the encoder."""
        self._put(weights)
        self._weights = dict(weights)

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        sampler = with_own(Sampler(self.family, self.device), "unet")
        self._check(sampler.pipeline.unet, weights)
        adapter.install(sampler.pipeline, weights)
        sampler.pipeline.set_ip_adapter_scale(self.config.scale)
        self._sampler = sampler

    def _encoded(self, image: Image.Image) -> torch.Tensor:
        """Return the (D,) float32 vector of an image."""
        import torch

        return torch.from_numpy(self._encode(image))

    @cached_property
    def _encode(self) -> Any:
        encoder = family_encoder if self.learns_from_others else adapter_encoder
        return encoder(self.family, self.device)

    @cached_property
    def _nothing(self) -> torch.Tensor:
        """Return the encoding of no image: zeros."""
        import torch
        from PIL import Image

        return torch.zeros_like(self._encoded(Image.new("RGB", (32, 32))))

    @property
    def _width(self) -> int:
        return int(self._nothing.shape[-1])

    def _start(self, unet: Any, rng: Rng) -> dict[str, torch.Tensor]:
        return adapter.untrained(unet, self._width, rng)

    def _check(self, unet: Any, weights: Mapping[str, torch.Tensor]) -> None:
        adapter.check_adapter(unet, weights, self._width)

    def _installed(self, unet: Any) -> dict[str, torch.Tensor]:
        return adapter.installed(unet)


class SubjectIPAdapterPlus(SubjectIPAdapter):
    """Encodes the reference's patches, which a resampler maps to tokens."""

    name = "ip_adapter_plus"
    config_class = SubjectIPAdapterPlusConfig
    file = resampler.FILE

    @cached_property
    def _encode(self) -> Any:
        encoder = family_patches if self.learns_from_others else adapter_patches
        return encoder(self.family, self.device)

    @cached_property
    def _nothing(self) -> torch.Tensor:
        """Return the encoding of no image: the patches of an image of zeros, as published."""
        import torch

        return torch.from_numpy(self._encode(None))

    def _start(self, unet: Any, rng: Rng) -> dict[str, torch.Tensor]:
        config = self.config
        return resampler.untrained(unet, self._width, rng, hidden=config.hidden, queries=config.queries)

    def _check(self, unet: Any, weights: Mapping[str, torch.Tensor]) -> None:
        resampler.check_resampler(unet, weights, self._width)

    def _installed(self, unet: Any) -> dict[str, torch.Tensor]:
        return resampler.installed(unet)
