"""GLIDE's published weights (openai/glide-text2im, MIT): ``base.pt`` and ``upsample.pt``, plain state dicts.

Their keys are those of the original code. Every key is mapped to ours; an unknown key is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.errors import DataError
from recsim_gen.core.registry import nearest
from recsim_gen.core.weights import read_state_dict

if TYPE_CHECKING:
    import torch

    from recsim_gen.models.glide.config import NetConfig
    from recsim_gen.models.glide.network import GlideNet

FILES = {"base": "base.pt", "upsampler": "upsample.pt"}

_REMEDY = "Give the file of openai/glide-text2im as it was published"

_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_PLAIN = {
    "time_embed.0": "unet.time_embedding.linear_1",
    "time_embed.2": "unet.time_embedding.linear_2",
    "transformer_proj": "unet.class_embedding",
    "input_blocks.0.0": "unet.conv_in",
    "out.0": "unet.conv_norm_out",
    "out.2": "unet.conv_out",
    "token_embedding": "text.token_embedding",
    "final_ln": "text.final_norm",
}
_LAYER = {"ln_1": "norm1", "attn.c_proj": "self_attn.out_proj", "ln_2": "norm2"}
_LAYER |= {"mlp.c_fc": "linear1", "mlp.c_proj": "linear2"}


@dataclass(frozen=True)
class _Place:
    """Target of a published tensor: ``names``, one for each of its ``parts``, or a single one.

    Its rows are ordered by head, then by part (query, key, value), then by channel; ours by part first.
    """

    names: tuple[str, ...]
    heads: int = 1
    parts: int = 1

    def pieces(self, x: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield name and value of each of our tensors."""
        if x.ndim == 3:  # a convolution of width 1
            x = x.squeeze(-1)
        if self.parts > 1 and len(x) % (self.heads * self.parts) == 0:
            x = x.unflatten(0, (self.heads, self.parts, -1)).transpose(0, 1).flatten(0, 2)
        return zip(self.names, x.tensor_split(len(self.names)), strict=True)


def read_published(file: Path, net: GlideNet) -> dict[str, torch.Tensor]:
    """Return the weights of a published file with the names of ``net``.

    Raises DataError for a file that is not a state dict, and for an unknown, missing or misshapen key.
    """
    state = read_state_dict(file, _REMEDY)
    try:
        return translated(state, net)
    except DataError as error:
        raise DataError(str(error), file=file, remedy=_REMEDY) from error


def translated(state: Mapping[str, torch.Tensor], net: GlideNet) -> dict[str, torch.Tensor]:
    """Return published weights with the names of ``net``. Raises DataError as ``read_published`` does."""
    places, ours = published_places(net), net.state_dict()
    if unknown := sorted(state.keys() - places.keys()):
        raise DataError(
            f"unknown weights {unknown[0]!r} ({len(unknown)} in all).{nearest(unknown[0], places)}"
        )
    if missing := sorted(places.keys() - state.keys()):
        raise DataError(f"weights {missing[0]!r} are missing ({len(missing)} in all)")
    weights = {}
    for key, place in places.items():
        for name, x in place.pieces(state[key]):
            if x.shape != ours[name].shape:
                expected, got = tuple(ours[name].shape), tuple(x.shape)
                raise DataError(f"weights {key!r} must be {expected} as {name}, got {got}")
            weights[name] = x.contiguous()
    return weights


def published_places(net: GlideNet) -> dict[str, _Place]:
    """Return the target of each published key: 783 of the base, 797 of the upsampler."""
    ours = net.state_dict().keys()
    places: dict[str, _Place] = {}

    def put(published: str, *names: str, heads: int = 1, parts: int = 1) -> None:
        """Map weight and bias of a published layer to our ``names``, if we have them."""
        for kind in ("weight", "bias"):
            full = tuple(f"{name}.{kind}" for name in names)
            if full[0] in ours:
                places[f"{published}.{kind}"] = _Place(full, heads, parts)

    for published, name in _PLAIN.items():
        put(published, name)
    for name in ("positional_embedding", "padding_embedding"):
        places[name] = _Place((f"text.{name}",))
    for layer in range(net.config.text_layers):
        theirs, own = f"transformer.resblocks.{layer}", f"text.layers.{layer}"
        for published, name in _LAYER.items():
            put(f"{theirs}.{published}", f"{own}.{name}")
        for kind in ("weight", "bias"):
            place = _Place((f"{own}.self_attn.in_proj_{kind}",), net.config.text_heads, 3)
            places[f"{theirs}.attn.c_qkv.{kind}"] = place
    for published, own, heads in _blocks(net.config):
        if heads == 0:
            for part, name in _RESIDUAL.items():
                put(f"{published}.{part}", f"{own}.{name}")
            continue
        put(f"{published}.norm", f"{own}.group_norm")
        put(f"{published}.qkv", f"{own}.to_q", f"{own}.to_k", f"{own}.to_v", heads=heads, parts=3)
        put(f"{published}.encoder_kv", f"{own}.add_k_proj", f"{own}.add_v_proj", heads=heads, parts=2)
        put(f"{published}.proj_out", f"{own}.to_out.0")
    return places


def _blocks(config: NetConfig) -> Iterator[tuple[str, str, int]]:
    """Yield published name, our name, and number of heads (0: a residual block) of each block of the UNet."""
    levels, place = len(config.channels), 0
    heads = [
        width // config.head_channels if level >= levels - config.attended else 0
        for level, width in enumerate(config.channels)
    ]
    for level in range(levels):
        own = f"unet.down_blocks.{level}"
        for block in range(config.blocks):
            place += 1
            yield f"input_blocks.{place}.0", f"{own}.resnets.{block}", 0
            if heads[level]:
                yield f"input_blocks.{place}.1", f"{own}.attentions.{block}", heads[level]
        if level < levels - 1:
            place += 1
            yield f"input_blocks.{place}.0", f"{own}.downsamplers.0", 0
    yield "middle_block.0", "unet.mid_block.resnets.0", 0
    yield "middle_block.1", "unet.mid_block.attentions.0", config.channels[-1] // config.head_channels
    yield "middle_block.2", "unet.mid_block.resnets.1", 0
    for up, level in enumerate(reversed(range(levels))):
        own = f"unet.up_blocks.{up}"
        for block in range(config.blocks + 1):
            published = f"output_blocks.{up * (config.blocks + 1) + block}"
            yield f"{published}.0", f"{own}.resnets.{block}", 0
            if heads[level]:
                yield f"{published}.1", f"{own}.attentions.{block}", heads[level]
            if level and block == config.blocks:
                yield f"{published}.{2 if heads[level] else 1}", f"{own}.upsamplers.0", 0
