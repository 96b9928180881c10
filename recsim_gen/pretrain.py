"""Train a family of small models on a catalogue: the models that work without a GPU and a hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from recsim_gen.core.config import run
from recsim_gen.core.options import DataOptions, RunOptions

if TYPE_CHECKING:
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.pretraining.source import PretrainingSource

PARTS = {
    "verifier": "recsim_gen.pretraining.verifier:pretrain",
    "clip": "recsim_gen.pretraining.clip:pretrain",
    "llm": "recsim_gen.pretraining.language:pretrain",
    "vae": "recsim_gen.pretraining.autoencoder:pretrain",
    "unet": "recsim_gen.pretraining.diffusion:pretrain",
    "glide": "recsim_gen.pretraining.glide:pretrain",
}
"""Parts in order of dependency: the UNet reads the output of clip and vae."""

FOLDERS = {"unet": "diffusion"}
"""Folders of parts below the output, if they differ from the name."""


class Pretrain(Protocol):
    """Function that trains a part."""

    def __call__(
        self,
        source: PretrainingSource,
        output: Path,
        *,
        rng: Rng,
        minutes: float | None = None,
        tracker: Tracker | None = None,
    ) -> Mapping[str, Any]:
        """Train on ``source`` and write the part below ``output``; return what was measured."""


@dataclass(frozen=True, kw_only=True)
class Options(DataOptions, RunOptions):
    """Options of pretrain.

    Parameters
    ----------
    part
        Parts to train; unet needs clip and vae. A verifier needs a catalogue with known attributes.
    renders
        Number of pictures to draw for training (boutique; other data use their own pictures).
    minutes
        Wall time of each part, instead of its number of steps.
    seeds
        A single seed of renders, weights and batches.
    output
        Folder of the family.
    """

    part: tuple[Literal["verifier", "clip", "llm", "vae", "unet", "glide"], ...] = (
        "verifier",
        "clip",
        "llm",
        "vae",
        "unet",
        "glide",
    )
    renders: int = 24_000
    minutes: float | None = None
    seeds: tuple[int, ...] = (0,)
    output: Path = Path("runs/pretrain")


def main(options: Options) -> None:
    """Train CLIP, language model, autoencoder, diffusion UNet, GLIDE and verifier for a catalogue.

    Each part is a folder below OUTPUT that from_pretrained can load. Existing parts are not trained again; an
    interrupted run resumes and gives the same weights.
    """
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.report import report
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.pretraining.source import open_source

    seeds, renders, minutes = options.seeds, options.renders, options.minutes
    if len(seeds) != 1:
        raise SettingError(f"a family has one seed, got {seeds}: give one, and another --output for another")
    if renders < 1 or (minutes is not None and minutes <= 0):
        raise SettingError(f"--renders and --minutes must be above 0, got {renders} and {minutes}")
    dataset = open_data(options.data)
    source = open_source(dataset, renders=renders, rng=Rng(seeds[0]).for_("pretraining", "source"))
    fingerprints = {"data": dataset.fingerprint, "source": source.fingerprint}
    results = Results("pretrain", options.as_dict(), fingerprints)
    with Tracker.of("pretrain", options) as tracker:
        for part in PARTS:
            if part in options.part:
                _train(part, source, options, results, tracker)
        metrics = ["steps", "seconds", "loss"] if results.rows else None
        report(results, tracker, options.output, metrics=metrics)


def _train(
    part: str, source: PretrainingSource, options: Options, results: Results, tracker: Tracker
) -> None:
    """Train one part unless it exists; add its numbers to the results."""
    from recsim_gen.core import provenance
    from recsim_gen.core.progress import say
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.registry import resolve
    from recsim_gen.core.store import write_json
    from recsim_gen.core.training_loop import forget

    if part == "verifier" and source.attributes is None:
        results.note(f"no verifier: it learns to read attributes, and {source.dataset.name} names none")
        return
    output, seed = options.output, options.seeds[0]
    path = output / FOLDERS.get(part, part) / "training.json"
    trained_on = {"data": source.fingerprint, "seed": seed, "minutes": options.minutes}
    measured = _finished(path, trained_on)
    if measured is None:
        rng = Rng(seed).for_("pretraining", part)
        train: Pretrain = resolve(part, PARTS, "part")
        measured = train(source, output, rng=rng, minutes=options.minutes, tracker=tracker)
        made_by = {"git_commit": provenance.git_commit(), "versions": provenance.versions()}
        write_json(path, {"part": part, **trained_on, **made_by, "measured": measured})
        forget(output, part)
    else:
        say(f"{part}: found in {path.parent}")
    for metric, value in measured.items():
        if isinstance(value, (int, float)):
            results.row(variant=part, metric=metric, value=value, seed=seed)


def _finished(path: Path, trained_on: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the measurements of the part in this folder, None if it was not trained.

    Raises SettingError if it was trained on other data, or with other settings.
    """
    import json

    from recsim_gen.core.errors import SettingError

    if not path.is_file():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    other = {key: kept.get(key) for key, value in trained_on.items() if kept.get(key) != value}
    now = {key: trained_on[key] for key in other}
    if other:
        raise SettingError(
            f"{path.parent} holds a part trained with {other}, wanted {now}: "
            "name another --output, or delete that folder"
        )
    measured: Mapping[str, Any] = kept["measured"]
    return measured


if __name__ == "__main__":
    raise SystemExit(run(main))
