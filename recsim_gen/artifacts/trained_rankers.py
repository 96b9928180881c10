"""Trained rankers, cached under everything that the training depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from math import ceil
from typing import TYPE_CHECKING

from recsim_gen import __version__
from recsim_gen.artifacts.training_records import Curves, tell_again
from recsim_gen.core.processes import Team, side_by_side
from recsim_gen.core.progress import say
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import RANKERS, resolve
from recsim_gen.core.specs import JudgeSpec, RankerSpec
from recsim_gen.core.store import cache_dir, fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from recsim_gen.core.options import ExperimentOptions
    from recsim_gen.core.protocols import OnEpoch, Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset, Interactions

    Job = tuple[Catalog, int]  # what to train on, and the seed

WORTH_PROCESSES = 30_000
"""Interactions times rankers from which they are trained in parallel; below it, processes cost more."""


FEW_STEPS = 100
"""Number of Adam steps below which embeddings hardly move from their initial values."""


def prepare(
    command: str, options: ExperimentOptions, *, check: Callable[[Dataset], None] | None = None
) -> tuple[Dataset, Catalog, Results]:
    """Load and encode the data of a command, and create its results with what was counted on the way.

    ``check`` raises errors that depend on the data but not on features, before features are computed.
    """
    from recsim_gen.core.options import ModelOptions
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.datasets.thin import thin_spots
    from recsim_gen.encoders.features import encode, without_image
    from recsim_gen.models.family import open_family

    dataset, strange = open_data(options.data), None
    if check is not None:
        check(dataset)
    if isinstance(options, ModelOptions):
        strange = open_family(options.models).unfamiliar(dataset.name)
    thin = (*thin_spots(dataset), *few_steps(_rankers(options), dataset.interactions))
    for note in filter(None, (strange, *thin)):
        say(f"Note: {note}")
    catalog = encode(dataset, chosen_encoders(dataset, options.encoders), device=options.place)
    fingerprints = {"data": dataset.fingerprint, "features": catalog.fingerprint}
    results = Results(command, options.as_dict(), fingerprints)
    for note in filter(None, (strange, *dataset.notes, *thin, without_image(catalog))):
        results.note(note)
    return dataset, catalog, results


def _rankers(options: ExperimentOptions) -> list[RankerSpec]:
    """Return the rankers that a command trains, including judges."""
    named = [getattr(options, "ranker", ()), *getattr(options, "judges", ())]
    specs = [spec for part in named for spec in (part if isinstance(part, tuple) else (part,))]
    here = [spec for spec in specs if not isinstance(spec, JudgeSpec) or spec.folder is None]
    trained = [spec.ranker if isinstance(spec, JudgeSpec) else spec for spec in here]
    return list({str(spec): spec for spec in trained}.values())


def few_steps(rankers: Sequence[RankerSpec], interactions: Interactions) -> list[str]:
    """Return a warning for each of ``rankers`` whose config gives only few steps of Adam on these data."""
    choices, sentences = len(interactions.only("train")[0]), []
    for spec in rankers:
        config = spec.config()
        if not hasattr(config, "for_log") or not choices:
            continue
        batch = config.for_log(choices).train_batch_size
        steps = config.epochs * ceil(choices / batch)
        if steps < FEW_STEPS:
            sentences.append(
                f"{spec}: {config.epochs:,} epochs are {steps:,} steps here ({choices:,} training choices, "
                f"{batch:,} a step): give more epochs, or a smaller train_batch_size"
            )
    return sentences


def chosen_encoders(dataset: Dataset, encoders: Mapping[str, str] | None) -> dict[str, str]:
    """Return the data set's encoders, overridden by ``encoders``; ``none`` leaves a modality out."""
    chosen = {**dataset.encoders, **(encoders or {})}
    return {modality: spec for modality, spec in chosen.items() if spec != "none"}


def log_data(tracker: Tracker, dataset: Dataset, context: str = "training") -> None:
    """Log the interactions as a dataset input of the parent run, under their fingerprint."""
    import pandas as pd

    chosen = dataset.interactions
    frame = pd.DataFrame(
        {"user": chosen.user, "item": chosen.item, "time": chosen.time, "split": chosen.split}
    )
    tracker.run.log_dataset(dataset.name, frame, dataset.fingerprint, context=context)


