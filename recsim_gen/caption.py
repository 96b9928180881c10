"""Caption the pictures of a catalogue: their content, their style, and the style of histories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import DataOptions, DeviceOptions, RunOptions

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Dataset
    from recsim_gen.models.captioners import Captioner
    from recsim_gen.models.family import ModelFamily


@dataclass(frozen=True, kw_only=True)
class Options(DataOptions, DeviceOptions, RunOptions):
    """Options of caption.

    Parameters
    ----------
    captioner
        hf:NAME of the hub (BLIP-2, Qwen/Qwen2.5-VL-7B-Instruct) or a folder of such a model.
    kinds
        target: content of a picture; style: its look, for each item and each episode's history.
    target_prompt
        Question for target captions.
    style_prompt
        Question for style captions.
    max_tokens
        Longest answer, in tokens.
    batch_size
        Pictures per batch.
    dtype
        Type of the weights; float32 is the fastest on a CPU.
    output
        FILE.json or FILE.csv of the captions; results.json goes into the folder FILE beside it.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output file.
    """

    captioner: str = "hf:Salesforce/blip2-opt-2.7b"
    kinds: tuple[Literal["target", "style"], ...] = ("target", "style")
    target_prompt: str = "What is shown in this picture?"
    style_prompt: str = "What are the colors, the style and the mood of this picture?"
    max_tokens: int = 40
    batch_size: int = 16
    dtype: Literal["float32", "float16", "bfloat16"] = "float16"
    output: Path = Path("runs/captions.json")


def main(options: Options) -> None:
    """Caption every picture; captions are saved as they are made, so an interrupted run resumes.

    Several processes share the work: accelerate launch -m recsim_gen.caption (on CPUs torchrun -m …). Use the
    target captions with --data-settings.captions FILE.
    """
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.files.caption_files import check_suffix, write_captions
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.models.captioners import captioner_name
    from recsim_gen.models.family import open_family

    check_suffix(options.output)
    family = open_family("paper").with_models(captioner=captioner_name(options.captioner))
    family.require("captioner")  # fails before any data is read
    dataset = open_data(options.data)
    captioner = _captioner(family, options)
    fingerprints = {"data": dataset.fingerprint, "captioner": captioner.fingerprint}
    results = Results("caption", options.as_dict(), fingerprints)
    captions = _captions(dataset, captioner, options, results)
    if this_process().is_main_process:
        write_captions(options.output, captions)
        _publish(dataset, results, options)


def _captioner(family: ModelFamily, options: Options) -> Captioner:
    import torch

    return family.captioner(device=options.place, torch_dtype=getattr(torch, options.dtype))


def _captions(
    dataset: Dataset, captioner: Captioner, options: Options, results: Results
) -> dict[str, dict[str, str]]:
    """Return {kind: {id: caption}}, and add their statistics to the results."""
    from recsim_gen.core.errors import DataError
    from recsim_gen.models.captioning import caption_images, history_styles

    images = dataset.catalog.images
    if images is None or not images.present.any():
        raise DataError(f"pictures to caption are wanted, {dataset.name} has none")
    if lacking := int((~images.present).sum()):
        results.note(f"{lacking:,} items without picture: no caption")
    prompts = {"target": options.target_prompt, "style": options.style_prompt}
    captions: dict[str, dict[str, str]] = {}
    for kind in dict.fromkeys(options.kinds):
        lines = caption_images(
            images,
            captioner,
            prompts[kind],
            max_tokens=options.max_tokens,
            batch_size=options.batch_size,
            title=f"{kind} captions",
        )
        captions[kind] = {str(dataset.catalog.item_ids[row]): line for row, line in lines.items()}
        if kind == "style":
            captions["history"] = history_styles(dataset.episodes, lines)
    for variant, by_id in captions.items():
        _count(variant, list(by_id.values()), results)
    return captions


def _count(variant: str, lines: list[str], results: Results) -> None:
    """Add statistics that reveal a captioner that repeats itself or says nothing."""
    total = max(len(lines), 1)
    numbers = {
        "blank": sum(not line for line in lines) / total,
        "distinct": len(set(lines)) / total,
        "words": sum(len(line.split()) for line in lines) / total,
    }
    for metric, value in numbers.items():
        results.row(variant=variant, metric=metric, value=value, n=len(lines))


def _publish(dataset: Dataset, results: Results, options: Options) -> None:
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker

    output = options.output
    results.note(f"captions: {output}")
    with Tracker.of("caption", options) as tracker:
        log_data(tracker, dataset, context="captioning")
        report(results, tracker, output.with_suffix(""))
        tracker.run.log_file(output)


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
