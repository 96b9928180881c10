"""A tiny random LaVIT in the layout and the names of rain1011/LaVIT-7B-v2.

Names of modules are those of the public code (jy0205/LaVIT: the classes that its files are loaded into).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from recsim_gen.testing import tiny_models

SIDE, PATCH, WIDTH, INNER, CODES, CODE_WIDTH, STATES = 42, 14, 32, 24, 20, 4, 16
HEADS = 16  # which no file tells
PATCHES = (SIDE // PATCH) ** 2
VISION_LAYERS, LAYERS = 3, 2

Weights = dict[str, Tensor]


def tensors(seed: int, shapes: dict[str, tuple[int, ...]], spread: float = 0.4) -> Weights:
    """Random weights; those of norms about 1."""
    random = torch.Generator().manual_seed(seed)
    made = {name: spread * torch.randn(shape, generator=random) for name, shape in shapes.items()}
    return {name: x + 1 if "norm" in name and name.endswith("weight") else x for name, x in made.items()}


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int = WIDTH) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def feed_forward(name: str) -> dict[str, tuple[int, ...]]:
    return linear(f"{name}.fc1", WIDTH, INNER) | linear(f"{name}.fc2", INNER, WIDTH)


def cross(name: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("query", "key", "value", "proj"):
        shapes |= linear(f"{name}.{part}", WIDTH, WIDTH)
    return shapes


def eva() -> Weights:
    """``eva_vitg_psz14.bin``."""
    shapes = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, PATCHES + 1, WIDTH)}
    shapes |= {"patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH), "patch_embed.proj.bias": (WIDTH,)}
    for i in range(VISION_LAYERS):
        at = f"blocks.{i}"
        shapes |= norm(f"{at}.norm1") | norm(f"{at}.norm2") | feed_forward(f"{at}.mlp")
        shapes |= {f"{at}.attn.qkv.weight": (3 * WIDTH, WIDTH)} | linear(f"{at}.attn.proj", WIDTH, WIDTH)
        shapes |= {f"{at}.attn.q_bias": (WIDTH,), f"{at}.attn.v_bias": (WIDTH,)}
    return tensors(0, shapes | norm("norm") | linear("head", WIDTH, 6), 0.2)


def encoder() -> Weights:
    """``tokenizer_encoder.bin``."""
    shapes = norm("token_predictor.in_conv.0") | linear("token_predictor.in_conv.1", WIDTH, WIDTH)
    shapes |= linear("token_predictor.out_conv.0", WIDTH, WIDTH // 2)
    shapes |= linear("token_predictor.out_conv.2", WIDTH // 2, WIDTH // 4)
    shapes |= linear("token_predictor.out_conv.4", WIDTH // 4, 2)
    for i in range(LAYERS):
        at = f"causal_encoder.blocks.{i}"
        shapes |= norm(f"{at}.norm0") | norm(f"{at}.norm1") | norm(f"{at}.norm2") | feed_forward(f"{at}.mlp")
        shapes |= linear(f"{at}.token_causal_attn.qkv", WIDTH, 3 * WIDTH)
        shapes |= linear(f"{at}.token_causal_attn.proj", WIDTH, WIDTH) | cross(f"{at}.token_cross_attn")
    shapes |= norm("causal_encoder.ln_vision") | norm("causal_encoder.norm")
    shapes |= {"quantize.embedding.weight": (CODES, CODE_WIDTH)}
    shapes |= linear("encode_task_layer.0", WIDTH, WIDTH) | linear("encode_task_layer.2", WIDTH, CODE_WIDTH)
    made = tensors(1, shapes)
    for kind in ("weight", "bias"):  # about as many patches are kept as are dropped
        made[f"token_predictor.out_conv.4.{kind}"] *= 0.05
    return made


def decoder() -> Weights:
    """``tokenizer_decoder.bin``."""
    shapes = linear("in_proj", CODE_WIDTH, WIDTH) | linear("unet_proj", WIDTH, STATES) | norm("norm")
    shapes |= {"pos_embed": (1, PATCHES, WIDTH), "query_embed": (1, PATCHES, WIDTH)}
    for i in range(LAYERS):
        at = f"blocks.{i}"
        shapes |= norm(f"{at}.norm0") | norm(f"{at}.norm1") | norm(f"{at}.norm2") | feed_forward(f"{at}.mlp")
        shapes |= linear(f"{at}.self_attn.qkv", WIDTH, 3 * WIDTH)
        shapes |= linear(f"{at}.self_attn.proj", WIDTH, WIDTH) | cross(f"{at}.cross_attn")
    shapes |= linear("decode_task_layer.0", WIDTH, WIDTH) | linear("decode_task_layer.2", WIDTH, WIDTH)
    return tensors(2, shapes)


def save(folder: Path) -> Path:
    """The whole folder: language model, visual tokenizer, pixel decoder."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import LlamaForCausalLM

    language = folder / "language_model"
    tiny_models.save_llama(language)
    model = LlamaForCausalLM.from_pretrained(language)
    torch.manual_seed(3)
    model.resize_token_embeddings(model.config.vocab_size + 2 + CODES, mean_resizing=False)
    model.save_pretrained(language)
    (folder / "visual_tokenizer").mkdir()
    for name, weights in (
        ("eva_vitg_psz14", eva()),
        ("tokenizer_encoder", encoder()),
        ("tokenizer_decoder", decoder()),
    ):
        torch.save(weights, folder / "visual_tokenizer" / f"{name}.bin")
    tiny_models.save_diffusion(folder / "whole")
    pixels = folder / "pixel_decoding"
    for part, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        loaded = kind.from_pretrained(folder / "whole" / part)
        loaded.save_pretrained(pixels / part, safe_serialization=False)
    DDIMScheduler.from_pretrained(folder / "whole" / "scheduler").save_pretrained(pixels / "scheduler")
    torch.save(torch.randn(1, 5, STATES), pixels / "uncond_embeddings.bin")
    return folder