def make_ranker(spec: RankerSpec | str, *, device: str = "cpu") -> Ranker:
    """Return an untrained ranker.

    Parameters
    ----------
    spec
        Name and settings of the ranker.
    device
        Device to train on.

    Returns
    -------
    Ranker
        The untrained ranker.

    Raises
    ------
    SettingError
        If the name, recipe or a setting is unknown.
    """
    spec = spec if isinstance(spec, RankerSpec) else RankerSpec(spec)
    name, recipe = spec.parts
    ranker_class: Callable[..., Ranker] = resolve(name, RANKERS, spec.what)
    settings = {"recipe": recipe, **spec.settings} if recipe else spec.settings
    return ranker_class(device=device, **settings)


def trained_ranker(
    spec: RankerSpec | str,
    catalog: Catalog,
    interactions: Interactions,
    *,
    seed: int,
    device: str = "cpu",
    on_epoch: OnEpoch | None = None,
) -> Ranker:
    """Return the ranker trained with this seed; it is loaded if the same training was done before.

    The code counts by the version of the package and by ``Ranker.training_version``. Inside
    `working_together` all processes call it alike and train it together; the first one saves it.

    Parameters
    ----------
    spec
        Name and settings of the ranker.
    catalog, interactions
        The data.
    seed
        Seed of the training.
    device
        Device to train on.
    on_epoch
        Called with the numbers of every epoch, also if the ranker is loaded.

    Returns
    -------
    Ranker
        The trained ranker.

    Raises
    ------
    SettingError
        If the name, recipe or a setting is unknown.
    """
    ranker, folder = make_ranker(spec, device=device), kept_ranker(spec, catalog, interactions, seed=seed)
    callback = None if on_epoch is None else lambda epoch, numbers, _: on_epoch(epoch, numbers)
    team = Team()
    if team.agreed((folder / "config.json").exists):
        say(f"{spec}, seed {seed}: found in {folder}")
        if callback is not None:
            tell_again(folder, callback)
        return type(ranker).load(folder, catalog, interactions, device=device)
    curves = Curves(callback)
    ranker.fit(catalog, interactions, rng=Rng(seed), on_epoch=curves)
    if team.is_main_process:
        ranker.save(folder)
        curves.write(folder)
    return ranker


def kept_ranker(spec: RankerSpec | str, catalog: Catalog, interactions: Interactions, *, seed: int) -> Path:
    """Return the folder where `trained_ranker` caches this training, named by all that it depends on."""
    ranker = make_ranker(spec)
    items = [catalog.item_ids, catalog.categories, dict(catalog.features)]
    data = fingerprint(items, interactions.fingerprint)
    key = fingerprint(__version__, ranker.training_version, ranker.name, asdict(ranker.config), data, seed)
    return cache_dir() / "rankers" / key


def trained_rankers(
    spec: RankerSpec | str,
    catalog: Catalog,
    interactions: Interactions,
    *,
    seeds: Sequence[int],
    device: str = "cpu",
    on_epoch: Callable[[int], OnEpoch] | None = None,
) -> dict[int, Ranker]:
    """Return {seed: ranker} from `trained_ranker`; several missing ones are trained in parallel.

    Training is bound by memory, not arithmetic: on a CPU, one process per seed is nearly as many times faster
    as there are cores, while threads are not. ``on_epoch`` returns the callback of each seed.
    Inside `working_together` the launched processes train each one together, one after the other.
    """
    if Team().count == 1:
        train_missing(spec, [(catalog, seed) for seed in seeds], interactions, device=device)
    return {
        seed: trained_ranker(
            spec, catalog, interactions, seed=seed, device=device, on_epoch=on_epoch and on_epoch(seed)
        )
        for seed in seeds
    }


def train_missing(
    spec: RankerSpec | str,
    jobs: Sequence[Job],
    interactions: Interactions,
    *,
    device: str = "cpu",
) -> None:
    """Train those of ``jobs`` that are not in the cache in parallel, if starting processes is worthwhile.

    The remaining ones are trained by `trained_ranker`, which also reports their curves.
    """
    from joblib import cpu_count

    kept = [(kept_ranker(spec, c, interactions, seed=s) / "config.json").exists() for c, s in jobs]
    missing = [job for job, there in zip(jobs, kept, strict=True) if not there]
    at_once = min(len(missing), cpu_count() + 1)  # one more than cores: they stop at different epochs
    worth = len(missing) * len(interactions) >= WORTH_PROCESSES
    if device == "cpu" and min(at_once, cpu_count()) > 1 and worth:
        say(f"{spec}: training {len(missing)} rankers, {at_once} at a time, one process each")
        calls = [(spec, replace(catalog, images=None), seed, interactions) for catalog, seed in missing]
        side_by_side(_keep, calls, at_once)


def _keep(spec: RankerSpec | str, catalog: Catalog, seed: int, interactions: Interactions) -> None:
    """Train the ranker into the cache."""
    trained_ranker(spec, catalog, interactions, seed=seed)
