"""Train the verifier of personal taste: would this user like this picture?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.config import run

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Dataset
    from recsim_gen.metrics.taste_verifier_training import VerifierConfig


def main(
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    encoder: str | None = None,
    settings: dict[str, Any] | None = None,
    seeds: tuple[int, ...] = (0,),
    output: Path = Path("runs/train_verifier"),
    tracking_uri: str | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> None:
    """Train a network that says how likely each user likes a picture, and measure it on held-out ratings.

    Each is saved as OUTPUT/seed<seed>; evaluate takes it as the metric verifier[OUTPUT/seed0].

    Parameters
    ----------
    data
        Whose ratings and pictures to learn from: NAME or NAME:PATH (boutique, movielens:DIR).
    data_settings
        Settings of the loader: --data-settings.sequence_length 10.
    encoder
        Encoder of pictures, default the data's own (efficientnet-lite0, open_clip:…, hf:…).
    settings
        Settings of training: --settings.epochs 20 --settings.threshold 4.
    seeds
        Seeds of split, weights and batches; one verifier each.
    output
        Folder for results.json and the trained verifiers.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    device
        Where encoder and network run: cpu, cuda.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.registry import with_settings
    from recsim_gen.core.report import report
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.metrics.taste_verifier_training import VerifierConfig

    how = with_settings(VerifierConfig, settings or {})
    dataset = open_data(data, **(data_settings or {}))
    spec = encoder or dataset.encoders.get("image")
    if spec is None:
        raise SettingError(f"{data} names no encoder of pictures: give --encoder")
    results = Results("train_verifier", config, {"data": dataset.fingerprint})
    for note in dataset.notes:
        results.note(note)
    with Tracker("train_verifier", config, output=output, uri=tracking_uri) as tracker:
        log_data(tracker, dataset)
        _train(dataset, spec, how, config, results, tracker)
        report(results, tracker, output, metrics=["auc"])


def _train(
    dataset: Dataset,
    spec: str,
    how: VerifierConfig,
    config: dict[str, Any],
    results: Results,
    tracker: Tracker,
) -> None:
    """A verifier of each seed: trained, saved, its test AUC in the results."""
    from dataclasses import asdict

    import numpy as np

    from recsim_gen.core.errors import DataError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.encoders.features import encode, make_encoder
    from recsim_gen.metrics.taste_verifier import users_hash
    from recsim_gen.metrics.taste_verifier_training import opinions, train

    if dataset.catalog.images is None:
        raise DataError(f"a verifier learns from pictures, {dataset.name} has none")
    features = encode(dataset, {"image": spec}, device=config["device"]).features["image"]
    person = {e.user: e.source_user for e in dataset.episodes}
    ids = dataset.interactions.user_ids
    people = np.unique([person.get(u, name) for u, name in enumerate(ids.tolist())], return_inverse=True)[1]
    made_of = {
        "data": dataset.name,
        "users": users_hash(ids),
        "encoder": spec,
        "encoder_fingerprint": make_encoder(spec, config["device"]).fingerprint,
        "settings": asdict(how),
    }
    for seed in config["seeds"]:
        rng = Rng(seed).for_("verifier")
        given = opinions(dataset.interactions, dataset.catalog.images.present, how.threshold, rng)
        results.note(f"{len(given.user):,} opinions, {given.liked.mean():.1%} liked: {given.labels}")
        on_epoch = partial(tracker.child("verifier").log_epoch, prefix=f"seed_{seed}/")
        size, device = len(ids), config["device"]
        trained = train(given, features, size, people, config=how, rng=rng, device=device, on_epoch=on_epoch)
        e = trained.auc
        about = {**made_of, "seed": seed, "labels": given.labels, "auc": e.value}
        trained.model.save(config["output"] / f"seed{seed}", {**about, "auc_low": e.low, "auc_high": e.high})
        results.row(
            variant="verifier", metric="auc", seed=seed, value=e.value, low=e.low, high=e.high, n=e.n, p=e.p
        )


if __name__ == "__main__":
    raise SystemExit(run(main))
