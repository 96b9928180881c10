"""``dreambooth``: fine-tunes the diffusion model on a subject (Ruiz et al. 2023), fully or by LoRA.

The subject is named by a rare word before its noun: "a photo of a sks wren". So that the model does not
forget the other members of the class, it is also trained on its own images of "a photo of a wren" (prior
preservation). The text encoder is frozen, as in the published evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from generators.denoising import Denoiser, draw_rows, frozen_sampler, train
from generators.images import to_pixels
from generators.sampler import Conditions, Sampler, with_own
from generators.subjects.base import SamplingSubjectGenerator
from recsim_gen.core.errors import SettingError
from recsim_gen.core.store import fingerprint
from recsim_gen.models.prompts import check_prompt

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.protocols import TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Subject

PAPER = {
    "train_prompt": "a photo of a {subject}",
    "steps": 800,  # as are batch_size and lr, from the evaluation's script, for SD3-medium at 768 pixels
    "batch_size": 1,
    "lr": 5e-6,
    "prior_images": 100,  # default of diffusers' script
}
PAPER_LORA = {
    **PAPER,
    "steps": 500,
    "lr": 1e-4,
    "rank": 4,
}  # from diffusers' examples; the evaluation has none


@dataclass(frozen=True)
class DreamBoothConfig:
    """Settings."""

    token: str = "sks"  # rare word for the subject, before its noun
    train_prompt: str = "{subject}"  # prompt of its images and, without the rare word, of images of its class
    prior_weight: float = 0.5  # weight of the loss on images of its class; 0: none are drawn
    prior_images: int = 32  # number of images of its class, drawn by the original model
    steps: int = 200  # training steps per subject
    batch_size: int = 4  # images of the subject per batch, and as many of its class
    lr: float = 2e-4  # peak learning rate of AdamW, decreasing to 0
    weight_decay: float = 0.01  # of AdamW
    recipe: Literal["embedded", "paper"] = "embedded"  # source of the values of settings that are not given

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": PAPER}

    def __post_init__(self) -> None:
        for name in ("prior_images", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.prior_weight < 0:
            raise SettingError(f"prior_weight must be 0 or more, got {self.prior_weight}")
        if not self.token.strip():
            raise SettingError("token must be a word, got none")
        check_prompt(self.train_prompt)


@dataclass(frozen=True)
class DreamBoothLoRAConfig(DreamBoothConfig):
    """Settings."""

    rank: int = 8  # rank of LoRA on the attention of the UNet
    lr: float = 2e-3  # peak learning rate of AdamW, decreasing to 0

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": PAPER_LORA}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise SettingError(f"rank must be 1 or more, got {self.rank}")


class DreamBooth(SamplingSubjectGenerator):
    """Trains the whole UNet."""

    name = "dreambooth"
    config_class: ClassVar[type[Any]] = DreamBoothConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._sampler: Sampler | None = None
        self._priors: dict[tuple[str, Rng], torch.Tensor] = {}

    @property
    def called(self) -> str:
        """Return the rare word and the noun."""
        return f"{self.config.token} {self.subject.noun}"

    def _fit(self, subject: Subject, rng: Rng, work: Path | None, tracker: TrainingTracker | None) -> None:
        import torch

        self._sampler = None
        denoiser = Denoiser(with_own(self._frozen, "unet"))
        sampler, config = denoiser.sampler, self.config
        learned = self._learned(sampler.pipeline.unet, rng.for_("start"))
        own = torch.stack([to_pixels(image, sampler.size) for image in subject.images])
        prompt = config.train_prompt.format(subject=f"{config.token} {subject.noun}")
        parts = [(own, sampler.states([prompt]), 1.0)]
        if config.prior_weight:
            kind = config.train_prompt.format(subject=subject.noun)
            parts.append((self._prior(kind, rng), sampler.states([kind]), config.prior_weight))

        def loss(step: Rng) -> dict[str, torch.Tensor]:
            """Return the MSE on images of the subject plus, weighted, that on images of its class."""
            random, size = step.numpy(), config.batch_size
            pixels = torch.cat([x[draw_rows(len(x), size, random)] for x, _, _ in parts])
            states = torch.cat([s.expand(size, -1, -1) for _, s, _ in parts])
            predicted, right = denoiser.on_pixels(pixels, states, step.torch())
            each = (predicted - right).square().flatten(1).mean(1).split(size)
            weighted = [weight * x.mean() for x, (_, _, weight) in zip(each, parts, strict=True)]
            return {"loss": torch.stack(weighted).sum(), "subject": each[0].mean()}

        schedule = self._schedule()
        data = fingerprint(subject.fingerprint, config, self.family.fingerprint(*self.roles))
        stream = rng.for_("training", subject.name)
        train(self.name, learned, loss, schedule, data=data, rng=stream, work=work, tracker=tracker)
        self._sampler = self._drawing(learned)

    @cached_property
    def _frozen(self) -> Sampler:
        return frozen_sampler(self.family.to_learn(), self.device)

    def _schedule(self) -> Any:
        from recsim_gen.core.training_loop import Schedule

        config = self.config
        warmup = min(20, config.steps // 10)
        return Schedule(config.steps, config.lr, warmup=warmup, weight_decay=config.weight_decay)

    def _learned(self, unet: Any, rng: Rng) -> torch.nn.Module:
        """Return the trained module, in float32, of a frozen UNet."""
        module: torch.nn.Module = unet.float().requires_grad_(True)
        return module

    def _drawing(self, learned: torch.nn.Module) -> Sampler:
        """Return a sampler with it, in the family's precision."""
        sampler = with_own(Sampler(self.family, self.device), "unet")
        sampler.pipeline.unet.load_state_dict(learned.state_dict())
        return sampler

    def _prior(self, prompt: str, rng: Rng) -> torch.Tensor:
        """Return (n, 3, H, W) images of its class by the original model, drawn once per class."""
        import torch

        if (prompt, rng) not in self._priors:
            sampler = Sampler(self.family, self.device)
            conditions = Conditions(sampler.states([prompt])[0], text=prompt)
            streams = [rng.for_("prior", prompt, k) for k in range(self.config.prior_images)]
            drawn = sampler.draw_each([(conditions, stream) for stream in streams], f"{self.name}: its kind")
            self._priors[prompt, rng] = torch.stack(drawn)
        return self._priors[prompt, rng]

    def ready(self) -> Sampler:
        """Return the sampler trained on the subject."""
        if self._sampler is None:
            raise SettingError(f"{self.name} knows no subject yet: call fit first")
        return self._sampler


class DreamBoothLoRA(DreamBooth):
    """Trains LoRA on the UNet's attention; the UNet itself is unchanged."""

    name = "dreambooth_lora"
    config_class = DreamBoothLoRAConfig

    def _learned(self, unet: Any, rng: Rng) -> torch.nn.Module:
        import torch

        from generators.unet_lora import install

        return torch.nn.ParameterList(install(unet, self.config.rank, self.config.rank, rng).values())

    def _drawing(self, learned: torch.nn.Module) -> Sampler:
        from generators.unet_lora import install, restore
        from recsim_gen.core.randomness import Rng

        sampler = with_own(Sampler(self.family, self.device), "unet")
        places = install(sampler.pipeline.unet, self.config.rank, self.config.rank, Rng(0))
        restore(places, dict(zip(places, learned.parameters(), strict=True)))
        return sampler
