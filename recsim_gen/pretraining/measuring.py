"""Evaluates a family on the held-out data of its training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import cached_array, fingerprint

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.results import Results
    from recsim_gen.models.family import ModelFamily
    from recsim_gen.pretraining.source import PretrainingSource

BATCH = 32

BARS = {
    ("generated", "category"): 0.95,
    ("generated", "main"): 0.90,
    ("generated", "pattern"): 0.80,
    ("clip", "recall@1"): 0.60,
    ("llm", "attribute_recall"): 0.95,
}
"""Lower limits that the embedded family should reach."""

CEILINGS = {("clip", "median_rank"): 1.0, ("llm", "malformed"): 0.01, ("generated", "seconds_32"): 6.0}
"""Upper limits."""


@dataclass(frozen=True)
class Sampling:
    """Sampling of images: steps, and the scale of classifier-free guidance (1: none)."""

    steps: int
    guidance: float

    @classmethod
    def of(cls, family: ModelFamily, steps: int | None = None, guidance: float | None = None) -> Sampling:
        """Return the family's settings unless others are given."""
        return cls(
            family.steps if steps is None else steps, family.guidance if guidance is None else guidance
        )


def drawn(family: ModelFamily, prompts: Sequence[str], sampling: Sampling, *, rng: Rng) -> np.ndarray:
    """Return (n, s, s, 3) uint8 images for these prompts; cached.

    Image i starts from the noise of ``rng.for_(i)``, independent of the other images.
    """
    key = fingerprint(family.fingerprint("diffusion"), sampling, rng)
    parts = []
    for start in bar(range(0, len(prompts), BATCH), "drawing", unit="batch"):
        texts = list(prompts[start : start + BATCH])
        name = fingerprint(key, start, texts)
        parts.append(cached_array("measured", name, partial(_draw, family, texts, start, rng, sampling)))
    return np.concatenate(parts)


def _draw(family: ModelFamily, texts: list[str], start: int, rng: Rng, sampling: Sampling) -> np.ndarray:
    generators = [rng.for_(start + i).torch() for i in range(len(texts))]
    pipeline: Any = family.diffusion()
    images = pipeline(
        texts,
        generator=generators,
        output_type="np",
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance,
    ).images
    return np.rint(255 * images).astype(np.uint8)


def seconds_for_32(family: ModelFamily, prompt: str, sampling: Sampling) -> float:
    """Return the wall time of one batch of 32 images, the second of two."""
    for _ in range(2):
        start = time.perf_counter()
        _draw(family, [prompt] * BATCH, 0, Rng(0), sampling)
    return time.perf_counter() - start


def reconstructed(family: ModelFamily, pictures: np.ndarray) -> np.ndarray:
    """Return (n, s, s, 3) uint8: ``pictures`` encoded and decoded by the autoencoder, without noise."""
    import torch

    pipeline: Any = family.diffusion()
    vae = pipeline.vae
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 100):
            latents = vae.encode(2 * as_pixels(pictures[start : start + 100]) - 1).latent_dist.mode()
            parts.append((vae.decode(latents).sample / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1))
    return np.rint(255 * torch.cat(parts).numpy()).astype(np.uint8)


def as_pixels(pictures: np.ndarray) -> torch.Tensor:
    """Return (B, 3, s, s) float32 in [0, 1] of uint8 images (B, s, s, 3)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def psnr(pictures: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the (n,) peak signal-to-noise ratios in dB between uint8 images (n, s, s, 3)."""
    error = np.square(pictures.astype(np.float64) - others).mean((1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 1e-9))


def text_to_image_ranks(family: ModelFamily, source: PretrainingSource, rows: np.ndarray) -> np.ndarray:
    """Return (n,) the rank of each row's image among all ``rows`` for its caption, by cosine; 1 is best."""
    import torch
    from PIL import Image

    from recsim_gen.core.ranking import ranks

    text = family.text_encoder().encode_texts([source.captions[row] for row in rows])
    images = [Image.fromarray(np.array(source.images[row])) for row in rows]
    parts = [family.image_encoder().encode_images(images[i : i + 250]) for i in range(0, len(images), 250)]
    words, shown = (torch.nn.functional.normalize(torch.from_numpy(x)) for x in (text, np.concatenate(parts)))
    scores = words @ shown.T
    return ranks(scores, torch.arange(len(rows)), torch.zeros_like(scores, dtype=torch.bool)).numpy()


def add_rows(results: Results, variant: str, values: Mapping[str, np.ndarray], clusters: np.ndarray) -> None:
    """Add a row for the mean of each column of ``values`` (n,), with an interval over ``clusters``."""
    from recsim_gen.core.statistics import bootstrap_columns

    table = np.stack([np.asarray(column, dtype=float) for column in values.values()], axis=1)
    for metric, e in zip(values, bootstrap_columns(table, clusters, Rng(0)), strict=True):
        results.row(variant=variant, metric=metric, value=e.value, low=e.low, high=e.high, n=e.n)


def judge_by_bars(results: Results) -> None:
    """Add a verdict for each number that has a limit."""
    values = {(row["variant"], row["metric"]): row["value"] for row in results.rows}
    for bars, word in ((BARS, "at least"), (CEILINGS, "at most")):
        for key, limit in bars.items():
            if key in values:
                reached = values[key] >= limit if bars is BARS else values[key] <= limit
                text = "holds" if reached else "does not hold"
                results.verdict(" ".join(key), f"{text}: {values[key]:.4g}, wanted {word} {limit:g}")
