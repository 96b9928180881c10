"""Trains an embedded InstructPix2Pix: a UNet with the image to edit as additional input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from generators.denoising import Denoising, draw_rows, train
from generators.images import to_pixels
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import Loss, Schedule, seeded
from recsim_gen.pretraining.diffusion import timesteps

if TYPE_CHECKING:
    from generators.editing.config import InstructEditConfig
    from generators.editing.pairs import EditPairs
    from recsim_gen.core.protocols import TrainingTracker

ENCODED_AT_ONCE = 50


def editing_unet(unet: Any) -> Any:
    """Return a copy of the UNet in float32 with twice the input channels, for the latents of an image.

    The weights of the new channels are zero, so its initial output is that of ``unet``, whatever the image.
    """
    channels = unet.config.in_channels
    with seeded(Rng(0)):
        made = type(unet).from_config(unet.config, in_channels=2 * channels)
    state = {name: x.detach().float() for name, x in unet.state_dict().items()}
    weight = state["conv_in.weight"]
    state["conv_in.weight"] = torch.cat([weight, torch.zeros_like(weight)], dim=1)
    made.load_state_dict(state)
    return made


def learn(
    unet: Any,
    pairs: EditPairs,
    denoising: Denoising,
    config: InstructEditConfig,
    *,
    data: str,
    rng: Rng,
    work: Path | None,
    tracker: TrainingTracker | None,
) -> None:
    """Train ``unet`` in place; the other models of ``denoising`` are not changed."""
    denoising.sampler.pipeline.unet = unet
    schedule = Schedule(
        config.steps,
        config.lr,
        warmup=min(50, config.steps // 10),
        weight_decay=config.weight_decay,
        accumulate=config.accumulate,
    )
    loss = editing_loss(pairs, denoising, config)
    train("instruct_edit", unet, loss, schedule, data=data, rng=rng, work=work, tracker=tracker)


def editing_loss(pairs: EditPairs, denoising: Denoising, config: InstructEditConfig) -> Loss:
    """Return the loss of denoising the image after an edit, given the instruction and the image before.

    A share ``drop`` of examples has no instruction, another no image, another neither (Brooks et al. 2023,
    Sec. 3.2.1), for both kinds of guidance. Timesteps as in the training of the family's UNet: half of them
    late, where the text decides.
    """
    sampler = denoising.sampler
    before, mean, std = encoded(pairs, denoising)
    length = denoising.sampler.pipeline.scheduler.config.num_train_timesteps

    def loss(step: Rng) -> dict[str, Tensor]:
        """Return the MSE of the prediction, on a batch drawn from the step's stream."""
        rows, generator = draw_rows(len(mean), config.batch_size, step.numpy()), step.torch()
        without_text, without_picture = dropped(step.for_("drop").numpy().random(len(rows)), config.drop)
        noise, t = torch.randn(mean[rows].shape, generator=generator), timesteps(len(rows), length, generator)
        latents = mean[rows] + std[rows] * torch.randn(noise.shape, generator=generator)
        shown = torch.where(torch.from_numpy(without_picture)[:, None, None, None], 0.0, before[rows])
        text_flags = zip(rows, without_text, strict=True)
        states = sampler.states(["" if silent else pairs.instructions[row] for row, silent in text_flags])
        latents, noise, t, shown = (x.to(sampler.device) for x in (latents, noise, t, shown))
        predicted, right = denoising.predicted(latents, noise, t, states, beside=shown)
        return {"loss": F.mse_loss(predicted, right)}

    return loss


def dropped(chance: np.ndarray, drop: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (B,) bool each: without text, without image; given uniform ``chance`` (B,).

    A share ``drop`` is without text only, an equal share without image only, and another without both.
    """
    return chance < 2 * drop, (drop <= chance) & (chance < 3 * drop)


def encoded(pairs: EditPairs, denoising: Denoising) -> tuple[Tensor, Tensor, Tensor]:
    """Return latents (N, c, h, w) float32 of the images before, and mean and deviation of those after.

    Before: the mode, unscaled, as the pipeline passes it to the UNet. After: scaled.
    """
    from PIL import Image

    vae, size = denoising.sampler.pipeline.vae, denoising.sampler.size
    parts = []
    for start in bar(range(0, len(pairs.pictures), ENCODED_AT_ONCE), "encoding edits", unit="batch"):
        shown = pairs.pictures[start : start + ENCODED_AT_ONCE].reshape(-1, *pairs.pictures.shape[2:])
        pixels = torch.stack([to_pixels(Image.fromarray(x), size) for x in shown])
        with torch.no_grad():
            latents = vae.encode((2 * pixels - 1).to(vae.device, vae.dtype)).latent_dist
        both = torch.stack([latents.mean, latents.std]).float().cpu()
        parts.append(both.unflatten(1, (-1, 2)))
    mean, std = torch.cat(parts, dim=1)
    scale = vae.config.scaling_factor
    return mean[:, 0], mean[:, 1] * scale, std[:, 1] * scale
