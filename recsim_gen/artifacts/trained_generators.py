"""Generators by name or from a checkpoint, and the episodes that they draw for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen import __version__
from recsim_gen.artifacts.checkpoints import Origin, keep_ranker, load_ranker, origin_of
from recsim_gen.artifacts.training_records import Recorder, tell_again
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.processes import Team, side_by_side, this_process
from recsim_gen.core.progress import say
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import GENERATORS, did_you_mean, resolve
from recsim_gen.core.specs import GeneratorSpec
from recsim_gen.core.store import atomic, cache_dir, fingerprint
from recsim_gen.encoders.features import encode

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator, Ranker, TrainingRun
    from recsim_gen.core.types import Catalog, Dataset, Episode
    from recsim_gen.models.family import ModelFamily

JUDGE = "judge"  # sub-folder of a checkpoint: the ranker by which the generator chooses among its images
GIB = 2**30


@dataclass(frozen=True)
class Training:
    """A training for `trained_generator`: a generator on a catalogue, rewarded by ``ranker``, with a seed."""

    spec: GeneratorSpec
    catalog: Catalog
    ranker: Ranker | None
    seed: int


def make_generator(
    spec: GeneratorSpec | str,
    *,
    models: ModelFamily | str | Path = "embedded",
    device: str | None = None,
) -> Generator:
    """Return a generator that is not fitted yet.

    Parameters
    ----------
    spec
        Name and settings of the generator.
    models
        Family of models.
    device
        Device to run on; None: cuda if there is one, else cpu.

    Returns
    -------
    Generator
        The unfitted generator.

    Raises
    ------
    SettingError
        If the name or a setting is unknown.
    """
    spec = as_spec(spec)
    generator_class = resolve(spec.name, GENERATORS, spec.what)
    made: Generator = generator_class(models=models, device=device, **spec.settings)
    return made


def as_spec(spec: GeneratorSpec | str) -> GeneratorSpec:
    """Return the spec, or for a name a spec with default settings."""
    return spec if isinstance(spec, GeneratorSpec) else GeneratorSpec(spec)


def generator_name(folder: str | Path) -> str:
    """Return the registry name in a checkpoint's ``config.json``.

    Raises DataError if the folder is not a checkpoint, or its generator is not in the registry: a file from
    an untrusted source must not decide what is imported.
    """
    try:
        name = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["generator"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"must be a trained generator, got no readable config.json ({error})",
            file=folder,
            remedy="Give a folder that a generator was saved to",
        ) from error
    if name not in GENERATORS:
        raise DataError(f"unknown generator {name!r}.{did_you_mean(str(name), GENERATORS)}", file=folder)
    return str(name)


def ready_generator(
    spec: GeneratorSpec | None,
    checkpoint: str | Path | None,
    dataset: Dataset,
    *,
    models: ModelFamily | str | Path = "embedded",
    device: str | None = None,
) -> Generator:
    """Return a generator that can draw: loaded from ``checkpoint``, or from ``spec`` if it needs no training.

    Parameters
    ----------
    spec
        Name and settings; None: those of the checkpoint.
    checkpoint
        Folder of a trained generator, None for one that needs no training.
    dataset
        The data; images are drawn for items of its catalogue.
    models
        Models to draw with, as for ``open_family``.
    device
        Device to draw on; None: cuda if there is one, else cpu.

    Returns
    -------
    Generator
        The fitted generator.

    Raises
    ------
    SettingError
        If the generator must be trained first and no checkpoint is given.
    DataError
        If the checkpoint belongs to another generator, catalogue or models, or lacks the ranker that chooses
        among images.
    """
    check_choice(spec, checkpoint, models=models)
    catalog = dataset.catalog
    if checkpoint is not None:
        name = generator_name(checkpoint) if spec is None else spec.name
        generator_class = resolve(name, GENERATORS, GeneratorSpec.what)
        loaded: Generator = generator_class.load(checkpoint, catalog, models=models, device=device)
        if loaded.chooses:
            loaded.judged_by(_kept_judge(Path(checkpoint) / JUDGE, dataset, device or "cpu"))
        return loaded
    assert spec is not None
    made = make_generator(spec, models=models, device=device)
    made.fit(catalog, (), rng=Rng(0))
    return made


def keep_generator(generator: Generator, folder: Path, ranker: Ranker | None, origin: Origin | None) -> None:
    """Save a generator and, if it selects images by a ranker, that ranker in the sub-folder ``judge``."""
    generator.save(folder)
    if generator.chooses and ranker is not None and origin is not None:
        keep_ranker(ranker, folder / JUDGE, origin)


def _kept_judge(folder: Path, dataset: Dataset, device: str) -> Ranker:
    """Load the ranker saved with a generator, with the features of its training."""
    origin = origin_of(folder)
    if origin is None:
        raise DataError(
            "the judge by which this generator chooses among its pictures is missing",
            file=folder,
            remedy="Keep it by python -m recsim_gen.train_generator, or train with candidates: 1",
        )
    catalog = encode(dataset, origin.encoders, device=device)
    return load_ranker(folder, catalog, dataset.interactions, device=device)


def trained_generator(
    spec: GeneratorSpec | str,
    catalog: Catalog,
    episodes: Sequence[Episode],
    *,
    ranker: Ranker | None = None,
    judge: Ranker | None = None,
    seed: int = 0,
    models: ModelFamily | str | Path = "embedded",
    device: str | None = None,
    run: TrainingRun | None = None,
) -> Generator:
    """Return a generator fitted on these episodes; it is loaded if the same training was done before.

    An interrupted training resumes. Inside `working_together` all processes train, and the first one's
    generator is saved.

    Parameters
    ----------
    spec
        Name and settings of the generator. If its setting ``encoder`` is not given, it is the catalogue's
        image encoder.
    catalog
        Items with their features.
    episodes
        Episodes of `training_episodes`; none of them may be one that images are judged on.
    ranker
        Gives the reward to a generator that ``uses_ranker``; ignored by the others.
    judge
        Held-out ranker that watches the training; ignored likewise.
    seed
        Seed of the training.
    models
        Family of models.
    device
        Device to run on; None: cuda if there is one, else cpu.
    run
        Receives the curves of all parts of the training, also if it is loaded.

    Returns
    -------
    Generator
        The fitted generator.

    Raises
    ------
    SettingError
        If the generator needs a ranker and none is given.
    """
    spec = _with_encoder(as_spec(spec), catalog)
    made = make_generator(spec, models=models, device=device)
    if not made.uses_ranker:
        ranker = judge = None
    elif ranker is None:
        raise SettingError(f"{spec} learns from a ranker's scores of its pictures: give one (--judges)")
    if not made.learns:
        made.fit(catalog, (), ranker=ranker, judge=judge, rng=Rng(seed))
        return made
    folder = kept_generator(made, catalog, episodes, ranker=ranker, judge=judge, seed=seed)
    team, start = Team(), f"seed_{seed}/"
    if team.agreed((folder / "config.json").exists):
        say(f"{spec}, seed {seed}: found in {folder}")
        if run is not None:
            tell_again(folder, run.log_epoch)
        loaded: Generator = type(made).load(folder, catalog, models=models, device=device)
        loaded.judged_by(ranker)
        return loaded
    work, record = folder.parent / f"{folder.name}.work", Recorder(run, start)
    made.fit(catalog, episodes, ranker=ranker, judge=judge, rng=Rng(seed), work=work, tracker=record)
    if team.is_main_process:
        with atomic(folder) as temporary:
            made.save(temporary)
            record.write(temporary)
        shutil.rmtree(work, ignore_errors=True)
    return made


def train_missing(
    trainings: Sequence[Training], episodes: Sequence[Episode], *, models: ModelFamily, device: str | None
) -> None:
    """Train the generators that are not in the cache: on CPUs with several cores, one process each.

    A training step of a small generator consists of many short operations, which threads hardly speed up. As
    many run at once as there are cores and memory allows: 2 GiB each and four times the weights of the
    models. Several launched processes train a share each. The remaining ones are trained by
    `trained_generator`, which also reports the curves of those found.
    """
    process = this_process()
    missing = _missing(trainings, episodes, models)
    if process.num_processes > 1:
        process.wait_for_everyone()  # until all have seen what is missing
        for training in [*missing.values()][process.process_index :: process.num_processes]:
            _train(training, episodes, models, device)
        process.wait_for_everyone()
    elif device == "cpu" and (at_once := _affordable(missing.values(), models)) > 1:
        say(f"training {len(missing)} generators, {at_once} at a time, one process each")
        bare = replace(models)  # a copy without loaded models, which need not be sent
        side_by_side(_train, [(t, episodes, bare, device) for t in missing.values()], at_once)


def _missing(
    trainings: Sequence[Training], episodes: Sequence[Episode], models: ModelFamily
) -> dict[Path, Training]:
    """Return {folder: training} of the trainings that are not in the cache."""
    missing = {}
    for training in trainings:
        spec = _with_encoder(training.spec, training.catalog)
        made = make_generator(spec, models=models, device="cpu")
        if made.learns and (training.ranker is not None or not made.uses_ranker):
            kept = kept_generator(
                made, training.catalog, episodes, ranker=training.ranker, seed=training.seed
            )
            if not (kept / "config.json").exists():
                missing[kept] = training
    return missing


def _affordable(trainings: Collection[Training], models: ModelFamily) -> int:
    """Return how many trainings fit on this machine at once."""
    from joblib import cpu_count
    from psutil import virtual_memory

    roles = {role for training in trainings for role in make_generator(training.spec, models=models).roles}
    files = [file for role in roles for file in models.folder(role).rglob("*") if file.is_file()]
    each = 2 * GIB + 4 * sum(file.stat().st_size for file in files)
    return min(len(trainings), cpu_count(), virtual_memory().available // each)


def _train(training: Training, episodes: Sequence[Episode], models: ModelFamily, device: str | None) -> None:
    """Train one generator into the cache."""
    trained_generator(
        training.spec,
        training.catalog,
        episodes,
        ranker=training.ranker,
        seed=training.seed,
        models=models,
        device=device,
    )


def _with_encoder(spec: GeneratorSpec, catalog: Catalog) -> GeneratorSpec:
    """Return the spec; a setting ``encoder`` that is not given becomes the catalogue's encoder."""
    encoder = catalog.encoders.get("image")
    if not encoder or "encoder" in spec.settings or "encoder" not in {s.name for s in spec.known()}:
        return spec
    return replace(spec, settings={**spec.settings, "encoder": encoder})


