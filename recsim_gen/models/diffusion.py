"""Loads pipelines of diffusers: Stable Diffusion, InstructPix2Pix, and any other by its class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import torch
    from diffusers import (
        DiffusionPipeline,
        StableDiffusionInstructPix2PixPipeline,
        StableDiffusionPipeline,
    )

    from recsim_gen.models.checkpoint import Checkpoint


def load_diffusion(
    checkpoint: Checkpoint, *, device: str, torch_dtype: torch.dtype
) -> StableDiffusionPipeline:
    """Load the pipeline with its own scheduler, without safety checker and progress bars.

    The safety checker would replace images by black ones and so distort measurements; product images do not
    need it. Raises MissingDependency as ``Checkpoint.load`` does, DataError if weights are missing.
    """
    from diffusers import StableDiffusionPipeline

    pipeline: StableDiffusionPipeline = _load(StableDiffusionPipeline, checkpoint, device, torch_dtype)
    return pipeline


def load_instruct_pix2pix(
    checkpoint: Checkpoint, *, device: str, torch_dtype: torch.dtype
) -> StableDiffusionInstructPix2PixPipeline:
    """As `load_diffusion`, for a UNet that also receives the latents of the image to edit.

    Raises DataError if the UNet does not.
    """
    from diffusers import StableDiffusionInstructPix2PixPipeline

    pipeline: Any = _load(StableDiffusionInstructPix2PixPipeline, checkpoint, device, torch_dtype)
    expected, got = 2 * pipeline.vae.config.latent_channels, pipeline.unet.config.in_channels
    if got != expected:
        raise DataError(
            f"a UNet with {expected} input channels is wanted, half of them for the picture that is edited, "
            f"got one with {got}",
            file=checkpoint.folder(),
            remedy="Name weights of InstructPix2Pix",
        )
    edits: StableDiffusionInstructPix2PixPipeline = pipeline
    return edits


def _load(pipeline_class: Any, checkpoint: Checkpoint, device: str, torch_dtype: torch.dtype) -> Any:
    from transformers import CLIPTextModel

    text_encoder = checkpoint.load_model(CLIPTextModel, torch_dtype, subfolder="text_encoder")

    def make(folder: Path) -> Any:
        """Read the pipeline, without what no generator here uses."""
        return pipeline_class.from_pretrained(
            folder,
            text_encoder=text_encoder,
            dtype=torch_dtype,
            use_safetensors=True,
            local_files_only=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    pipeline = checkpoint.load(make)
    for model in (pipeline.unet, pipeline.vae):  # diffusers leaves missing weights without storage
        checkpoint.refuse_incomplete(model, [n for n, x in model.named_parameters() if x.is_meta])
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def load_pipeline(
    pipeline_class: Any, checkpoint: Checkpoint, *, device: str, torch_dtype: torch.dtype
) -> DiffusionPipeline:
    """Load a pipeline of this diffusers class, from safetensors only, without progress bars.

    Raises MissingDependency as ``Checkpoint.load`` does.
    """

    def make(folder: Path) -> Any:
        options = {"dtype": torch_dtype, "use_safetensors": True, "local_files_only": True}
        return pipeline_class.from_pretrained(folder, **options)

    pipeline = checkpoint.load(make)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)
