"""Generators by name or from a checkpoint, and the episodes that they draw for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from recsim_gen import __version__
from recsim_gen.artifacts.training_records import Recorder
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.processes import Team
from recsim_gen.core.progress import say
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import GENERATORS, did_you_mean, resolve
from recsim_gen.core.store import atomic, cache_dir, fingerprint

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator, Ranker
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset, Episode
    from recsim_gen.models.family import ModelFamily

TRAINING = 1  # raise it when the same settings train otherwise: what was kept before is not found again


def make_generator(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    models: ModelFamily | str | Path = "embedded",
    device: str | None = None,
) -> Generator:
    """An unfitted generator. Raises SettingError for an unknown name or setting."""
    made: Generator = resolve(name, GENERATORS, "generator")(models=models, device=device, **(settings or {}))
    return made


def generator_name(folder: str | Path) -> str:
    """The registry name in a checkpoint's ``config.json``.

    Raises DataError where the folder is no checkpoint, or names a generator that the registry lacks: a
    file that was brought from elsewhere must not choose what is imported.
    """
    try:
        name = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["generator"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"a trained generator is wanted, got no readable config.json ({error})",
            file=folder,
            remedy="Give a folder that a generator was saved to",
        ) from error
    if name not in GENERATORS:
        raise DataError(f"unknown generator {name!r}.{did_you_mean(str(name), GENERATORS)}", file=folder)
    return str(name)


def ready_generator(
    name: str | None,
    checkpoint: str | Path | None,
    catalog: Catalog,
    *,
    settings: Mapping[str, Any] | None = None,
    models: ModelFamily | str | Path = "embedded",
    device: str | None = None,
) -> Generator:
    """One that can draw: loaded from ``checkpoint``, or made by ``name`` where it learns nothing.

    Raises SettingError where it has to be trained first and no checkpoint is given, DataError for a
    checkpoint of another generator, catalogue or models.
    """
    check_choice(name, checkpoint, settings)
    if checkpoint is not None:
        generator_class = resolve(name or generator_name(checkpoint), GENERATORS, "generator")
        loaded: Generator = generator_class.load(checkpoint, catalog, models=models, device=device)
        return loaded
    made = make_generator(str(name), settings, models=models, device=device)
    if made.learns:
        raise SettingError(f"{name} has to be trained first: give --checkpoint, the folder it was saved to")
    made.fit(catalog, (), rng=Rng(0))
    return made


def trained_generator(
    name: str,
    catalog: Catalog,
    episodes: Sequence[Episode],
    *,
    ranker: Ranker | None = None,
    judge: Ranker | None = None,
    seed: int = 0,
    models: ModelFamily | str | Path = "embedded",
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
    tracker: Tracker | None = None,
) -> Generator:
    """One fitted on these episodes with this seed; loaded if it was trained before on the same everything.

    ``episodes`` are `training_episodes`: nothing that pictures are judged on belongs among them. A
    generator that ``uses_ranker`` learns from ``ranker``, watched by ``judge`` if there is one; others do
    not see them. A setting ``encoder`` that is not given is what made the catalogue's features of
    pictures. A killed training goes on where it was. Inside `training_together` all processes train it,
    and that of the first is kept. Raises SettingError where a ranker is wanted and none is given.
    """
    made = make_generator(name, settings, models=models, device=device)
    spec = catalog.encoders.get("image")
    if spec and "encoder" not in (settings or {}) and hasattr(made.config, "encoder"):
        made = make_generator(name, {**(settings or {}), "encoder": spec}, models=models, device=device)
    how: dict[str, Any] = {"ranker": ranker, "judge": judge} if _uses_ranker(made) else {}
    if how and ranker is None:
        raise SettingError(f"{name} learns from what a ranker says of its pictures: give one (--ranker)")
    how = {key: given for key, given in how.items() if given is not None}
    if not made.learns:
        made.fit(catalog, (), rng=Rng(seed), **how)
        return made
    folder = kept_generator(made, catalog, episodes, seed=seed, **how)
    team = Team()
    if team.agreed((folder / "config.json").exists):
        say(f"{name}, seed {seed}: found in {folder}")
        loaded: Generator = type(made).load(folder, catalog, models=models, device=device)
        return loaded
    work, record = folder.parent / f"{folder.name}.work", Recorder(tracker)
    listening = cast("Tracker", record)
    made.fit(catalog, episodes, rng=Rng(seed), work=work, tracker=listening, **how)
    if team.leads:
        with atomic(folder) as temporary:
            made.save(temporary)
            record.write(temporary)
        shutil.rmtree(work, ignore_errors=True)
    return made


def kept_generator(
    made: Generator,
    catalog: Catalog,
    episodes: Sequence[Episode],
    *,
    ranker: Ranker | None = None,
    judge: Ranker | None = None,
    seed: int = 0,
) -> Path:
    """Where `trained_generator` keeps what it trains as ``made``; named by all that training depends on.

    Features of the catalogue and, for a generator that does not use them, rankers make no difference.
    """
    roles, family = getattr(made, "roles", ()), getattr(made, "family", None)
    models = family.fingerprint(*roles) if family is not None and roles else None
    data = replace(catalog, features={}).fingerprint, tuple(episodes)
    rankers = (ranker, judge) if _uses_ranker(made) else ()
    judges = [None if r is None else r.fingerprint for r in rankers]
    key = fingerprint(__version__, TRAINING, made.name, asdict(made.config), models, data, judges, seed)
    return cache_dir() / "generators" / key


def _uses_ranker(made: Generator) -> bool:
    return bool(getattr(made, "uses_ranker", False))


def check_choice(name: str | None, checkpoint: str | Path | None, settings: Mapping[str, Any] | None) -> None:
    """SettingError unless name, checkpoint and settings can stand together; reads no data."""
    if checkpoint is None:
        if name is None:
            raise SettingError(f"give --gen or --checkpoint. Generators: {', '.join(GENERATORS)}")
        resolve(name, GENERATORS, "generator")
    else:
        generator_name(checkpoint)
        if settings:
            raise SettingError("a checkpoint has its own settings: leave out --settings or --checkpoint")


def chosen_episodes(dataset: Dataset, count: int = 0) -> tuple[tuple[Episode, ...], int]:
    """``count`` test episodes (0: all) in their order, and how many were left out for want of a picture.

    Where the catalogue has pictures, an episode whose reference has none is left out for every
    generator: there is nothing to compare with. The ``count`` are spread at random and do not depend on
    any seed; a larger count has those of a smaller one among them.
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
