"""Train the taste verifier: would this person like this picture?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.config import run
from recsim_gen.core.options import DataOptions, DeviceOptions, RunOptions
from recsim_gen.metrics.taste_verifier.config import VerifierConfig

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Dataset
    from recsim_gen.metrics.taste_verifier.opinions import Opinions


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
    """Train a network that predicts how likely each person likes a picture, and test it on held-out opinions.

    Dislikes are used if the data has them. Besides the AUC over all opinions, the AUC within people is
    reported, which general liking cannot raise, and both without pictures. Each verifier is saved as
    OUTPUT/seed<seed>; evaluate takes it as the metric verifier[OUTPUT/seed0]. people.csv: AUC per person.
    """
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.report import report
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.datasets.opening import open_data

    dataset = open_data(options.data)
    encoder = options.encoder or dataset.encoders.get("image")
    if encoder is None:
        raise SettingError(f"{options.data} names no encoder of pictures: give --encoder")
    results = Results("train_verifier", options.as_dict(), {"data": dataset.fingerprint})
    for note in dataset.notes:
        results.note(note)
    with Tracker.of("train_verifier", options) as tracker:
        log_data(tracker, dataset)
        _train(dataset, encoder, options.place, options, results, tracker)
        report(results, tracker, options.output, metrics=["auc", "auc_within"])


def _train(
    dataset: Dataset, encoder: str, device: str, options: Options, results: Results, tracker: Tracker
) -> None:
    """Train and save a verifier for each seed; add its test AUCs to the results."""
    import pandas as pd

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.store import atomic
    from recsim_gen.encoders.features import encode
    from recsim_gen.metrics.taste_verifier.opinions import opinions
    from recsim_gen.metrics.taste_verifier.scores import add_rows, of_people, scored
    from recsim_gen.metrics.taste_verifier.training import train

    config = options.verifier
    models, frames, features = {}, [], None
    for seed in options.seeds:
        rng = Rng(seed).for_("verifier")
        given = opinions(dataset, config.threshold, rng)
        if features is None:
            features = encode(dataset, {"image": encoder}, device=device).features["image"]
        count = f"{len(given.person):,} opinions of {len(given.people):,} people"
        results.note(f"{count}, {given.liked.mean():.1%} liked: {given.labels}")
        log = partial(tracker.child("verifier").log_epoch, prefix=f"seed_{seed}/")
        models[seed] = train(given, features, config=config, rng=rng, device=device, on_epoch=log)
        frames.append(scored(given, features, models[seed], seed))
    scores = pd.concat(frames, ignore_index=True)
    of_seed = add_rows(scores, results, Rng(0).for_("verifier"))
    about = _about(dataset, encoder, device, given, config)
    for seed, trained in models.items():
        both = {
            n: (e.value, e.low, e.high) for n, e in zip(("auc", "auc_within"), of_seed[seed], strict=True)
        }
        trained.model.save(options.output / f"seed{seed}", {**about, "seed": seed, **both})
    with atomic(options.output / "people.csv") as temporary:
        of_people(scores).to_csv(temporary, index=False)


def _about(
    dataset: Dataset, encoder: str, device: str, given: Opinions, config: VerifierConfig
) -> dict[str, Any]:
    """Return the description that is saved with a verifier."""
    from dataclasses import asdict

    from recsim_gen.encoders.features import make_encoder
    from recsim_gen.metrics.taste_verifier.metric import pictures_key

    return {
        "data": dataset.name,
        "people": given.people.tolist(),
        "pictures": pictures_key(dataset.catalog),
        "encoder": encoder,
        "encoder_fingerprint": make_encoder(encoder, device).fingerprint,
        "labels": given.labels,
        "settings": asdict(config),
    }


if __name__ == "__main__":
    raise SystemExit(run(main))
