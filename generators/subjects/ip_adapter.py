"""``ip_adapter`` and ``ip_adapter_plus``: a picture of the subject beside the prompt (Ye et al. 2023).

Nothing is learned of a subject. A family that names an ``ip_adapter`` brings trained ones as published; else
they are trained once on pairs of pictures of other subjects, with the UNet frozen: draw one of them by its
kind and the other.
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

    scale: float = 0.6  # of the attention to the picture against that to text, when drawing; as published
    train_prompt: str = "{subject}"  # of the others; what tells them apart is left to the picture
    steps: int = 1000  # of training, where the family brings no adapter
    batch_size: int = 16  # pictures of a batch
    lr: float = 3e-4  # the highest rate of AdamW, after the warm-up
    weight_decay: float = 0.01  # of AdamW
    drop: float = 0.1  # share of examples without text, and of examples without picture: for guidance

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

    queries: int = 16  # tokens that are made of a picture's patches
    hidden: int = 128  # channels of the resampler, a head for each 64


class SubjectIPAdapter(SamplingSubjectGenerator):
    """The reference as one vector, of which 4 tokens are made."""

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
        """Train the adapter on pairs of pictures; take the one that is published."""
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
        """The sampler with the adapter in it. Raises SettingError where it has to learn first."""
        if self._sampler is None:
            if self.learns_from_others:
                raise SettingError(f"{self.name} has to learn from other subjects first: call learn")
            self._put(adapter.published(self.family.folder("ip_adapter"), self.file))
        assert self._sampler is not None
        return self._sampler

    def conditions(self, prompt: str, reference: Image.Image) -> Conditions:
        """The prompt beside the picture."""
        text = self.words(prompt)
        states = self.ready().states([text])[0]
        shown, nothing = self._encoded(reference), self._nothing
        return Conditions(states, shown[None].to(states), text, nothing[None].to(states))

    def weights(self) -> dict[str, torch.Tensor]:
        """As the published file names them; {} of a published adapter, which is a model."""
        return dict(self._weights)

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take an adapter. Raises DataError where it is not as wide as the UNet or the encoder."""
        self._put(weights)
        self._weights = dict(weights)

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        sampler = with_own(Sampler(self.family, self.device), "unet")
        self._check(sampler.pipeline.unet, weights)
        adapter.install(sampler.pipeline, weights)
        sampler.pipeline.set_ip_adapter_scale(self.config.scale)
        self._sampler = sampler

    def _encoded(self, image: Image.Image) -> torch.Tensor:
        """(D,) float32."""
        import torch

        return torch.from_numpy(self._encode(image))

    @cached_property
    def _encode(self) -> Any:
        encoder = family_encoder if self.learns_from_others else adapter_encoder
        return encoder(self.family, self.device)

    @cached_property
    def _nothing(self) -> torch.Tensor:
        """What stands for no picture: zeros."""
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
    """The reference patch by patch, of which a resampler makes tokens."""

    name = "ip_adapter_plus"
    config_class = SubjectIPAdapterPlusConfig
    file = resampler.FILE

    @cached_property
    def _encode(self) -> Any:
        encoder = family_patches if self.learns_from_others else adapter_patches
        return encoder(self.family, self.device)

    @cached_property
    def _nothing(self) -> torch.Tensor:
        """What stands for no picture: the patches of one of zeros, as published."""
        import torch

        return torch.from_numpy(self._encode(None))

    def _start(self, unet: Any, rng: Rng) -> dict[str, torch.Tensor]:
        config = self.config
        return resampler.untrained(unet, self._width, rng, hidden=config.hidden, queries=config.queries)

    def _check(self, unet: Any, weights: Mapping[str, torch.Tensor]) -> None:
        resampler.check_resampler(unet, weights, self._width)

    def _installed(self, unet: Any) -> dict[str, torch.Tensor]:
        return resampler.installed(unet)
