"""The autoencoder of a family: maps an image to latents of an eighth of its side and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic, fingerprint
from recsim_gen.core.training_loop import Schedule, fit, seeded

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.tracking import Tracker
    from recsim_gen.pretraining.source import PretrainingSource

FOLDER = "vae"
CHANNELS = (16, 32, 48, 64)
LATENT_CHANNELS = 8
GROUPS = 2  # groups of the norms; one channel per group would remove the colour of a uniform image
SCHEDULE = Schedule(steps=8000, lr=1.5e-3, warmup=50, weight_decay=0.01)
BATCH = 8
KL_WEIGHT = 1e-6  # at 1e-5 the penalty switches off channels that are not yet useful: 3 of 8 stayed empty
LOG_VARIANCE = -5.0  # initial log variance of the latents, for the same reason
MEASURED = 2000  # images of the train split that determine the scale of the latents


def pretrain(
    source: PretrainingSource,
    output: Path,
    *,
    rng: Rng,
    minutes: float | None = None,
    tracker: Tracker | None = None,
    schedule: Schedule = SCHEDULE,
) -> dict[str, Any]:
    """Train an ``AutoencoderKL`` on the source's images and write ``OUTPUT/vae``.

    Loss: L1 + MSE over pixels in [-1, 1] + 1e-6 KL (sum over the latent's dimensions). The config's
    ``scaling_factor`` gives the latents of the train split unit variance. Returns the losses, the ``psnr``
    (dB) of held-out images and ``latent_sd`` by channel after scaling.
    """
    model = new_autoencoder(rng.for_("weights"))

    def loss(step: Rng) -> dict[str, torch.Tensor]:
        pixels = 2 * source.pixels(source.draw(BATCH, step.numpy())) - 1
        return reconstruction_loss(model, pixels, step.torch())

    fitted = fit(
        FOLDER,
        model,
        loss,
        schedule,
        output=output,
        data=fingerprint(source.fingerprint, BATCH, GROUPS, KL_WEIGHT, LOG_VARIANCE),
        rng=rng,
        minutes=minutes,
        tracker=tracker,
    )
    sd = latent_sd(model, source, rng)
    scale = 1 / float(sd.square().mean().sqrt())
    model.register_to_config(scaling_factor=round(scale, 4))
    with atomic(output / FOLDER) as temporary:
        model.save_pretrained(temporary)
    spread = [round(float(s) * scale, 3) for s in sd]
    return {**fitted, "psnr": round(psnr(model, source), 2), "scaling_factor": scale, "latent_sd": spread}


def new_autoencoder(rng: Rng) -> Any:
    """Return an untrained ``AutoencoderKL``: 0.83 M parameters, 64×64 to 8 channels of 8×8."""
    import torch
    from diffusers import AutoencoderKL

    with seeded(rng):
        model: Any = AutoencoderKL(
            block_out_channels=CHANNELS,
            down_block_types=("DownEncoderBlock2D",) * len(CHANNELS),
            up_block_types=("UpDecoderBlock2D",) * len(CHANNELS),
            layers_per_block=1,
            latent_channels=LATENT_CHANNELS,
            mid_block_add_attention=False,
            norm_num_groups=GROUPS,
            sample_size=64,
        )
    with torch.no_grad():
        model.quant_conv.bias[LATENT_CHANNELS:] = LOG_VARIANCE
    return model


def reconstruction_loss(
    model: Any, pixels: torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Return L1 + MSE + 1e-6 KL of ``pixels`` (B, 3, H, W) in [-1, 1], decoded from sampled latents."""
    import torch.nn.functional as F

    posterior = model.encode(pixels).latent_dist
    decoded = model.decode(posterior.sample(generator=generator)).sample
    l1, mse, kl = F.l1_loss(decoded, pixels), F.mse_loss(decoded, pixels), posterior.kl().mean()
    return {"loss": l1 + mse + KL_WEIGHT * kl, "l1": l1, "mse": mse, "kl": kl}


def latent_sd(model: Any, source: PretrainingSource, rng: Rng) -> torch.Tensor:
    """Return (channels,) root mean square of the sampled latents of the train split, unscaled."""
    import torch

    count = min(MEASURED, len(source.rows("train")))
    rows, generator = source.draw(count, rng.for_("scale").numpy()), rng.for_("scale").torch()
    squares = []
    with torch.inference_mode():
        for start in range(0, len(rows), 100):
            pixels = 2 * source.pixels(rows[start : start + 100]) - 1
            latents = model.encode(pixels).latent_dist.sample(generator=generator)
            squares.append(latents.square().mean((0, 2, 3)))
    return torch.stack(squares).mean(0).sqrt()


def psnr(model: Any, source: PretrainingSource, most: int = 500) -> float:
    """Return the peak signal-to-noise ratio (dB) of decoded images of the test split, over all pixels."""
    import torch
    import torch.nn.functional as F

    rows = source.rows("test")[:most]
    errors = []
    with torch.inference_mode():
        for start in range(0, len(rows), 100):
            pixels = source.pixels(rows[start : start + 100])
            latents = model.encode(2 * pixels - 1).latent_dist.mode()
            decoded = (model.decode(latents).sample / 2 + 0.5).clamp(0, 1)
            errors.append(F.mse_loss(decoded, pixels, reduction="none").mean((1, 2, 3)))
    return float(-10 * torch.cat(errors).mean().log10())
