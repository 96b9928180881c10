"""Steps of training at the paper's sizes, with random weights: seconds and peak memory.

    python tests/benchmarks/paper_size.py FOLDER --llm 7b --gen ip_adapter textual_inversion pmg ragar

Writes, once, models with the shapes of Stable Diffusion 1.5, CLIP ViT-L/14 and Llama 2 (``7b``; ``1b`` has
TinyLlama's) in half precision to FOLDER: 3 GB and, with 7b, 14 GB more. Then each generator takes ``--steps``
steps of a batch of one on a small shop at 512 × 512, in a process of its own for each arrangement: float32,
bfloat16, bfloat16 with gradient checkpointing. On a GPU if there is one. What is learned means nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recsim_gen.artifacts.trained_generators import make_generator
from recsim_gen.artifacts.training_records import peak_memory
from recsim_gen.core import training_loop as training
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import GeneratorSpec
from recsim_gen.datasets.boutique import world as boutique
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.models.family import ModelFamily, open_family

ARRANGEMENTS = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "bfloat16, checkpointing": {"dtype": "bfloat16", "gradient_checkpointing": True},
}
LLAMA = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "textual_inversion": {},
    "ip_adapter": {},
    "pmg": {"candidates": 1},
    # GILL's mapper; without reward: what a ranker and 5 pictures a person cost is a matter of drawing
    "ragar": {"mapper_width": 512, "mapper_feed_forward": 2048, "warm_start": 0, "reward": "none"},
}


def write(folder: Path, llm: str) -> None:
    """The models that are not there yet; tokenizers are those of the embedded family."""
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import (
        AutoTokenizer,
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPTextConfig,
        CLIPTextModel,
        LlamaConfig,
        LlamaForCausalLM,
    )

    small = open_family()
    torch.set_default_dtype(torch.bfloat16)  # no float32 copy of 7 B
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    if not (folder / "diffusion").exists():
        pipeline = small.diffusion(device="cpu")
        halves = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4}
        kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        scheduler = pipeline.scheduler.from_config(
            {**pipeline.scheduler.config, "prediction_type": "epsilon"}
        )
        StableDiffusionPipeline(
            vae=AutoencoderKL(**halves, **kinds, sample_size=512),
            unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
            text_encoder=CLIPTextModel(CLIPTextConfig(**text, max_position_embeddings=77)),
            tokenizer=pipeline.tokenizer,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder / "diffusion")
    if not (folder / "clip").exists():
        vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
        vision |= {"num_attention_heads": 16, "patch_size": 14}
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)
        CLIPModel(config).save_pretrained(folder / "clip")
        CLIPImageProcessor().save_pretrained(folder / "clip")
        AutoTokenizer.from_pretrained(small.folder("text_encoder")).save_pretrained(folder / "clip")
    if not (folder / f"llama-{llm}").exists():
        LlamaForCausalLM(LlamaConfig(**LLAMA[llm], vocab_size=32000)).save_pretrained(folder / f"llama-{llm}")
        AutoTokenizer.from_pretrained(small.folder("language_model")).save_pretrained(folder / f"llama-{llm}")


def family(folder: Path, llm: str, arrangement: str, size: int) -> ModelFamily:
    """These models, so arranged."""
    names = {"diffusion": str(folder / "diffusion"), "language_model": str(folder / f"llama-{llm}")}
    names |= dict.fromkeys(("text_encoder", "image_encoder"), str(folder / "clip"))
    return replace(open_family().with_models(**names), image_size=size, batch=1, **ARRANGEMENTS[arrangement])


def measured(folder: Path, llm: str, gen: str, arrangement: str, size: int, steps: int) -> dict[str, Any]:
    """Median seconds of a step after the first, GiB at the most."""
    shop, taken = boutique.load(n_items=80, n_users=4), []
    advance = training._State.advance

    def timed(*args: Any) -> Any:
        start = time.perf_counter()
        losses = advance(*args)  # ends with numbers, so a GPU is done as well
        taken.append(time.perf_counter() - start)
        return losses

    training._State.advance = timed  # type: ignore[method-assign]
    settings = {**SETTINGS[gen], "steps": steps, "batch_size": 1}
    spec = GeneratorSpec(gen, settings)
    made = make_generator(spec, models=family(folder, llm, arrangement, size))
    made.fit(shop.catalog, training_episodes(shop, least=5), rng=Rng(0))
    about = {"generator": gen, "frozen models": arrangement, "learned (M)": _millions(made)}
    return {**about, "s a step": float(np.median(taken[1:] or taken)), "peak GiB": peak_memory()}


def _millions(made: Any) -> float:
    return sum(x.numel() for x in made.weights().values()) / 1e6


def main() -> None:
    """Write the models, then every generator and arrangement in a process of its own; print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gen", nargs="+", default=[*SETTINGS], choices=[*SETTINGS])
    parser.add_argument("--frozen", nargs="+", default=[*ARRANGEMENTS], choices=[*ARRANGEMENTS])
    parser.add_argument("--llm", default="1b", choices=[*LLAMA])
    parser.add_argument("--size", type=int, default=512, help="pixels a side")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="the first of each, in this process, as JSON")
    asked = parser.parse_args()
    how = (asked.llm, asked.gen[0], asked.frozen[0], asked.size, asked.steps)
    if asked.alone:
        print(json.dumps(measured(asked.folder, *how)))
        return
    write(asked.folder, asked.llm)
    options = ["--llm", asked.llm, "--size", str(asked.size), "--steps", str(asked.steps), "--alone"]
    rows = []
    for gen in asked.gen:
        for frozen in asked.frozen:
            command = [
                sys.executable,
                __file__,
                str(asked.folder),
                "--gen",
                gen,
                "--frozen",
                frozen,
                *options,
            ]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            rows.append(json.loads(out.splitlines()[-1]))
    where = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{torch.get_num_threads()} CPU threads"
    )
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".3g"))
    print(f"{asked.size} × {asked.size}, a batch of 1, Llama {asked.llm}, random weights; {where}")


if __name__ == "__main__":
    main()
