"""Sampling of a family's diffusion model, shared by all generators that use it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from recsim_gen.core.progress import bar

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.randomness import Rng
    from recsim_gen.models.family import ModelFamily

SMALL = 50_000_000
"""Parameters of a UNet up to which each core draws a batch: its operations are too small to be split."""


@dataclass(frozen=True)
class Conditions:
    """Conditions of one image: ``states`` (T, d), and ``image_embeds`` of an IP-Adapter.

    These are (n, D) for n images, or (n, S, D) for S patches each; ``no_image_embeds``, of the same shape,
    represent no image, if that is not zeros. ``text`` is what the states encode, as far as it can be written
    in words.
    """

    states: torch.Tensor
    image_embeds: torch.Tensor | None = None
    text: str = ""
    no_image_embeds: torch.Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shapes; only images of equal shapes can be in one batch."""
        images = () if self.image_embeds is None else tuple(self.image_embeds.shape)
        return (*self.states.shape, *images)


class Sampler:
    """Maps texts or their states to images, with the steps, guidance and size of the family."""

    def __init__(self, family: ModelFamily, device: str | None = None) -> None:
        self.pipeline = cast(Any, family.diffusion(device=device))  # Any: its type stubs lack attributes
        self.steps, self.guidance, self.batch = family.steps, family.guidance, family.batch
        scale: int = self.pipeline.vae_scale_factor
        unet: Any = self.pipeline.unet.config
        self.size = family.image_size or unet.sample_size * scale
        self.latent_shape = (unet.in_channels, self.size // scale, self.size // scale)
        self.width: int = unet.cross_attention_dim

    @property
    def device(self) -> torch.device:
        """Device of the models."""
        device: torch.device = self.pipeline.unet.device
        return device

    def latents(self, noise: Rng) -> torch.Tensor:
        """Return (c, h, w) float32 standard normal noise, drawn on the CPU: equal on every device."""
        import torch

        return torch.randn(self.latent_shape, generator=noise.for_("latents").torch())

    def states(self, texts: Sequence[str]) -> torch.Tensor:
        """Return (B, T, d) states of the text encoder, padded to its length; longer texts are cut."""
        import torch

        with torch.no_grad():
            states: torch.Tensor = self.pipeline.encode_prompt(list(texts), self.device, 1, False)[0]
        return states

    def worded(self, texts: Sequence[str]) -> torch.Tensor:
        """Return (B, T) bool, which of the `states` are of the texts' own tokens, not of the padding."""
        tokens = self.pipeline.tokenizer(
            list(texts), padding="max_length", truncation=True, return_tensors="pt"
        )
        mask: torch.Tensor = tokens["attention_mask"].bool().to(self.device)
        return mask

    def no_words(self, length: int) -> torch.Tensor:
        """Return (1, length, d) states of the empty text, extended by repeating the last state if needed."""
        import torch

        empty = self.states([""])
        last = empty[:, -1:].expand(-1, max(0, length - empty.shape[1]), -1)
        return torch.cat([empty[:, :length], last], dim=1)

    def draw_each(self, requests: Sequence[tuple[Conditions, Rng]], what: str) -> list[torch.Tensor]:
        """Return an image (3, size, size) per request, bit-identical whatever the other requests are.

        Rows of a batch are independent, but the last bits of floating point depend on their number. So
        batches always have ``batch`` rows; the last one of a shape is padded with its first row. On CPUs a
        small model draws one batch per thread.
        """
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for row, (conditions, _) in enumerate(requests):
            by_shape.setdefault(conditions.shape, []).append(row)
        starts = range(0, max(map(len, by_shape.values()), default=0), self.batch)
        parts = [rows[i : i + self.batch] for i in starts for rows in by_shape.values() if i < len(rows)]
        full = [[requests[row] for row in (rows + [rows[0]] * self.batch)[: self.batch]] for rows in parts]
        pictures: dict[int, torch.Tensor] = {}
        with self._each_batch(full) as drawn:
            shown = bar(drawn, what, total=len(parts), unit="batch") if len(parts) > 1 else drawn
            for rows, batch in zip(parts, shown, strict=True):
                pictures.update(zip(rows, batch, strict=False))
        return [pictures[row] for row in range(len(requests))]

    @contextmanager
    def _each_batch(
        self, batches: Sequence[Sequence[tuple[Conditions, Rng]]]
    ) -> Iterator[Iterator[torch.Tensor]]:
        """Yield an iterator over the images of each batch, drawn by one thread per batch for small models."""
        import torch

        threads = torch.get_num_threads()
        size = sum(x.numel() for x in self.pipeline.unet.parameters())
        hooked = any(c.image_embeds is not None for batch in batches for c, _ in batch)  # of the shared UNet
        count = 1 if self.device.type != "cpu" or size > SMALL or hooked else min(threads, len(batches))
        if count < 2:
            yield map(self._draw_batch, batches)
            return
        idle: SimpleQueue[Sampler] = SimpleQueue()
        for _ in range(count):
            idle.put(with_own(self, "scheduler"))

        def draw(batch: Sequence[tuple[Conditions, Rng]]) -> torch.Tensor:
            """Draw a batch on an idle copy of the sampler."""
            sampler = idle.get()
            try:
                return sampler._draw_batch(batch)
            finally:
                idle.put(sampler)

        pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
        try:
            yield pool.map(draw, batches)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)

    def _draw_batch(self, requests: Sequence[tuple[Conditions, Rng]]) -> torch.Tensor:
        """Return images (B, 3, size, size) for conditions of one shape."""
        import torch

        images = [c.image_embeds for c, _ in requests if c.image_embeds is not None]
        without = [c.no_image_embeds for c, _ in requests if c.no_image_embeds is not None]
        return self.draw(
            torch.stack([conditions.states for conditions, _ in requests]),
            [noise for _, noise in requests],
            image_embeds=torch.stack(images) if images else None,
            no_image_embeds=torch.stack(without) if without else None,
        )

    def draw(
        self,
        states: torch.Tensor,
        noise: Sequence[Rng],
        *,
        image_embeds: torch.Tensor | None = None,
        no_image_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return (B, 3, size, size) float32 in [0, 1], on the CPU, without gradients.

        ``states`` (B, T, d) of any length T are the condition; ``noise`` B streams, equal ones for equal
        initial latents; ``image_embeds`` (B, n, D) or (B, n, S, D) for an IP-Adapter. Classifier-free
        guidance is against the empty text and ``no_image_embeds``, by default zeros.
        """
        import torch

        latents = torch.stack([self.latents(stream) for stream in noise])
        more: dict[str, Any] = {}
        guided = self.guidance > 1
        if guided:
            more["negative_prompt_embeds"] = self.no_words(states.shape[1]).expand(len(states), -1, -1)
        if image_embeds is not None:
            none = torch.zeros_like(image_embeds) if no_image_embeds is None else no_image_embeds
            images = torch.cat([*([none] if guided else []), image_embeds]).to(states.device)
            more["ip_adapter_image_embeds"] = [images[:: len(states)]]
        with nullcontext() if image_embeds is None else _each_its_own(self.pipeline.unet, images):
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


def with_own(sampler: Sampler, part: str) -> Sampler:
    """Return the sampler with its own copy of ``part`` (``unet``, ``scheduler``); all others are shared."""
    own = copy.copy(sampler)
    own.pipeline = copy.copy(sampler.pipeline)
    setattr(own.pipeline, part, copy.deepcopy(getattr(sampler.pipeline, part)))
    return own


@contextmanager
def _each_its_own(unet: Any, images: torch.Tensor) -> Iterator[None]:
    """Context in which row i of the UNet's batch uses ``images[i]``, (n, D) or (n, S, D).

    The pipeline itself would give every row of a batch the images of all.
    """

    def swap(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Replace the images that the UNet's call was given."""
        return args, {**kwargs, "added_cond_kwargs": {"image_embeds": [images]}}

    handle = unet.register_forward_pre_hook(swap, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
