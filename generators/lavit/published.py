"""LaVIT's published weights, read from a folder with the layout of rain1011/LaVIT-7B-v2.

``language_model/`` (a LlamaForCausalLM and its tokenizer), ``visual_tokenizer/`` (``eva_vitg_psz14.bin``,
``tokenizer_encoder.bin``, ``tokenizer_decoder.bin``) and ``pixel_decoding/`` (``unet``, ``vae``,
``scheduler``, ``uncond_embeddings.bin``): the pixel decoder of the size of Stable Diffusion 1.5, which RAGAR
uses. The one of the size of SDXL (``highres_…``) is not supported.

Files are read with ``weights_only=True``; sizes are read from the shapes in them, except for the number of
heads. Names are those of the public code (jy0205/LaVIT), which loads ``tokenizer_encoder.bin`` non-strictly:
unexpected entries of that file are reported by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from generators.lavit.decoder import Decoder
from generators.lavit.language import Vocabulary
from generators.lavit.parts import Parts
from generators.lavit.tokenizer import Sizes, Tokenizer
from generators.lavit.vision import Vision
from generators.sampler import Sampler
from recsim_gen.core.errors import DataError
from recsim_gen.core.processes import this_process
from recsim_gen.core.weights import read_state_dict

if TYPE_CHECKING:
    from recsim_gen.core.randomness import Rng
    from recsim_gen.models.checkpoint import Checkpoint
    from recsim_gen.models.family import ModelFamily

HEADS = 16  # heads of vision, merger and decoder
REMEDY = "Was it made by other code? Take the files of rain1011/LaVIT-7B-v2"

VISION = {"patch_embed.proj": "embeddings.patch_embedding", "norm": "post_layernorm"}
BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.projection",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
"""Modules with weight and bias, by their names in Blip2VisionModel: of the model, and of each block."""

UNUSED = ("head.weight", "head.bias")
"""Weights of EVA-CLIP's contrastive training: in the file, but not used."""


