"""Train a family of small models on a catalogue: the models that work without a GPU and a hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.pretraining.source import PretrainingSource

PARTS = {
    "verifier": "recsim_gen.pretraining.verifier:pretrain",
    "clip": "recsim_gen.pretraining.clip:pretrain",
    "llm": "recsim_gen.pretraining.language:pretrain",
    "vae": "recsim_gen.pretraining.autoencoder:pretrain",
    "unet": "recsim_gen.pretraining.diffusion:pretrain",
}
"""In the order in which they need each other: the UNet reads what clip and vae wrote."""

FOLDERS = {"unet": "diffusion"}
"""Where a part lies below the output, where that is not its name."""


def main(
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    part: tuple[Literal["verifier", "clip", "llm", "vae", "unet"], ...] = (
        "verifier",
        "clip",
        "llm",
        "vae",
        "unet",
    ),
    renders: int = 24_000,
    minutes: float | None = None,
    seeds: tuple[int, ...] = (0,),
    output: Path = Path("runs/pretrain"),
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> None:
    """Train CLIP, language model, autoencoder, diffusion UNet and verifier for a catalogue.

    Each part is a folder below OUTPUT that the ordinary from_pretrained calls read. A part that is
    there is not trained again; a run that was killed goes on where it was, to the same weights.

    Parameters
    ----------
    data
        What to train on: NAME or NAME:PATH (boutique, movielens:DIR).
    data_settings
        Settings of the loader: --data-settings.seed 1.
    part
        Parts to train; unet needs clip and vae. A verifier needs a catalogue with known attributes.
    renders
        Pictures drawn to train on (boutique; other data have the pictures that they have).
    minutes
        Wall time of each part, instead of its own number of steps.
    seeds
        The seed of renders, weights and batches; one.
    output
        Folder of the family.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.report import report
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.pretraining.source import open_source

    if len(seeds) != 1:
        raise SettingError(f"a family has one seed, got {seeds}: give one, and another --output for another")
    if renders < 1 or (minutes is not None and minutes <= 0):
        raise SettingError(f"--renders and --minutes must be above 0, got {renders} and {minutes}")
    dataset = open_data(data, **(data_settings or {}))
    source = open_source(dataset, renders=renders, rng=Rng(seeds[0]).for_("pretraining", "source"))
    results = Results("pretrain", config, {"data": dataset.fingerprint, "source": source.fingerprint})
    with Tracker("pretrain", config, output=output, uri=tracking_uri) as tracker:
        for name in PARTS:
            if name in part:
                _train(name, source, config, results, tracker)
        report(results, tracker, output, metrics=["steps", "seconds", "loss"] if results.rows else None)


def _train(
    name: str, source: PretrainingSource, config: dict[str, Any], results: Results, tracker: Tracker
) -> None:
    """One part, unless it is there already; its numbers go into the results."""
    from recsim_gen.core import provenance
    from recsim_gen.core.progress import say
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.registry import resolve
    from recsim_gen.core.store import write_json
    from recsim_gen.core.training_loop import forget

    if name == "verifier" and source.attributes is None:
        results.note(f"no verifier: it learns to read attributes, and {source.dataset.name} names none")
        return
    output, seed = config["output"], config["seeds"][0]
    path = output / FOLDERS.get(name, name) / "training.json"
    asked = {"data": source.fingerprint, "seed": seed, "minutes": config["minutes"]}
    measured = _finished(path, asked)
    if measured is None:
        rng = Rng(seed).for_("pretraining", name)
        train = resolve(name, PARTS, "part")
        measured = train(source, output, rng=rng, minutes=config["minutes"], tracker=tracker)
        made_by = {"git_commit": provenance.git_commit(), "versions": provenance.versions()}
        write_json(path, {"part": name, **asked, **made_by, "measured": measured})
        forget(output, name)
    else:
        say(f"{name}: found in {path.parent}")
    for metric, value in measured.items():
        if isinstance(value, (int, float)):
            results.row(variant=name, metric=metric, value=value, seed=seed)


def _finished(path: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """What was measured when the part in this folder was trained, None where it was not.

    Raises SettingError where it was trained on other data, or otherwise.
    """
    import json

    from recsim_gen.core.errors import SettingError

    if not path.is_file():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    other = {key: kept.get(key) for key, value in asked.items() if kept.get(key) != value}
    if other:
        raise SettingError(
            f"{path.parent} holds a part trained with {other}, wanted { ({k: asked[k] for k in other}) }: "
            "name another --output, or delete that folder"
        )
    measured: dict[str, Any] = kept["measured"]
    return measured


if __name__ == "__main__":
    raise SystemExit(run(main))
