"""The diffusion model of a family: text to image, as an ordinary ``StableDiffusionPipeline``.

The scheduler's settings belong to the weights. A v-predicting model on a schedule that ends near zero signal
must be sampled from the last timestep ("trailing") and without clipping of latents; diffusers' defaults lose
the overall colour of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic, cached_array, fingerprint
from recsim_gen.core.training_loop import Schedule, fit, seeded
from recsim_gen.encoders.weights import no_bars, quiet_diffusers

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.tracking import Tracker
    from recsim_gen.pretraining.source import PretrainingSource

PART, FOLDER = "unet", "diffusion"
CHANNELS = (64, 96)
HEADS = 4
SCHEDULE = Schedule(steps=11_000, lr=2e-3, warmup=100, weight_decay=0.01, ema=0.999)
BATCH = 32
NO_WORDS = 0.1  # share of images trained with the empty text, for classifier-free guidance
NOISY = 0.5  # share of images at the last 30% of timesteps, where only the text determines colours
SENTENCES = 0.6  # share of captions among the texts; the rest are titles and keywords
SAMPLING = {"steps": 20, "guidance": 2.0}


def pretrain(
    source: PretrainingSource,
    output: Path,
    *,
    rng: Rng,
    minutes: float | None = None,
    tracker: Tracker | None = None,
    schedule: Schedule = SCHEDULE,
) -> dict[str, Any]:
    """Train a ``UNet2DConditionModel`` on latents and texts and write ``OUTPUT/diffusion``.

    Reads ``OUTPUT/vae`` and ``OUTPUT/clip``, whose text encoder conditions it; both become part of the
    pipeline, whose weights are stored with 16 bits. Loss: MSE of v (Salimans & Ho 2022). Returns the losses,
    that of the test split, and the settings to sample with.

    Raises SettingError if one of the two folders is missing.
    """
    import torch

    from recsim_gen.pretraining.wordings import wordings

    vae, tokenizer, text_encoder = _read(output)
    mean, sd = encoded(vae, source)
    words = Words(tokenizer, text_encoder, [form.texts for form in wordings(source)])
    unet = new_unet(text_encoder.config.hidden_size, mean.shape[1:], rng.for_("weights"))
    scheduler = new_scheduler()

    def loss_of(rows: np.ndarray, step: Rng, no_words: float) -> torch.Tensor:
        """Return the denoising loss of images; a share ``no_words`` of them without text."""
        generator = step.torch()
        here = torch.from_numpy(rows)
        noise = torch.randn(len(rows), *mean.shape[1:], generator=generator)
        latents = mean[here] + sd[here] * torch.randn(noise.shape, generator=generator)
        states = words.states(rows, step.for_("words").numpy(), no_words)
        return denoising_loss(unet, scheduler, latents * vae.config.scaling_factor, noise, states, generator)

    def loss(step: Rng) -> dict[str, torch.Tensor]:
        return {"loss": loss_of(source.draw(BATCH, step.numpy()), step, NO_WORDS)}

    fitted = fit(
        PART,
        unet,
        loss,
        schedule,
        output=output,
        data=fingerprint(
            source.fingerprint, NOISY, mean.numpy(), [p.detach().numpy() for p in text_encoder.parameters()]
        ),
        rng=rng,
        minutes=minutes,
        tracker=tracker,
    )
    with torch.inference_mode():
        test_loss = float(loss_of(source.rows("test")[:500], rng.for_("test"), 0.0))
    save(
        output / FOLDER,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
    )
    return {**fitted, "test_loss": round(test_loss, 5), "sampling": SAMPLING}


def new_unet(width: int, latents: Sequence[int], rng: Rng) -> Any:
    """Return an untrained ``UNet2DConditionModel``, 2.8 M parameters, for texts of this width.

    ``latents``: (channels, side, side) of its input.
    """
    from diffusers import UNet2DConditionModel

    with seeded(rng):
        return UNet2DConditionModel(
            sample_size=latents[1],
            in_channels=latents[0],
            out_channels=latents[0],
            block_out_channels=CHANNELS,
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D",) * len(CHANNELS),
            up_block_types=("CrossAttnUpBlock2D",) * len(CHANNELS),
            cross_attention_dim=width,
            attention_head_dim=HEADS,  # for these models, diffusers uses it as the number of heads
        )


def new_scheduler() -> Any:
    """Return a ``DDIMScheduler`` with the noise schedule of the training and the settings for sampling."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def denoising_loss(
    unet: Any,
    scheduler: Any,
    latents: torch.Tensor,
    noise: torch.Tensor,
    states: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return the MSE of v, at a random timestep for each of ``latents`` (B, c, h, w).

    v = √ᾱ ε − √(1−ᾱ) x; ``states`` (B, T, d) are those of the texts.
    """
    import torch.nn.functional as F

    t = timesteps(len(latents), scheduler.config.num_train_timesteps, generator)
    noisy = scheduler.add_noise(latents, noise, t)
    velocity = scheduler.get_velocity(latents, noise, t)
    return F.mse_loss(unet(noisy, t, encoder_hidden_states=states).sample, velocity)


def timesteps(count: int, steps: int, generator: torch.Generator) -> torch.Tensor:
    """Return (count,) timesteps below ``steps``: a share ``NOISY`` from the last 30%, the others from all.

    With uniform timesteps the shapes are learned quickly and the colours hardly: where noise covers the
    colours, only the text determines them, and such timesteps are too rare.
    """
    import torch

    noisy = torch.rand(count, generator=generator) < NOISY
    first = torch.where(noisy, 7 * steps // 10, 0)
    return first + (torch.rand(count, generator=generator) * (steps - first)).long()


class Words:
    """Texts of a source's rows as the UNet reads them: all last hidden states, including padding.

    ``forms``: one list of n texts for each form of wording, sentences first.
    """

    def __init__(self, tokenizer: Any, text_encoder: Any, forms: Sequence[Sequence[str]]) -> None:
        self._tokenizer, self._encoder = tokenizer, text_encoder
        self._forms = forms
        others = len(forms) - 1
        self._shares = [SENTENCES, *[(1 - SENTENCES) / others] * others] if others else [1.0]

    def states(self, rows: np.ndarray, random: np.random.Generator, no_words: float) -> torch.Tensor:
        """Return (B, T, d) states of a random wording of each row, a share ``no_words`` of them empty."""
        form = random.choice(len(self._forms), size=len(rows), p=self._shares)
        empty = random.random(len(rows)) < no_words
        texts = ["" if e else self._forms[f][row] for f, row, e in zip(form, rows, empty, strict=True)]
        return text_states(self._tokenizer, self._encoder, texts)


def text_states(tokenizer: Any, text_encoder: Any, texts: Sequence[str]) -> torch.Tensor:
    """Return (B, T, d) last hidden states, padded to the tokenizer's length, as in the pipeline."""
    import torch

    tokens = tokenizer(
        list(texts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        states: torch.Tensor = text_encoder(tokens.input_ids).last_hidden_state
    return states


def encoded(vae: Any, source: PretrainingSource) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation (n, c, h, w) of the latents of all images, unscaled; cached."""
    import torch

    def make() -> np.ndarray:
        """Encode all images, 100 at a time."""
        parts = []
        starts = range(0, len(source), 100)
        for start in bar(starts, "encoding pictures", unit="batch"):
            pixels = 2 * source.pixels(np.arange(start, min(start + 100, len(source)))) - 1
            with torch.inference_mode():
                latents = vae.encode(pixels).latent_dist
            parts.append(torch.stack([latents.mean, latents.std]).numpy())
        return np.concatenate(parts, axis=1)

    weights = {name: value.numpy() for name, value in vae.state_dict().items()}
    mean, sd = cached_array("latents", fingerprint(weights, source.fingerprint), make)
    return torch.from_numpy(mean), torch.from_numpy(sd)


def save(folder: Path, **parts: Any) -> None:
    """Save the pipeline of these parts in one folder: weights of 16 bits with configs that say float32.

    The models in memory are rounded likewise, so that later measurements apply to what was saved.
    """
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.vae.register_to_config(_name_or_path="vae")  # not the path that it was loaded from
    with atomic(folder) as temporary, quiet_diffusers():
        pipeline.to(torch.float16).save_pretrained(temporary)
        pipeline.to(torch.float32)
        pipeline.text_encoder.config.dtype = torch.float32  # transformers loads with the type in the config
        pipeline.text_encoder.config.save_pretrained(temporary / "text_encoder")


def _read(output: Path) -> tuple[Any, Any, Any]:
    """Return autoencoder, tokenizer and text encoder of the family, frozen."""
    import torch
    import transformers
    from diffusers import AutoencoderKL

    for needed in ("vae", "clip"):
        if not (output / needed / "config.json").is_file():
            raise SettingError(
                f"part unet needs part {needed}, {output / needed} is not there: train it first"
            )
    vae: Any = AutoencoderKL.from_pretrained(output / "vae")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(output / "clip")
    with no_bars(transformers):
        clip: Any = transformers.CLIPModel.from_pretrained(output / "clip", dtype=torch.float32)
    return vae.eval().requires_grad_(False), tokenizer, clip.text_model.eval().requires_grad_(False)