def read(file: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the tensors of a torch file; MissingDependency if it is missing, DataError if it is broken."""
    if not file.is_file():
        raise checkpoint.missing(f"no {file}")
    return read_state_dict(file, REMEDY)


def shape(weights: Mapping[str, Tensor], name: str, file: Path) -> tuple[int, ...]:
    """Return the shape of a tensor that sizes are read from. Raises DataError if it is missing."""
    if name not in weights:
        raise DataError(f"weights {name!r} are wanted, got none of that name", file=file, remedy=REMEDY)
    return tuple(weights[name].shape)


def blocks(names: Iterable[str], before: str) -> int:
    """Return the number of blocks among names of the form ``before`` + number + …."""
    return len({name[len(before) :].split(".")[0] for name in names if name.startswith(before)})


def check_names(expected: Iterable[str], got: Iterable[str], file: Path) -> None:
    """Raise DataError for missing and for unknown names."""
    expected, got = set(expected), set(got)
    for problem, names in (("missing", expected - got), ("unknown", got - expected)):
        if names:
            shown = ", ".join(sorted(names)[:5])
            raise DataError(f"{problem} weights ({len(names)}): {shown}", file=file, remedy=REMEDY)


def filled(module: nn.Module, weights: Mapping[str, Tensor], file: Path) -> nn.Module:
    """Return a module (on the meta device before) with these weights, in float32.

    Raises DataError for a missing or unknown name, and another shape.
    """
    expected = {name: tuple(x.shape) for name, x in module.state_dict().items()}
    check_names(expected, weights, file)
    for name, wanted in expected.items():
        if (got := tuple(weights[name].shape)) != wanted:
            problem = f"weights {name!r} must be {wanted}, got {got}"
            raise DataError(problem, file=file, remedy=REMEDY)
    module.load_state_dict({name: x.float() for name, x in weights.items()}, assign=True)
    return module.eval().requires_grad_(False)


def vision_weights(weights: Mapping[str, Tensor], layers: int, file: Path) -> dict[str, Tensor]:
    """Return EVA-CLIP's weights with the names of Blip2VisionModel; keys have no bias, which is 0 there.

    Raises DataError for a missing or unknown name.
    """
    modules, names = dict(VISION), {}
    for i in range(layers):
        modules |= {f"blocks.{i}.{theirs}": f"encoder.layers.{i}.{ours}" for theirs, ours in BLOCK.items()}
        names[f"blocks.{i}.attn.qkv.weight"] = f"encoder.layers.{i}.self_attn.qkv.weight"
    names |= {f"{a}.{kind}": f"{b}.{kind}" for a, b in modules.items() for kind in ("weight", "bias")}
    names |= {"cls_token": "embeddings.class_embedding", "pos_embed": "embeddings.position_embedding"}
    biases = [(f"blocks.{i}.attn.q_bias", f"blocks.{i}.attn.v_bias") for i in range(layers)]
    check_names([*names, *(name for pair in biases for name in pair)], set(weights) - set(UNUSED), file)
    named = {ours: weights[theirs] for theirs, ours in names.items()}
    for i, (q, v) in enumerate(biases):
        bias = torch.cat([weights[q], torch.zeros_like(weights[q]), weights[v]])
        named[f"encoder.layers.{i}.self_attn.qkv.bias"] = bias
    return named


def read_vision(file: Path, checkpoint: Checkpoint) -> Vision:
    """Return EVA-CLIP's vision transformer as a Blip2VisionModel, and its processor.

    The processor resizes to a square.
    """
    from transformers import Blip2VisionConfig, Blip2VisionModel, BlipImageProcessorPil

    weights = read(file, checkpoint)
    width, side = shape(weights, "cls_token", file)[-1], shape(weights, "patch_embed.proj.weight", file)[-1]
    patches, layers = shape(weights, "pos_embed", file)[1] - 1, blocks(weights, "blocks.")
    config = Blip2VisionConfig(
        hidden_size=width,
        intermediate_size=shape(weights, "blocks.0.mlp.fc1.weight", file)[0],
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        image_size=side * round(patches**0.5),
        patch_size=side,
    )
    with torch.device("meta"):
        model = Blip2VisionModel(config)
    square: Any = {"height": side * round(patches**0.5), "width": side * round(patches**0.5)}
    return Vision(
        filled(model, vision_weights(weights, layers, file), file), BlipImageProcessorPil(size=square)
    )


def read_pictures(folder: Path, checkpoint: Checkpoint) -> tuple[Tokenizer, Decoder]:
    """Return tokenizer and decoder from ``visual_tokenizer``."""
    files = [folder / f"tokenizer_{part}.bin" for part in ("encoder", "decoder")]
    encoder, decoder = (read(file, checkpoint) for file in files)
    inner = shape(encoder, "causal_encoder.blocks.0.mlp.fc1.weight", files[0])
    codes = shape(encoder, "quantize.embedding.weight", files[0])
    patches = shape(decoder, "pos_embed", files[1])[1]
    states = shape(decoder, "unet_proj.weight", files[1])[0]

    def sizes(count: int) -> Sizes:
        """Return the sizes of an encoder or decoder with ``count`` blocks."""
        return Sizes(
            patches=patches,
            width=inner[1],
            heads=HEADS,
            inner=inner[0],
            blocks=count,
            codes=codes[0],
            code_width=codes[1],
        )

    with torch.device("meta"):
        reading = Tokenizer(sizes(blocks(encoder, "causal_encoder.blocks.")))
        drawing = Decoder(sizes(blocks(decoder, "blocks.")), states)
    filled(reading, encoder, files[0])
    filled(drawing, decoder, files[1])
    return reading, drawing


def read_language(folder: Path, checkpoint: Checkpoint, device: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return the language model and its tokenizer. Raises DataError if weights are missing."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def make(_: Path) -> Any:
        options = {"dtype": dtype, "local_files_only": True, "output_loading_info": True}
        return AutoModelForCausalLM.from_pretrained(folder, **options)

    model, report = checkpoint.load(make)
    checkpoint.refuse_incomplete(model, sorted(report["missing_keys"]))
    words = checkpoint.load(lambda _: AutoTokenizer.from_pretrained(folder, local_files_only=True))
    return model.to(device).eval().requires_grad_(False), words


class PixelDecoder(Sampler):
    """The diffusion model in ``pixel_decoding``, conditioned on decoded tokens.

    Guidance is against the saved states of the empty text (77 of them, the others masked).
    """

    def __init__(
        self, folder: Path, family: ModelFamily, device: Any, dtype: torch.dtype, checkpoint: Checkpoint
    ):
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

        empty = folder / "uncond_embeddings.bin"
        if not empty.is_file():
            raise checkpoint.missing(f"no {empty}")
        options = {"torch_dtype": dtype, "local_files_only": True}

        def make(_: Path) -> tuple[Any, Any, Any]:
            unet = UNet2DConditionModel.from_pretrained(folder / "unet", use_safetensors=False, **options)
            safe = (folder / "vae" / "diffusion_pytorch_model.safetensors").is_file()
            vae = AutoencoderKL.from_pretrained(folder / "vae", use_safetensors=safe, **options)
            return unet, vae, DDIMScheduler.from_pretrained(folder / "scheduler")

        unet, vae, scheduler = checkpoint.load(make)
        for model in (unet, vae):  # diffusers leaves missing weights without storage
            checkpoint.refuse_incomplete(model, [n for n, x in model.named_parameters() if x.is_meta])
            model.to(device).eval().requires_grad_(False)
        self.pipeline = SimpleNamespace(unet=unet, vae=vae, scheduler=scheduler)
        self.steps, self.guidance, self.batch = family.steps, family.guidance, family.batch
        scale = 2 ** (len(vae.config.block_out_channels) - 1)
        self.size = family.image_size or unet.config.sample_size * scale
        self.latent_shape = (unet.config.in_channels, self.size // scale, self.size // scale)
        self.width = unet.config.cross_attention_dim
        self.empty = torch.load(empty, map_location=device, weights_only=True)[:1].to(dtype)

    @torch.no_grad()
    def draw(
        self,
        states: Tensor,
        noise: Sequence[Rng],
        *,
        image_embeds: Tensor | None = None,
        no_image_embeds: Tensor | None = None,
    ) -> Tensor:
        """Return (B, 3, size, size) float32 in [0, 1] on the CPU, for ``states`` (B, T, d) and B streams."""
        unet, vae, scheduler = self.pipeline.unet, self.pipeline.vae, self.pipeline.scheduler
        scheduler.set_timesteps(self.steps)
        latents = torch.stack([self.latents(stream) for stream in noise]) * scheduler.init_noise_sigma
        latents = latents.to(unet.device, unet.dtype)
        free = self.empty.expand(len(states), -1, -1)
        for t in scheduler.timesteps:
            predicted = unet(latents, t, encoder_hidden_states=states).sample
            if self.guidance > 1:  # two calls, since the rows differ in length; no masking needed
                unconditional = unet(latents, t, encoder_hidden_states=free).sample
                predicted = unconditional + self.guidance * (predicted - unconditional)
            latents = scheduler.step(predicted, t, latents).prev_sample
        pixels: Tensor = vae.decode(latents / vae.config.scaling_factor).sample
        return (pixels.float() / 2 + 0.5).clamp(0, 1).cpu()


def read_parts(family: ModelFamily, device: str | None) -> Parts:
    """Return all parts of the family's ``lavit``.

    Raises MissingDependency if a file is missing, DataError for other names or sizes.
    """
    checkpoint, place = family.checkpoint("lavit"), device or str(this_process().device)
    folder, dtype = checkpoint.folder(), getattr(torch, family.dtype)
    vision = read_vision(folder / "visual_tokenizer" / "eva_vitg_psz14.bin", checkpoint)
    tokenizer, decoder = read_pictures(folder / "visual_tokenizer", checkpoint)
    sampler = PixelDecoder(folder / "pixel_decoding", family, place, dtype, checkpoint)
    language, words = read_language(folder / "language_model", checkpoint, place, dtype)
    codes = tokenizer.quantize.embedding.num_embeddings
    vocabulary = Vocabulary(language.config.vocab_size - 2 - codes, codes)
    if vocabulary.words < len(words):
        raise DataError(
            f"a vocabulary of {len(words)} words, 2 signs and {codes} codes is wanted, "
            f"got one of {language.config.vocab_size}",
            file=folder / "language_model",
            remedy=REMEDY,
        )
    vision.model.to(place)
    return Parts(vision, tokenizer.to(place), decoder.to(place), language, words, vocabulary, sampler)
