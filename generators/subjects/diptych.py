"""``diptych``: inpaints the right half of an image whose left half is the reference (Shin et al. 2024).

FLUX.1-dev with an inpainting ControlNet fills in the right panel of "two side-by-side images of the same
subject", with increased attention to the left panel. The ControlNet receives the mask in four channels more
than diffusers' class has. Unlike the published script, the reference is used unchanged (the script cuts out
the subject with GroundingDINO and SAM: provide images that are cut out), the left panel is preserved exactly
in every step, and there is no second guidance by a negative prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.subjects.flux import FluxConfig, FluxSubjectGenerator, heads, named
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.weights import read_tensors

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.core.randomness import Rng

EXTRA = 4  # channels of the mask: one, in patches of 2 × 2
PROMPT = (
    "A diptych with two side-by-side images of same {noun}. On the left, a photo of {noun}. On the right, "
    "replicate this {noun} exactly but as {text}"
)
CONTROLNET = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class DiptychConfig(FluxConfig):
    """Settings, as published."""

    weights: str = "black-forest-labs/FLUX.1-dev"  # the pipeline's folder (./…) or name on the hub
    controlnet: str = "alimama-creative/FLUX.1-dev-Controlnet-Inpainting-Beta"  # its folder or name
    size: int = 768  # side of the image in pixels
    margin: int = 8  # border in pixels that is drawn and cut off
    boost: float = 1.3  # factor of the attention of the right panel to the left one
    control: float = 0.95  # weight of the ControlNet


class Diptych(FluxSubjectGenerator):
    """Draws the image with the reference as its left half."""

    name = "diptych"
    config_class = DiptychConfig
    roles = ("pipeline", "controlnet")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.config.boost < 0:
            raise SettingError(f"boost must be 0 or more, got {self.config.boost}")
        self.family = named(self.family, self.licence, controlnet=self.config.controlnet)

    def _pixels(self, text: str, reference: Image.Image, noise: Rng) -> torch.Tensor:
        from PIL import Image

        config, pipeline = self.config, self._pipeline
        side = config.size + 2 * config.margin
        diptych, mask = Image.new("RGB", (2 * side, side)), Image.new("L", (2 * side, side))
        diptych.paste(reference.resize((side, side)), (0, 0))
        mask.paste(255, (side, 0, 2 * side, side))
        patch = 2 * pipeline.vae_scale_factor
        if side % patch:
            raise SettingError(f"size + 2 · margin must be a multiple of {patch}, got {side}")
        tokens = side // patch
        pipeline.transformer.set_attn_processor(BoostedAttention(tokens, 2 * tokens, config.boost))
        drawn: torch.Tensor = pipeline(
            prompt=PROMPT.format(noun=self.subject.noun, text=text),
            image=diptych,
            control_image=diptych,
            mask_image=mask,
            height=side,
            width=2 * side,
            strength=1.0,
            controlnet_conditioning_scale=config.control,
            generator=noise.torch(),
            **self._call,
        ).images[0]
        inside = slice(config.margin, config.margin + config.size)
        return drawn[:, inside, side + config.margin : side + config.margin + config.size]

    @cached_property
    def _pipeline(self) -> Any:
        import torch
        from diffusers import FluxControlNetInpaintPipeline, FluxPipeline

        base: Any = self.family.pipeline(FluxPipeline, device=self.device)
        parts = (
            "scheduler",
            "vae",
            "text_encoder",
            "tokenizer",
            "text_encoder_2",
            "tokenizer_2",
            "transformer",
        )
        controlnet = self.family.checkpoint("controlnet").load(load_controlnet)
        controlnet = controlnet.to(base.transformer.device, getattr(torch, self.family.dtype))
        controlnet.register_forward_pre_hook(_with_mask, with_kwargs=True)
        made: Any = FluxControlNetInpaintPipeline(
            **{name: getattr(base, name) for name in parts}, controlnet=controlnet
        )
        made.set_progress_bar_config(disable=True)
        return made


def load_controlnet(folder: Path) -> Any:
    """Load an inpainting ControlNet of FLUX with four additional mask channels in its condition.

    Raises DataError if it lacks these channels, or its shapes differ from its config.
    """
    import torch
    from diffusers import FluxControlNetModel

    config = FluxControlNetModel.load_config(folder)
    if config.pop("extra_condition_channels", 0) != EXTRA:
        raise DataError(
            f"an inpainting ControlNet with extra_condition_channels {EXTRA} is wanted",
            file=folder / "config.json",
            remedy="Take alimama-creative/FLUX.1-dev-Controlnet-Inpainting-Beta",
        )
    model: Any = FluxControlNetModel.from_config(config)
    model.controlnet_x_embedder = torch.nn.Linear(model.config.in_channels + EXTRA, model.inner_dim)
    weights = read_tensors(folder / CONTROLNET, model.state_dict(), remedy="Fetch it again")
    model.load_state_dict(weights)
    return model.eval()


def _with_mask(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the condition (B, N, c) of a diptych of N patches followed by the mask: 1 left, 0 right."""
    import torch

    condition = kwargs["controlnet_cond"]
    side = round((condition.shape[1] // 2) ** 0.5)
    kept = (torch.arange(condition.shape[1], device=condition.device) % (2 * side) < side).to(condition)
    mask = kept[None, :, None].expand(len(condition), -1, EXTRA)
    return args, {**kwargs, "controlnet_cond": torch.cat([condition, mask], dim=-1)}


class BoostedAttention:
    """FLUX attention in which the right half of an image attends ``boost`` times more to its left half.

    Probabilities are multiplied after the softmax, so they no longer sum to 1, as published. This equals
    attention to values multiplied by ``boost``.
    """

    def __init__(self, height: int, width: int, boost: float) -> None:
        self.height, self.width, self.boost = height, width, boost

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Compute diffusers' attention with the boost; ``hidden_states`` (B, S, d)."""
        import torch
        import torch.nn.functional as F
        from diffusers.models.embeddings import apply_rotary_emb

        query = attn.norm_q(heads(attn, attn.to_q(hidden_states)))
        key, value = attn.norm_k(heads(attn, attn.to_k(hidden_states))), heads(attn, attn.to_v(hidden_states))
        text = 0 if encoder_hidden_states is None else encoder_hidden_states.shape[1]
        if encoder_hidden_states is not None:
            of_text = attn.norm_added_q(heads(attn, attn.add_q_proj(encoder_hidden_states)))
            query = torch.cat([of_text, query], dim=1)
            of_text = attn.norm_added_k(heads(attn, attn.add_k_proj(encoder_hidden_states)))
            key = torch.cat([of_text, key], dim=1)
            value = torch.cat([heads(attn, attn.add_v_proj(encoder_hidden_states)), value], dim=1)
        if image_rotary_emb is not None:
            query, key = (apply_rotary_emb(x, image_rotary_emb, sequence_dim=1) for x in (query, key))
        left, right = self._halves(query)
        boosted = torch.where(left[None, :, None, None], self.boost * value, value)
        q, k, v, w = (x.transpose(1, 2) for x in (query, key, value, boosted))
        out = torch.where(
            right[None, None, :, None],
            F.scaled_dot_product_attention(q, k, w),
            F.scaled_dot_product_attention(q, k, v),
        )
        out = out.transpose(1, 2).flatten(2).to(query.dtype)
        if encoder_hidden_states is None:
            return out
        shown = attn.to_out[1](attn.to_out[0](out[:, text:]))
        return shown, attn.to_add_out(out[:, :text])

    def _halves(self, sequence: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (S,) bool each: tokens of the left and of the right half of the image, which comes last."""
        import torch

        count = self.height * self.width
        place = torch.arange(sequence.shape[1], device=sequence.device) - (sequence.shape[1] - count)
        left = place.remainder(self.width) < self.width // 2
        return (place >= 0) & left, (place >= 0) & ~left
