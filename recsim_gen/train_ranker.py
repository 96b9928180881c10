"""Train rankers and report how well they rank; keep them for judging."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run

if TYPE_CHECKING:
    from recsim_gen.core.protocols import OnEpoch, Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset


def main(
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    encoders: dict[str, str] | None = None,
    ranker: tuple[str, ...] = ("micro",),
    settings: dict[str, Any] | None = None,
    masked: tuple[Literal["train", "valid"], ...] = ("train", "valid"),
    for_reward: bool = False,
    seeds: tuple[int, ...] = (0, 1, 2),
    output: Path = Path("runs/train_ranker"),
    tracking_uri: str | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> None:
    """Train rankers on the train split, stop by the valid split, report on the test split.

    Each is saved as OUTPUT/<ranker>-seed<seed> (config.json and model.safetensors).

    Parameters
    ----------
    data
        What to run on: NAME or NAME:PATH (boutique, ml-100k, movielens:DIR).
    data_settings
        Settings of the loader: --data-settings.sequence_length 10.
    encoders
        Encoder of each modality, default the data's own: --encoders.text minilm; none leaves it
        out: --encoders.image none.
    ranker
        One or several: NAME or NAME:RECIPE (popularity bpr lightgcn vbpr lattice micro micro:published-code).
    settings
        Settings of all of them, each with a default of its own: --settings.epochs 50.
    masked
        Splits whose items are taken out of a user's list ("train" alone is MICRO's published code).
    for_reward
        Test whether each looks at images (train again with images permuted among items, every seed) and
        keep the verdict with it: judge refuses one that does not.
    seeds
        Seeds of initial weights and negatives.
    output
        Folder for results.json, the figure and the trained rankers.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    device
        Where the rankers run: cpu, cuda.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.artifacts.trained_rankers import log_data, make_ranker, prepare
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.tracking import Tracker

    for spec in ranker:
        make_ranker(spec, settings)  # a wrong setting is told before any data is read
    if for_reward and len(set(seeds)) < 2:
        raise SettingError(f"--for-reward compares seeds: give at least 2 --seeds, got {seeds}")
    dataset, catalog, results = prepare("train_ranker", config)
    if for_reward and "image" not in catalog.features:
        raise SettingError(f"--for-reward needs image features, {data} has {sorted(catalog.features)}")
    with Tracker("train_ranker", config, output=output, uri=tracking_uri) as tracker:
        log_data(tracker, dataset)
        for spec in ranker:
            _train(spec, dataset, catalog, config, results, tracker)
            if for_reward:
                _test_modality_use(spec, dataset, catalog, config, results)
        _publish(dataset, results, tracker, output)


def _train(
    spec: str, dataset: Dataset, catalog: Catalog, config: dict[str, Any], results: Results, tracker: Tracker
) -> None:
    """One ranker with every seed: saved, evaluated, each seed and all together in the results."""
    import numpy as np
    import pandas as pd

    from recsim_gen.artifacts.serving import log_ranker
    from recsim_gen.artifacts.trained_rankers import trained_rankers
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.statistics import bootstrap_columns
    from recsim_gen.metrics.evaluation import evaluate

    def on_epoch(seed: int) -> OnEpoch:
        return partial(tracker.child(spec).log_epoch, prefix=f"seed_{seed}/")

    person = {e.user: e.source_user for e in dataset.episodes}
    how = {"seeds": config["seeds"], "device": config["device"], "on_epoch": on_epoch}
    rankers = trained_rankers(spec, config["settings"], catalog, dataset.interactions, **how)
    frames = []
    for seed, trained in rankers.items():
        folder = _folder(config, spec, seed)
        trained.save(folder)
        served = f"ranker-seed{seed}"
        log_ranker(tracker.child(spec), trained, catalog, dataset.interactions, name=served)
        results.fingerprints[f"{spec} seed {seed}"] = trained.fingerprint
        values = evaluate(trained, dataset.interactions, masked=config["masked"]).assign(seed=seed)
        frames.append(values)
    table = pd.concat(frames, ignore_index=True)
    metrics = [c for c in table.columns if c not in ("user", "seed")]
    for seed in [*config["seeds"], None]:
        part = table if seed is None else table[table["seed"] == seed]
        wide = part.groupby("user")[metrics].mean()
        people = np.array([person.get(user, f"user {user}") for user in wide.index])
        for metric, e in zip(metrics, bootstrap_columns(wide.to_numpy(), people, Rng(0)), strict=True):
            results.row(variant=spec, metric=metric, seed=seed, value=e.value, low=e.low, high=e.high, n=e.n)
    tracker.child(spec).log_table("users", table)


def _folder(config: dict[str, Any], spec: str, seed: int) -> Path:
    folder: Path = config["output"] / f"{spec.replace(':', '-')}-seed{seed}"
    return folder


def _test_modality_use(
    spec: str, dataset: Dataset, catalog: Catalog, config: dict[str, Any], results: Results
) -> None:
    """Whether the ranker looks at images, from all seeds; the verdict goes into each checkpoint."""
    from recsim_gen.artifacts.trained_rankers import trained_ranker
    from recsim_gen.judging.modality_use import modality_use, store

    def train(items: Catalog, seed: int) -> Ranker:
        how: dict[str, Any] = {"seed": seed, "device": config["device"]}
        return trained_ranker(spec, config["settings"], items, dataset.interactions, **how)

    guard = modality_use(train, catalog, dataset.interactions, config["seeds"])
    for seed in config["seeds"]:
        store(_folder(config, spec, seed), guard)
    results.verdict(f"{guard.name} ({spec})", f"{guard.verdict}: {guard.sentence}")
    for number, value in guard.numbers.items():
        results.row(variant=spec, metric=f"modality_use_{number}", value=value)


def _publish(dataset: Dataset, results: Results, tracker: Tracker, output: Path) -> None:
    from analysis.figures import grouped_bars
    from recsim_gen.core.report import report

    shown = ["recall@10", "recall@20", "ndcg@10", "ndcg@20"]
    title = f"How well does each ranker foretell the next item? ({dataset.name})"
    draw = partial(grouped_bars, results, output / "rankers", title=title, ylabel="per user", metrics=shown)
    report(results, tracker, output, draw=draw, metrics=shown, digits=4)


if __name__ == "__main__":
    raise SystemExit(run(main))
