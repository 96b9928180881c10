"""The GLIDE of a family: a base that draws small images from captions, and the net that enlarges them.

Differences to the published training, since this one takes minutes: v instead of the noise, more timesteps at
which only the caption determines the colours, and an upsampler that learns the difference to bilinear
enlargement, because one that starts from noise loses what the enlargement preserves.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic, fingerprint
from recsim_gen.core.training_loop import Schedule, fit, seeded
from recsim_gen.models.glide.config import FAST27, GlideConfig, NetConfig, spaced
from recsim_gen.pretraining.diffusion import NOISY, timesteps
from recsim_gen.pretraining.tokens import clip_tokenizer
from recsim_gen.pretraining.wordings import item_sentences

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.tracking import Tracker
    from recsim_gen.models.glide.network import GlideNet
    from recsim_gen.models.glide.pipeline import Glide
    from recsim_gen.pretraining.source import PretrainingSource

FOLDER = "glide"
SHRINK = 4  # the base's images have a quarter of the side
BASE = NetConfig(
    channels=(24, 48, 64),
    blocks=1,
    attended=2,
    head_channels=16,
    groups=8,
    text_width=64,
    text_layers=2,
    text_heads=4,
    prediction="v_prediction",
    timesteps=spaced(50),
)
UPSAMPLER = replace(
    BASE,
    in_channels=6,
    out_channels=3,  # its sampling steps need no variance
    channels=(8, 16, 24),
    attended=1,
    head_channels=8,
    text_width=32,
    text_layers=1,
    noise="linear",
    timesteps=FAST27,
)
GUIDANCE = 2.0
RESIDUAL = 4.0
SCHEDULES = {
    "base": Schedule(steps=1200, lr=2e-3, warmup=50, weight_decay=0.01, ema=0.995),
    "upsampler": Schedule(steps=300, lr=2e-3, warmup=20, weight_decay=0.01, ema=0.99),
}
BATCHES = {"base": 16, "upsampler": 4}
NO_WORDS = 0.1  # share of the base's images trained with the empty text, for classifier-free guidance
LONGEST = 48  # most tokens of a caption


def pretrain(
    source: PretrainingSource,
    output: Path,
    *,
    rng: Rng,
    minutes: float | None = None,
    tracker: Tracker | None = None,
) -> dict[str, Any]:
    """Train both nets on images and captions and write ``OUTPUT/glide``, with weights of 16 bits.

    The base gets three quarters of ``minutes``. Returns the losses of the base, and those of the upsampler
    under its name.
    """
    import torch

    from recsim_gen.models.glide.pipeline import tokenized

    captions = item_sentences(source)
    model = new_glide(source, captions, rng.for_("weights"))
    losses = {"base": base_losses, "upsampler": upsampler_losses}
    tokens, is_text = tokenized(model.tokenizer, captions, model.config.base.text_length)
    measured: dict[str, Any] = {}
    for name, share in (("base", 0.75), ("upsampler", 0.25)):
        net: GlideNet = getattr(model, name)

        def loss(step: Rng, name: str = name, net: GlideNet = net) -> dict[str, torch.Tensor]:
            random = step.numpy()
            rows = source.draw(BATCHES[name], random)
            silent = torch.from_numpy(random.random(len(rows)) < (NO_WORDS if name == "base" else 0.0))
            here = torch.from_numpy(rows)
            states = net.text(tokens[here], is_text[here] & ~silent[:, None])
            return losses[name](net, 2 * source.pixels(rows) - 1, states, step.torch())

        measured[name] = fit(
            f"{FOLDER}-{name}",
            net,
            loss,
            SCHEDULES[name],
            output=output,
            data=fingerprint(source.fingerprint, model.config, BATCHES, NO_WORDS, NOISY),
            rng=rng.for_(name),
            minutes=None if minutes is None else share * minutes,
            tracker=tracker,
        )
    with atomic(output / FOLDER) as temporary:
        model.half().save_pretrained(temporary)
    seconds = round(sum(part["seconds"] for part in measured.values()), 1)
    return {**measured["base"], "seconds": seconds, "upsampler": measured["upsampler"]}


def new_glide(source: PretrainingSource, captions: list[str], rng: Rng) -> Glide:
    """Return an untrained GLIDE for images of the source's size, with a tokenizer of its captions."""
    from recsim_gen.models.glide.pipeline import Glide

    tokenizer = clip_tokenizer(list(dict.fromkeys(captions)))
    longest = max(map(len, tokenizer(captions, add_special_tokens=False)["input_ids"]))
    text: dict[str, Any] = {
        "text_length": min(-(-(longest + 1) // 8) * 8, LONGEST),
        "vocabulary": len(tokenizer),
    }
    size = source.images.shape[1]
    config = GlideConfig(
        base=replace(BASE, image_size=size // SHRINK, **text),
        upsampler=replace(UPSAMPLER, image_size=size, **text),
        guidance=GUIDANCE,
        residual=RESIDUAL,
    )
    with seeded(rng):
        return Glide(config, tokenizer)


def base_losses(
    net: GlideNet, pixels: torch.Tensor, states: torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Return the MSE of v of downscaled ``pixels`` (B, 3, s, s) in [-1, 1], and the variances' bits."""
    import torch
    import torch.nn.functional as F

    from recsim_gen.models.glide.sampling import new_scheduler

    scheduler = new_scheduler(net.config)
    small = F.avg_pool2d(pixels, pixels.shape[-1] // net.config.image_size)
    t = timesteps(len(small), scheduler.config.num_train_timesteps, generator)
    noise = torch.randn(small.shape, generator=generator)
    noisy = scheduler.add_noise(small, noise, t)
    velocity, share = net(noisy, t, states).chunk(2, dim=1)
    mse = F.mse_loss(velocity, scheduler.get_velocity(small, noise, t))
    bits = variance_bits(velocity.detach(), share, small, noisy, t, scheduler.alphas_cumprod)
    return {"loss": mse + bits, "mse": mse, "bits": bits}


def variance_bits(
    velocity: torch.Tensor,
    share: torch.Tensor,
    clean: torch.Tensor,
    noisy: torch.Tensor,
    t: torch.Tensor,
    alphas: torch.Tensor,
) -> torch.Tensor:
    """Return KL(q(x_{t−1} | x_t, x_0) ‖ p), bits per number, averaged over images; 0 at t = 0, without noise.

    log σ² of p lies between those of β̃ (``share`` −1) and β (``share`` 1). Nichol & Dhariwal 2021, Eq. 15.
    """
    at = t.clamp(min=1)[:, None, None, None]
    now, before = alphas[at], alphas[at - 1]
    beta = 1 - now / before
    least = (beta * (1 - before) / (1 - now)).log()
    log_variance = least + (share + 1) / 2 * (beta.log() - least)
    predicted = now.sqrt() * noisy - (1 - now).sqrt() * velocity
    distance = before.sqrt() * beta / (1 - now) * (clean - predicted)
    ratio = least - log_variance
    nats = 0.5 * (ratio.exp() - 1 - ratio + distance.square() / log_variance.exp())
    return (nats.mean((1, 2, 3)) * (t > 0)).mean() / float(np.log(2))


def upsampler_losses(
    net: GlideNet, pixels: torch.Tensor, states: torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Return the MSE of v of the difference to the enlarged image; ``pixels`` (B, 3, s, s) in [-1, 1]."""
    import torch
    import torch.nn.functional as F

    from recsim_gen.models.glide.sampling import enlarge, new_scheduler, quantised, to_residual

    scheduler = new_scheduler(net.config)
    enlarged = enlarge(quantised(F.avg_pool2d(pixels, SHRINK)), pixels.shape[-1])
    clean = to_residual(pixels, enlarged, RESIDUAL)
    t = timesteps(len(clean), scheduler.config.num_train_timesteps, generator)
    noise = torch.randn(clean.shape, generator=generator)
    predicted = net(scheduler.add_noise(clean, noise, t), t, states, enlarged)[:, :3]
    return {"loss": F.mse_loss(predicted, scheduler.get_velocity(clean, noise, t))}