def kept_generator(
    made: Generator,
    catalog: Catalog,
    episodes: Sequence[Episode],
    *,
    ranker: Ranker | None = None,
    judge: Ranker | None = None,
    seed: int = 0,
) -> Path:
    """Return the folder where `trained_generator` caches this training, named by all that it depends on.

    The catalogue's features are not part of the name, nor are rankers for a generator that does not use them.
    """
    models = made.family.fingerprint(*made.roles) if made.roles else None
    data = replace(catalog, features={}).fingerprint, tuple(episodes)
    rankers = (ranker, judge) if made.uses_ranker else ()
    judges = [None if r is None else r.fingerprint for r in rankers]
    version = __version__, made.training_version
    key = fingerprint(*version, made.name, asdict(made.config), models, data, judges, seed)
    return cache_dir() / "generators" / key


def check_choice(
    spec: GeneratorSpec | None,
    checkpoint: str | Path | None,
    *,
    models: ModelFamily | str | Path = "embedded",
) -> None:
    """Raise SettingError unless generator, settings and checkpoint fit together; reads no data.

    A generator that learns needs a checkpoint.
    """
    if checkpoint is None:
        if spec is None:
            raise SettingError(f"give --gen or --checkpoint. Generators: {', '.join(GENERATORS)}")
        if make_generator(spec, models=models, device="cpu").learns:
            raise SettingError(
                f"{spec} has to be trained first: give --checkpoint, the folder it was saved to"
            )
    else:
        generator_name(checkpoint)
        if spec is not None and spec.settings:
            raise SettingError("a checkpoint has its own settings: leave out --gen-settings or --checkpoint")


def chosen_episodes(dataset: Dataset, count: int = 0) -> tuple[tuple[Episode, ...], int]:
    """Return ``count`` test episodes (0: all) in their order, and how many were left out for lack of images.

    If the catalogue has images, episodes whose reference has none are left out for every generator, since
    there is nothing to compare with. The ``count`` episodes are a random sample that depends on no seed; a
    larger sample contains the smaller ones.
    """
    if count < 0:
        raise SettingError(f"episodes must be 0 (all) or more, got {count}")
    images, episodes = dataset.catalog.images, dataset.episodes
    if images is not None and images.present.any():
        episodes = tuple(e for e in episodes if images.present[e.reference])
    lacking = len(dataset.episodes) - len(episodes)
    if 0 < count < len(episodes):
        order = Rng(0).for_("episodes").numpy().permutation(len(episodes))
        episodes = tuple(episodes[row] for row in np.sort(order[:count]).tolist())
    return episodes, lacking
