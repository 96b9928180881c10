"""Train the verifier of personal taste: would this user like this picture?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.config import run
from recsim_gen.core.options import DataOptions, DeviceOptions, RunOptions
from recsim_gen.metrics.taste_verifier.config import VerifierConfig

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Dataset


@dataclass(frozen=True, kw_only=True)
class Options(DataOptions, DeviceOptions, RunOptions):
    """Options of train_verifier.

    Parameters
    ----------
    encoder
        Encoder of pictures, default the data's own (efficientnet-lite0, open_clip:…, hf:…).
    verifier
        Settings of training: --verifier.epochs 20 --verifier.threshold 4.
    seeds
        Seeds of split, weights and batches; one verifier each.
    """

    encoder: str | None = None
    verifier: VerifierConfig = field(default_factory=VerifierConfig)
    seeds: tuple[int, ...] = (0,)
    output: Path = Path("runs/train_verifier")


def main(options: Options) -> None:
    """Train a network that says how likely each user likes a picture, and measure it on held-out ratings.

    Each is saved as OUTPUT/seed<seed>; evaluate takes it as the metric verifier[OUTPUT/seed0].
    """
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.report import report
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.datasets.opening import open_data

    device = options.place  # one that is not there is told before any data is read
    dataset = open_data(options.data)
    encoder = options.encoder or dataset.encoders.get("image")
    if encoder is None:
        raise SettingError(f"{options.data} names no encoder of pictures: give --encoder")
    results = Results("train_verifier", options.as_dict(), {"data": dataset.fingerprint})
    for note in dataset.notes:
        results.note(note)
    with Tracker.of("train_verifier", options) as tracker:
        log_data(tracker, dataset)
        _train(dataset, encoder, device, options, results, tracker)
        report(results, tracker, options.output, metrics=["auc"])


def _train(
    dataset: Dataset, encoder: str, device: str, options: Options, results: Results, tracker: Tracker
) -> None:
    """A verifier of each seed: trained, saved, its test AUC in the results."""
    from dataclasses import asdict

    import numpy as np

    from recsim_gen.core.errors import DataError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.encoders.features import encode, make_encoder
    from recsim_gen.metrics.taste_verifier.metric import users_hash
    from recsim_gen.metrics.taste_verifier.training import opinions, train

    if dataset.catalog.images is None:
        raise DataError(f"a verifier learns from pictures, {dataset.name} has none")
    config = options.verifier
    features = encode(dataset, {"image": encoder}, device=device).features["image"]
    ids = dataset.interactions.user_ids
    people = np.unique(dataset.people, return_inverse=True)[1]
    made_of = {
        "data": dataset.name,
        "users": users_hash(ids),
        "encoder": encoder,
        "encoder_fingerprint": make_encoder(encoder, device).fingerprint,
        "settings": asdict(config),
    }
    for seed in options.seeds:
        rng = Rng(seed).for_("verifier")
        given = opinions(dataset.interactions, dataset.catalog.images.present, config.threshold, rng)
        results.note(f"{len(given.user):,} opinions, {given.liked.mean():.1%} liked: {given.labels}")
        trained = train(
            given,
            features,
            len(ids),
            people,
            config=config,
            rng=rng,
            device=device,
            on_epoch=partial(tracker.child("verifier").log_epoch, prefix=f"seed_{seed}/"),
        )
        e = trained.auc
        about = {**made_of, "seed": seed, "labels": given.labels, "auc": e.value}
        trained.model.save(options.output / f"seed{seed}", {**about, "auc_low": e.low, "auc_high": e.high})
        results.row(
            variant="verifier", metric="auc", seed=seed, value=e.value, low=e.low, high=e.high, n=e.n, p=e.p
        )


if __name__ == "__main__":
    raise SystemExit(run(main))
