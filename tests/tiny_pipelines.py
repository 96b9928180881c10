"""Pipelines of diffusers with tiny random weights, saved as their ordinary folders."""

from pathlib import Path

from recsim_gen.testing.tiny_models import SIZE, clip_tokenizer, lively, save_diffusion

BLOCKS = {"layers_per_block": 1, "norm_num_groups": 8}
FLUX = {
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 16,
    "pooled_projection_dim": 16,
    "axes_dims_rope": (4, 4, 8),
}


def save_image_to_image(folder: Path) -> Path:
    """Stable Diffusion's own parts: its image-to-image pipeline reads the same folder."""
    return save_diffusion(folder)


def save_instruct_pix2pix(folder: Path) -> Path:
    """The same with a UNet that sees the picture to edit beside the noise: 8 channels in, 4 out."""
    import torch
    from diffusers import StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel

    torch.manual_seed(9)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        block_out_channels=(8,),
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=16,
        attention_head_dim=4,
        **BLOCKS,
    )
    parts = save_diffusion(folder / "parts")
    StableDiffusionInstructPix2PixPipeline.from_pretrained(
        parts, unet=unet, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    ).save_pretrained(folder / "whole")
    return folder / "whole"


def flux_parts() -> dict:
    """A transformer over patches of noise, picture and text, told by CLIP and T5."""
    import torch
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

    torch.manual_seed(10)
    tokenizer = clip_tokenizer()
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    pieces = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, pad_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    t5 = T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    transformer = FluxTransformer2DModel(**FLUX)
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0,
        scaling_factor=1.0,
        mid_block_add_attention=False,
        **BLOCKS,
    )
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "vae": vae,
        "text_encoder": CLIPTextModel(CLIPTextConfig(**SIZE, **ids, max_position_embeddings=77)),
        "tokenizer": tokenizer,
        "text_encoder_2": T5EncoderModel(t5),
        "tokenizer_2": pieces,
        "transformer": lively(transformer, 2.0),
    }


def save_flux_kontext(folder: Path) -> Path:
    """FLUX Kontext."""
    from diffusers import FluxKontextPipeline

    FluxKontextPipeline(**flux_parts()).save_pretrained(folder)
    return folder


def save_flux(folder: Path) -> Path:
    """FLUX, which draws from text alone."""
    from diffusers import FluxPipeline

    FluxPipeline(**flux_parts()).save_pretrained(folder)
    return folder


def save_flux_inpainting(folder: Path, extra: int = 4) -> Path:
    """An inpainting ControlNet of FLUX, as published: ``extra`` channels of the mask in its condition."""
    import json

    import torch
    from diffusers import FluxControlNetModel

    torch.manual_seed(11)
    model = FluxControlNetModel(**FLUX)
    model.controlnet_x_embedder = torch.nn.Linear(FLUX["in_channels"] + extra, model.inner_dim)
    for layer in (*model.controlnet_blocks, *model.controlnet_single_blocks):
        torch.nn.init.normal_(layer.weight, std=0.5)  # they begin at zero
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "extra_condition_channels": extra}))
    return folder


def save_omini(folder: Path) -> Path:
    """LoRA of OminiControl in its published place, on layers of both kinds of blocks."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(12)
    transformer = flux_parts()["transformer"]
    double, single = "transformer_blocks.0", "single_transformer_blocks.0"
    layers = ["x_embedder", f"{double}.norm1.linear", f"{double}.ff.net.2", f"{single}.norm.linear"]
    layers += [f"{double}.attn.{part}" for part in ("to_q", "to_k", "to_v", "to_out.0")]
    layers += [f"{single}.{part}" for part in ("proj_mlp", "proj_out", "attn.to_q", "attn.to_k", "attn.to_v")]
    weights = {}
    for name in layers:
        out, inside = transformer.get_submodule(name).weight.shape
        weights[f"transformer.{name}.lora_A.weight"] = torch.randn(2, inside)
        weights[f"transformer.{name}.lora_B.weight"] = torch.randn(out, 2)
    (folder / "omini").mkdir()
    save_file(weights, folder / "omini" / "subject_512.safetensors")
    return folder
