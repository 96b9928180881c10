"""Write a trained generator as folders that diffusers, PEFT and transformers load, with a model card."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from recsim_gen.core.config import run
from recsim_gen.core.options import DataOptions, ModelOptions
from recsim_gen.core.specs import GeneratorSpec


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions, DataOptions):
    """Options of export.

    Parameters
    ----------
    checkpoint
        Folder of a trained generator.
    gen
        Its class, module:Class, if it is not one of the library's.
    output
        New folder to write.
    quiet
        Print the path only.
    """

    checkpoint: Path = Path("runs/train_generator/generator")
    gen: GeneratorSpec | None = None
    output: Path = Path("runs/export")
    quiet: bool = False


def main(options: Options) -> None:
    """Export a trained generator: StableDiffusionPipeline.from_pretrained(OUTPUT) gives the diffusion model.

    The learned weights are beside it, and OUTPUT/README.md describes each file and how to load it: LoRA for
    load_lora_weights and PEFT, words for load_textual_inversion, an adapter for load_ip_adapter, the rest as
    safetensors. Give the --data and --models of its training.
    """
    from recsim_gen.artifacts.exported_generators import CARD, check_export, export_generator
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.progress import say
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.models.family import open_family

    output = options.output
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise SettingError(f"--output must be a new folder, {output} exists: move it, or name another")
    family = open_family(options.models)
    spec = check_export(options.gen, options.checkpoint, family)
    parts = export_generator(spec, options.checkpoint, open_data(options.data), output, family=family)
    for part in parts:
        say(f"{part.name}: {part.what}")
    sys.stdout.write(f"{output / CARD}\n")


if __name__ == "__main__":
    raise SystemExit(run(main))
