"""Judge images from anywhere: how far do they move items in users' lists, and is that to be believed?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.types import Catalog, Dataset
    from recsim_gen.judging.judging import Judgement


def main(
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    encoders: dict[str, str] | None = None,
    ranker: tuple[Path, ...] = (),
    images: Path | None = None,
    placebo: Path | None = None,
    users: tuple[str, ...] = (),
    scope: Literal["graph", "item"] = "graph",
    candidates: int = 40,
    headroom_pairs: int = 300,
    verify: int = 0,
    force: bool = False,
    seeds: tuple[int, ...] = (0,),
    output: Path = Path("runs/judge"),
    tracking_uri: str | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> None:
    """Score images under trained rankers: delta R and delta MRR beside placebo, noise and other controls.

    Images are named <item id>.png (asked of the users whose test reference the item is) or
    <user id>/<item id>.png, in a folder or tar.

    Parameters
    ----------
    data
        What the rankers were trained on: NAME or NAME:PATH (boutique, movielens:DIR).
    data_settings
        Settings of the loader, as in training.
    encoders
        Encoder of each modality, as in training; images are encoded by the same.
    ranker
        Folders that train_ranker wrote; the first gave the reward, the others are held-out judges.
    images
        Folder or tar of the images to judge.
    placebo
        Folder or tar of other real pictures of the items: the null distribution.
    users
        User ids to ask about every <item id>.png, instead of those whose test reference it is.
    scope
        graph: as if the item graph were built again, exactly; item: the item's own row only.
    candidates
        Random catalogue pictures tried on each pair for its headroom.
    headroom_pairs
        Random pairs whose headroom is measured; 0 leaves it out.
    verify
        Triples to compare with the slow rebuild.
    force
        Judge with rankers of which training found that they do not use images, too.
    seeds
        Draws of noise and of shuffled pictures, averaged.
    output
        Folder for results.json and the figure.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    device
        Where encoders and rankers run: cpu, cuda.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.artifacts.trained_rankers import chosen_encoders, prepare
    from recsim_gen.judging.judging import judge

    names, notes = _check(config)  # a wrong path or ranker is told before any data is read
    dataset, catalog, results = prepare("judge", config)
    for note in notes:
        results.note(note)
    rankers = _load(names, config, dataset, catalog)
    for name, loaded in rankers.items():
        results.fingerprints[f"ranker {name}"] = loaded.fingerprint
    judgement = judge(
        dataset,
        catalog,
        rankers,
        str(images),
        placebo=placebo,
        encoder=chosen_encoders(dataset, config).get("image"),
        users=users or None,
        scope=scope,
        seeds=seeds,
        candidates=candidates,
        headroom_pairs=headroom_pairs,
        verify=verify,
        device=device,
        results=results,
    )
    _publish(judgement, dataset, config)


def _check(config: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Names of the rankers, and what their verdicts oblige to note; errors for what is missing."""
    from recsim_gen.artifacts.checkpoints import judge_names, ranker_name
    from recsim_gen.core.errors import SettingError
    from recsim_gen.datasets.image_sets import refuse_empty
    from recsim_gen.judging.modality_use import gate, stored

    names = judge_names(config["ranker"])
    if config["images"] is None:
        raise SettingError("give --images: a folder or tar of <item id>.png or <user id>/<item id>.png")
    for path in (config["images"], config["placebo"]):
        if path is not None:
            refuse_empty(path)
    notes = []
    for name, folder in zip(names, config["ranker"], strict=True):
        ranker_name(folder)
        notes.append(gate(stored(folder), name, force=config["force"]))
    return names, [note for note in notes if note]


def _load(names: list[str], config: dict[str, Any], dataset: Dataset, catalog: Catalog) -> dict[str, Ranker]:
    from recsim_gen.artifacts.checkpoints import load_ranker

    folders = zip(names, config["ranker"], strict=True)
    chosen = dataset.interactions
    return {name: load_ranker(folder, catalog, chosen, device=config["device"]) for name, folder in folders}


def _publish(judgement: Judgement, dataset: Dataset, config: dict[str, Any]) -> None:
    """What `report` does, and the numbers of every triple to MLflow."""
    from analysis.distributions import distributions
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.metrics.delta_rank import METRICS

    output, samples = config["output"], judgement.samples
    title = f"How far do the images move items in users' lists? ({dataset.name})"
    draw = partial(distributions, samples, output / "delta_r", title=title)
    judgement.results.write(output)  # before a tracker is made: that may fail
    with Tracker("judge", config, output=output, uri=config["tracking_uri"]) as tracker:
        log_data(tracker, dataset, context="evaluation")
        report(judgement.results, tracker, output, draw=draw, metrics=METRICS)
        tracker.run.log_table("samples", samples)


if __name__ == "__main__":
    raise SystemExit(run(main))
