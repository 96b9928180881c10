"""Tiny random models of the real classes, saved as folders for the real loaders."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = [
    "a",
    "the",
    "red",
    "blue",
    "shirt",
    "armchair",
    "with",
    "stripes",
    "white",
    "crime",
    "drama",
    "god",
    "##father",
]


def save_tokenizer(folder: Path):
    """Save and return a word tokenizer with a start and an end token."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *letters[1:], *(f"##{x}" for x in letters)]
    tokenizer = Tokenizer(
        models.WordPiece({w: i for i, w in enumerate(dict.fromkeys(vocabulary))}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[CLS]",
        eos_token="[SEP]",
        model_max_length=24,
    )
    fast.save_pretrained(folder)
    return fast


def save_clip(folder: Path) -> Path:
    """Save a CLIPModel of 2 layers with tokenizer and image processor."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    tokenizer = save_tokenizer(folder)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 3, "bos_token_id": 2}
    vision = {"image_size": 32, "patch_size": 8}
    config = CLIPConfig(
        text_config={**size, **text, "pad_token_id": 0}, vision_config={**size, **vision}, projection_dim=24
    )
    CLIPModel(config).save_pretrained(folder)
    square = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square).save_pretrained(folder)
    return folder


def save_bert(folder: Path) -> Path:
    """Save a BertModel of 2 layers with tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    tokenizer = save_tokenizer(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def save_vit(folder: Path, *, pooler: bool = True) -> Path:
    """Save a ViTModel of 2 layers with image processor, with or without its pooler."""
    import torch
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(2)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
    )
    ViTModel(config, add_pooling_layer=pooler).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


OPEN_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def save_open_clip(folder: Path) -> Path:
    """Save a CLIP of open_clip, 2 layers, as a folder for its loader."""
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    torch.manual_seed(3)
    folder.mkdir(exist_ok=True)
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    config = {"model_cfg": OPEN_CLIP, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    state = CLIP(**OPEN_CLIP).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "open_clip_model.safetensors")
    return folder


SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def bytes_tokenizer(*special: str):
    """Return a tokenizer with one token per byte, after the special ones, for any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def clip_tokenizer(length: int = 77):
    """Return a CLIPTokenizer of letters, from its vocabulary and merges."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=length)


def lively(model, factor: float = 8.0):
    """Return the model with larger matrices: with initial weights its output hardly depends on its input."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(factor)
    return model


def save_llama(folder: Path) -> Path:
    """Save a LlamaForCausalLM of 1 layer with a tokenizer that, like Llama 2's, has no padding token."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(4)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_tokenizer("<s>", "</s>"), bos_token="<s>", eos_token="</s>"
    )
    config = LlamaConfig(
        **SIZE, vocab_size=len(tokenizer), max_position_embeddings=256, bos_token_id=0, eos_token_id=1
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_blip2(folder: Path) -> Path:
    """Save a Blip2ForConditionalGeneration (OPT) with its processor; prompted by a question."""
    import torch
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        BlipImageProcessor,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(5)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_tokenizer("<pad>", "</s>", "<image>"),
        bos_token="</s>",
        eos_token="</s>",
        pad_token="<pad>",
    )
    ids = {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    layers = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Blip2Config(
        vision_config={**SIZE, "image_size": 32, "patch_size": 8},
        qformer_config={**SIZE, "encoder_hidden_size": 16},
        text_config={**layers, **ids, "model_type": "opt", "ffn_dim": 32, "word_embed_proj_dim": 16},
        num_query_tokens=4,
        image_token_index=2,
    )
    lively(Blip2ForConditionalGeneration(config)).save_pretrained(folder)
    square = {"height": 32, "width": 32}
    Blip2Processor(BlipImageProcessor(size=square), tokenizer, num_query_tokens=4).save_pretrained(folder)
    return folder


QWEN_CHAT = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_qwen(folder: Path) -> Path:
    """Save a Qwen2_5_VLForConditionalGeneration with its processor; prompted through a chat template."""
    import torch
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    torch.manual_seed(6)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    special += ["<|image_pad|>", "<|video_pad|>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_tokenizer(*special),
        eos_token=special[2],
        pad_token=special[0],
        additional_special_tokens=special[1:],
    )
    text = {"vocab_size": len(tokenizer), "num_key_value_heads": 1, "max_position_embeddings": 512}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    patches = {"patch_size": 4, "temporal_patch_size": 2}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 16}
    config = Qwen2_5_VLConfig(
        text_config={**SIZE, **text, "rope_parameters": rope, "eos_token_id": 2, "bos_token_id": 0},
        vision_config={**vision, **patches, "spatial_merge_size": 2, "window_size": 16},
        vision_start_token_id=3,
        vision_end_token_id=4,
        image_token_id=5,
        video_token_id=6,
    )
    lively(Qwen2_5_VLForConditionalGeneration(config)).save_pretrained(folder)
    pixels = {"shortest_edge": 16 * 16, "longest_edge": 32 * 32}
    images = Qwen2VLImageProcessor(**patches, merge_size=2, size=pixels)
    videos = Qwen2VLVideoProcessor(**patches, merge_size=2)
    Qwen2_5_VLProcessor(images, tokenizer, videos, chat_template=QWEN_CHAT).save_pretrained(folder)
    return folder


def save_diffusion(folder: Path) -> Path:
    """Save a StableDiffusionPipeline for 32×32 images: one block each, text width 16."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(7)
    tokenizer = clip_tokenizer()
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    blocks = {"layers_per_block": 1, "norm_num_groups": 8}
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            mid_block_add_attention=False,
            **blocks,
        ),
        unet=UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(8,),
            down_block_types=("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",),
            cross_attention_dim=16,
            attention_head_dim=4,
            **blocks,
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(**SIZE, **ids, max_position_embeddings=77)),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            timestep_spacing="trailing",
            clip_sample=False,
            steps_offset=1,  # required by the pipeline
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def save_glide(folder: Path) -> Path:
    """Save a Glide that draws 8×8 images and enlarges them to 32×32."""
    import torch

    from recsim_gen.models.glide.config import GlideConfig, NetConfig
    from recsim_gen.models.glide.pipeline import Glide

    torch.manual_seed(8)
    tokenizer = clip_tokenizer()
    text = {
        "text_length": 24,
        "text_width": 16,
        "text_layers": 1,
        "text_heads": 2,
        "vocabulary": len(tokenizer),
    }
    net = {**text, "channels": (8, 16), "blocks": 1, "attended": 1, "head_channels": 8, "groups": 4}
    base = NetConfig(image_size=8, timesteps=(999, 500, 0), **net)
    upsampler = NetConfig(image_size=32, in_channels=6, noise="linear", timesteps=(997, 0), **net)
    lively(Glide(GlideConfig(base, upsampler), tokenizer), 2.0).save_pretrained(folder)
    return folder


def save_family(folder: Path) -> Path:
    """Save a folder that is a family: clip, llm, diffusion and glide."""
    save_clip(folder / "clip")
    save_llama(folder / "llm")
    save_diffusion(folder / "diffusion")
    save_glide(folder / "glide")
    return folder
