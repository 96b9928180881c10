"""One net of GLIDE: a text transformer and a UNet on pixels, as diffusers' ``UNet2DConditionModel``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recsim_gen.models.glide.text import TextTransformer

if TYPE_CHECKING:
    from recsim_gen.models.glide.config import NetConfig


class GlideNet(nn.Module):
    """Predicts the noise (and its variance) of an image given a text.

    The text is used twice: its last state is added to the embedding of the timestep, and all states are
    additional keys and values of every attention layer.
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.text = TextTransformer(config)
        self.unet = new_unet(config)

    def forward(
        self, noisy: torch.Tensor, t: torch.Tensor, states: torch.Tensor, enlarged: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return (B, out_channels, s, s) float32 for ``noisy`` (B, 3, s, s) at timestep ``t`` (() or (B,)).

        ``states`` (B, T, d) are those of ``text``; ``enlarged`` (B, 3, s, s) is the input of an upsampler.
        """
        seen = noisy if enlarged is None else torch.cat([noisy, enlarged], dim=1)
        predicted: torch.Tensor = self.unet(
            seen.to(states.dtype), t, encoder_hidden_states=states, class_labels=states[:, -1]
        ).sample
        return predicted.float()


def new_unet(config: NetConfig) -> Any:
    """Return an untrained UNet of this size."""
    from diffusers import UNet2DConditionModel

    plain = len(config.channels) - config.attended
    down = ["ResnetDownsampleBlock2D"] * plain + ["SimpleCrossAttnDownBlock2D"] * config.attended
    up = ["SimpleCrossAttnUpBlock2D"] * config.attended + ["ResnetUpsampleBlock2D"] * plain
    return UNet2DConditionModel(
        sample_size=config.image_size,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        down_block_types=tuple(down),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=tuple(up),
        block_out_channels=config.channels,
        layers_per_block=config.blocks,
        cross_attention_dim=config.text_width,
        attention_head_dim=config.head_channels,
        norm_num_groups=config.groups,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=config.text_width,
    )
