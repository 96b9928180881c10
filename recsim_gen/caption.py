"""Caption the pictures of a catalogue: what is in them, how they look, what a history looks like."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Dataset


def main(
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    captioner: str = "hf:Salesforce/blip2-opt-2.7b",
    kinds: tuple[Literal["target", "style"], ...] = ("target", "style"),
    target_prompt: str = "What is shown in this picture?",
    style_prompt: str = "What are the colors, the style and the mood of this picture?",
    max_tokens: int = 40,
    batch_size: int = 16,
    dtype: Literal["float32", "float16", "bfloat16"] = "float16",
    device: str | None = None,
    output: Path = Path("runs/captions.json"),
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> None:
    """Caption every picture; each caption is kept as it is made, so a killed run goes on where it was.

    Several processes share the work: accelerate launch -m recsim_gen.caption (on CPUs torchrun -m …).
    Data is opened with the target captions by --data-settings.captions FILE.

    Parameters
    ----------
    data
        What to caption: NAME or NAME:PATH (boutique, movielens:DIR).
    data_settings
        Settings of the loader: --data-settings.posters none.
    captioner
        hf:NAME of the hub (BLIP-2, Qwen/Qwen2.5-VL-7B-Instruct) or a folder of such a model.
    kinds
        target: what is in a picture; style: how it looks, for each item and each episode's history.
    target_prompt
        Question for target captions.
    style_prompt
        Question for style captions.
    max_tokens
        Longest answer, in tokens.
    batch_size
        Pictures asked about at once.
    dtype
        Of the weights; float32 is the quickest on a CPU.
    device
        Where the captioner runs; default Accelerate's choice, a GPU if there is one.
    output
        FILE.json or FILE.csv of the captions; results.json goes into the folder FILE beside it.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output file.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    import torch

    from recsim_gen.core.processes import this_process
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.files.caption_files import check_suffix, write_captions
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.models.captioners import captioner_name
    from recsim_gen.models.family import open_family

    check_suffix(output)
    family = open_family("paper").with_models(captioner=captioner_name(captioner))
    family.require("captioner")  # told before any data is read
    dataset = open_data(data, **(data_settings or {}))
    model = family.captioner(device=device, torch_dtype=getattr(torch, dtype))
    fingerprints = {"data": dataset.fingerprint, "captioner": model.fingerprint}
    results = Results("caption", config, fingerprints)
    captions = _captions(dataset, model, config, results)
    if this_process().is_main_process:
        write_captions(output, captions)
        _publish(dataset, results, config)


def _captions(dataset: Dataset, model: Any, config: dict[str, Any], results: Results) -> dict[str, Any]:
    """Kind to id to caption, and their numbers into the results."""
    from recsim_gen.core.errors import DataError
    from recsim_gen.models.captioning import caption_pictures, history_styles

    images = dataset.catalog.images
    if images is None or not images.present.any():
        raise DataError(f"pictures to caption are wanted, {dataset.name} has none")
    if lacking := int((~images.present).sum()):
        results.note(f"{lacking:,} items without picture: no caption")
    captions = {}
    for kind in dict.fromkeys(config["kinds"]):
        make = partial(caption_pictures, images, model, config[f"{kind}_prompt"], title=f"{kind} captions")
        lines = make(max_tokens=config["max_tokens"], batch_size=config["batch_size"])
        captions[kind] = {str(dataset.catalog.item_ids[row]): line for row, line in lines.items()}
        if kind == "style":
            captions["history"] = history_styles(dataset.episodes, lines)
    for kind, told in captions.items():
        _count(kind, list(told.values()), results)
    return captions


def _count(kind: str, lines: list[str], results: Results) -> None:
    """What tells a captioner that looks from one that repeats itself or says nothing."""
    total = max(len(lines), 1)
    numbers = {
        "blank": sum(not line for line in lines) / total,
        "distinct": len(set(lines)) / total,
        "words": sum(len(line.split()) for line in lines) / total,
    }
    for metric, value in numbers.items():
        results.row(variant=kind, metric=metric, value=value, n=len(lines))


def _publish(dataset: Dataset, results: Results, config: dict[str, Any]) -> None:
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker

    output: Path = config["output"]
    results.note(f"captions: {output}")
    with Tracker("caption", config, output=output, uri=config["tracking_uri"]) as tracker:
        log_data(tracker, dataset, context="captioning")
        report(results, tracker, output.with_suffix(""))
        tracker.run.log_file(output)


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
