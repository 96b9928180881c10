"""Sampling of GLIDE's nets: ancestral steps with learned variance, and deterministic steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from recsim_gen.models.glide.config import TIMESTEPS, NetConfig

if TYPE_CHECKING:
    from recsim_gen.models.glide.network import GlideNet


def new_scheduler(config: NetConfig) -> Any:
    """Return a ``DDPMScheduler`` with a net's noise; x₀ is clipped to [-1, 1], variances are learned."""
    from diffusers import DDPMScheduler

    scheduler: Any = DDPMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_schedule=config.noise,
        prediction_type=config.prediction,
        variance_type="learned_range",
        clip_sample=True,
    )
    scheduler.set_timesteps(timesteps=list(config.timesteps))
    return scheduler


def ancestral(
    net: GlideNet,
    noise: torch.Tensor,
    states: torch.Tensor,
    no_words: torch.Tensor,
    guidance: float,
    generators: Sequence[torch.Generator],
) -> torch.Tensor:
    """Return (B, 3, s, s) in [-1, 1], sampled from ``noise`` (B, 3, s, s) with classifier-free guidance.

    ``states`` and ``no_words`` (B, T, d) are those of the texts and of the empty text; all randomness of row
    i comes from ``generators[i]``. Ho et al. 2020, with the variances of Nichol & Dhariwal 2021.
    """
    scheduler = new_scheduler(net.config)
    both, x = torch.cat([states, no_words]), noise
    for t in scheduler.timesteps:
        given, free = net(torch.cat([x, x]), t, both).chunk(2)
        x = scheduler.step(guided(given, free, guidance), t, x, generator=list(generators)).prev_sample
    return x


def guided(given: torch.Tensor, free: torch.Tensor, guidance: float) -> torch.Tensor:
    """Return free + guidance · (given − free) for the noise channels, and the variance of ``given``."""
    noise = free[:, :3] + guidance * (given[:, :3] - free[:, :3])
    return torch.cat([noise, given[:, 3:]], dim=1)


def deterministic(
    net: GlideNet,
    noise: torch.Tensor,
    states: torch.Tensor,
    small: torch.Tensor,
    residual: float = 0.0,
) -> torch.Tensor:
    """Return (B, 3, s, s) in [-1, 1]: ``small`` (B, 3, r, r), enlarged by the net.

    The steps are DDIM's with η = 0 (Song et al. 2021). With ``residual`` r the net denoises r times the
    difference between the image and the enlarged one.
    """
    config = net.config
    enlarged = enlarge(small, config.image_size)
    alphas = new_scheduler(config).alphas_cumprod.to(noise)[list(config.timesteps)]
    x = noise
    for t, now, then in zip(config.timesteps, alphas, [*alphas[1:], torch.ones_like(alphas[0])], strict=True):
        signal, spread = now.sqrt(), (1 - now).sqrt()
        predicted = net(x, torch.tensor(t), states, enlarged)[:, :3]
        if config.prediction == "epsilon":
            clean = (x - spread * predicted) / signal
        else:
            clean = signal * x - spread * predicted
        clean = to_residual(to_picture(clean, enlarged, residual).clamp(-1, 1), enlarged, residual)
        epsilon = (x - signal * clean) / spread
        x = then.sqrt() * clean + (1 - then).sqrt() * epsilon
    return to_picture(x, enlarged, residual)


def to_residual(pictures: torch.Tensor, enlarged: torch.Tensor, residual: float) -> torch.Tensor:
    """Return what the upsampler denoises in place of ``pictures``: themselves if ``residual`` is 0."""
    return residual * (pictures - enlarged) if residual else pictures


def to_picture(clean: torch.Tensor, enlarged: torch.Tensor, residual: float) -> torch.Tensor:
    """Return the inverse of ``to_residual``."""
    return clean / residual + enlarged if residual else clean


def enlarge(small: torch.Tensor, size: int) -> torch.Tensor:
    """Return ``small`` (B, 3, r, r) scaled bilinearly to side ``size``."""
    return F.interpolate(small, (size, size), mode="bilinear", align_corners=False)


def quantised(pictures: torch.Tensor) -> torch.Tensor:
    """Return images in [-1, 1] rounded to 8 bits, as the upsampler was trained."""
    return ((pictures + 1) * 127.5).round() / 127.5 - 1
