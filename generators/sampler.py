"""Sampling of a family's diffusion model, as all generators that have one do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.randomness import Rng
    from recsim_gen.profiles.family import ModelFamily


class Sampler:
    """Texts or their states to pictures, with the steps, guidance and size of the family.

    Rows of a batch do not know of each other, but the last bits of floating point do depend on the
    batch: what must be reproducible is drawn one at a time, at 3.7 times the cost of batches of 16
    (embedded models, one core).
    """

    def __init__(
        self, family: ModelFamily, device: str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        self.pipeline = cast(
            Any, family.diffusion(device=device, torch_dtype=dtype)
        )  # whose types say less than it has
        self.steps, self.guidance = family.steps, family.guidance
        scale: int = self.pipeline.vae_scale_factor
        unet: Any = self.pipeline.unet.config
        self.size = family.image_size or unet.sample_size * scale
        self.latent_shape = (unet.in_channels, self.size // scale, self.size // scale)
        self.width: int = unet.cross_attention_dim

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        found: torch.device = self.pipeline.unet.device
        return found

    def latents(self, noise: Rng) -> torch.Tensor:
        """(c, h, w) float32 standard normal, drawn on the CPU: equal on every device."""
        import torch

        return torch.randn(self.latent_shape, generator=noise.for_("latents").torch())

    def states(self, texts: Sequence[str]) -> torch.Tensor:
        """(B, T, d) states of the text encoder, padded to its length; what is longer is cut."""
        import torch

        with torch.no_grad():
            found: torch.Tensor = self.pipeline.encode_prompt(list(texts), self.device, 1, False)[0]
        return found

    def no_words(self, length: int) -> torch.Tensor:
        """(1, length, d) states of the empty text; where it is shorter, its last state is repeated."""
        import torch

        empty = self.states([""])
        last = empty[:, -1:].expand(-1, max(0, length - empty.shape[1]), -1)
        return torch.cat([empty[:, :length], last], dim=1)

    def draw(
        self, states: torch.Tensor, noise: Sequence[Rng], *, image_embeds: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, 3, size, size) float32 in [0, 1], on the CPU, without gradients.

        ``states`` (B, T, d) of any length T condition it; ``noise`` B streams, equal ones for equal
        initial latents; ``image_embeds`` (B, n, D) for an IP-Adapter. Classifier-free guidance is
        against the empty text and images of zeros.
        """
        import torch

        latents = torch.stack([self.latents(stream) for stream in noise])
        more: dict[str, Any] = {}
        guided = self.guidance > 1
        if guided:
            more["negative_prompt_embeds"] = self.no_words(states.shape[1]).expand(len(states), -1, -1)
        if image_embeds is not None:
            none = [torch.zeros_like(image_embeds)] if guided else []
            more["ip_adapter_image_embeds"] = [torch.cat([*none, image_embeds]).to(states.device)]
        drawn = self.pipeline(
            prompt_embeds=states,
            latents=latents.to(self.device, states.dtype),
            generator=[stream.for_("steps").torch() for stream in noise],
            height=self.size,
            width=self.size,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            output_type="pt",
            **more,
        )
        pixels: torch.Tensor = drawn.images.float().cpu().clamp(0, 1)
        return pixels
