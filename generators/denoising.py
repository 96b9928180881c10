"""Training by denoising, for generators that condition a frozen diffusion model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from generators.images import image_of, to_pixels
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import Catalog, Episode

if TYPE_CHECKING:
    import torch

    from generators.sampler import Sampler
    from recsim_gen.core.protocols import TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.training_loop import Loss, Schedule
    from recsim_gen.models.family import ModelFamily


class Denoiser:
    """Evaluates a pipeline's UNet on noisy images."""

    def __init__(self, sampler: Sampler) -> None:
        from diffusers import DDPMScheduler

        self.sampler = sampler
        # The sampler's scheduler may not support velocity; its noise schedule is the same.
        self._scheduler: Any = DDPMScheduler.from_config(sampler.pipeline.scheduler.config)

    def on_pixels(
        self, pixels: torch.Tensor, states: torch.Tensor, random: torch.Generator, **conditions: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the UNet's prediction for images at one random timestep each, and the target; float32.

        ``pixels`` (B, 3, H, W) in [0, 1], ``states`` (B, T, d); ``conditions`` are passed to the UNet as
        ``added_cond_kwargs``. The target is the noise (Ho et al. 2020) or v = √ᾱ ε − √(1−ᾱ) x (Salimans & Ho
        2022), as the model was trained. The UNet computes in its own precision, also if parts of it are
        trained in float32; latents and noise are float32.
        """
        latents = self.encoded(pixels, random)
        noise, t = self.noise(latents, random)
        return self.predicted(latents, noise, t, states, **conditions)

    def noise(self, latents: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ε ~ N(0, I) shaped like ``latents`` (B, c, h, w), and a uniform timestep t (B,) for each."""
        import torch

        noise = torch.randn(latents.shape, generator=random).to(latents)
        t = torch.randint(self._scheduler.config.num_train_timesteps, (len(latents),), generator=random)
        return noise, t.to(latents.device)

    def predicted(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        t: torch.Tensor,
        states: torch.Tensor,
        *,
        beside: torch.Tensor | None = None,
        **conditions: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the UNet's prediction for latents (B, c, h, w) with noise of step t, and the target.

        Float32. ``beside`` (B, C, h, w): additional input channels without noise, if the UNet has them.
        """
        import torch

        unet = self.sampler.pipeline.unet
        half = unet.dtype != torch.float32
        noisy = self._scheduler.add_noise(latents, noise, t)
        if beside is not None:
            noisy = torch.cat([noisy, beside], dim=1)
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=half):
            predicted = unet(
                noisy.to(unet.dtype),
                t,
                encoder_hidden_states=states.to(unet.dtype),
                added_cond_kwargs=conditions or None,
            ).sample
        return predicted.float(), self._target(latents, noise, t)

    def _target(self, latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        kind = self._scheduler.config.prediction_type
        if kind not in ("epsilon", "v_prediction"):
            raise SettingError(f"a diffusion model that predicts epsilon or v is wanted, got {kind!r}")
        if kind == "epsilon":
            return noise
        velocity: torch.Tensor = self._scheduler.get_velocity(latents, noise, t)
        return velocity

    def encoded(self, pixels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Return (B, c, h, w) float32 latents of images (B, 3, H, W) in [0, 1], sampled and scaled."""
        import torch

        vae = self.sampler.pipeline.vae
        with torch.no_grad():
            posterior = vae.encode((2 * pixels - 1).to(vae.device, vae.dtype)).latent_dist
        mean, std = posterior.mean.float(), posterior.std.float()
        noise = torch.randn(mean.shape, generator=random).to(mean)
        latents: torch.Tensor = (mean + std * noise) * vae.config.scaling_factor
        return latents


class Denoising(Denoiser):
    """The denoising loss of a frozen pipeline on images of a catalogue."""

    def __init__(self, sampler: Sampler, catalog: Catalog) -> None:
        super().__init__(sampler)
        self.catalog = catalog

    def loss(
        self, rows: Sequence[int], states: torch.Tensor, random: torch.Generator, **conditions: Any
    ) -> torch.Tensor:
        """Return the MSE of `on_pixels` over the items' images."""
        import torch
        import torch.nn.functional as F

        pixels = [to_pixels(image_of(self.catalog, row), self.sampler.size) for row in rows]
        return F.mse_loss(*self.on_pixels(torch.stack(pixels), states, random, **conditions))


def frozen_sampler(family: ModelFamily, device: str | None) -> Sampler:
    """Return a sampler with its own frozen models (`ModelFamily.to_learn`), through which gradients flow."""
    from generators.sampler import Sampler

    sampler = Sampler(family, device)
    pipeline = sampler.pipeline
    for model in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        model.requires_grad_(False)
    if family.gradient_checkpointing:
        pipeline.unet.enable_gradient_checkpointing()
    return sampler


def with_images(catalog: Catalog, items: Sequence[int]) -> list[int]:
    """Return the items that have an image, in their order."""
    if catalog.images is None:
        return []
    present = catalog.images.present
    return [item for item in items if present[item]]


def user_items(catalog: Catalog, episodes: Sequence[Episode], least: int = 1) -> dict[int, list[int]]:
    """Return {user row: items with an image in their histories}, for users with ``least`` or more.

    References are left out, since images may be judged on them. Raises DataError if no user is left.
    """
    items: dict[int, dict[int, None]] = {}
    for episode in episodes:
        items.setdefault(episode.user, {}).update(dict.fromkeys(with_images(catalog, episode.history)))
    kept = {user: [*rows] for user, rows in sorted(items.items()) if len(rows) >= least}
    if not kept:
        raise DataError(
            f"histories with at least {least} pictures are wanted, none of {len(episodes)} episodes has one",
            remedy="Give episodes of people whose items have pictures",
        )
    return kept


def train(
    name: str,
    model: torch.nn.Module,
    loss: Loss,
    schedule: Schedule,
    *,
    data: str,
    rng: Rng,
    work: Path | None,
    tracker: TrainingTracker | None,
) -> None:
    """Train the parameters of ``model`` by `training.fit`; without ``work`` it cannot be resumed."""
    from recsim_gen.core.training_loop import fit, forget

    with tempfile.TemporaryDirectory() if work is None else nullcontext(work) as folder:
        fit(name, model, loss, schedule, output=Path(folder), data=data, rng=rng, tracker=tracker)
        forget(Path(folder), name)


def draw_rows(count: int, size: int, random: np.random.Generator) -> list[int]:
    """Return ``size`` of ``count`` positions, uniformly with replacement."""
    drawn: list[int] = random.integers(count, size=size).tolist()
    return drawn
