"""Hyper-parameter search of a ranker by Optuna on the validation split, in a persistent study.

`tuned_rankers.space_of` gives the settings and their ranges, as for a random search.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.artifacts.trained_rankers import kept_ranker, make_ranker
from recsim_gen.artifacts.tuned_rankers import CHOSEN_BY, Trial, best_of, run_trials, space_of
from recsim_gen.core.errors import SettingError
from recsim_gen.core.progress import say
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.store import fingerprint
from recsim_gen.core.tracking_names import sqlite_file, sqlite_uri

if TYPE_CHECKING:
    import optuna

    from recsim_gen.core.protocols import OnEpoch
    from recsim_gen.core.specs import RankerSpec
    from recsim_gen.core.types import Catalog, Interactions

FILE = "search.db"
"""File of the study in the output folder."""

STORES = ("sqlite", "postgresql", "mysql")
"""Kinds of databases that Optuna supports."""


def store_of(storage: str | None, output: Path) -> str:
    """Return the address of the study's database: ``storage``, or else a file in ``output``.

    Raises SettingError for an unsupported address.
    """
    if storage is None:
        return sqlite_uri(output.resolve() / FILE)
    kind, colon, _ = storage.partition("://")
    if not colon or kind.partition("+")[0] not in STORES:
        near = did_you_mean(kind, STORES)
        raise SettingError(
            f"--storage must be a database, sqlite:///FILE or a server's, got {storage!r}.{near}"
        )
    return storage


def search(
    spec: RankerSpec,
    catalog: Catalog,
    interactions: Interactions,
    *,
    trials: int,
    store: str,
    seed: int,
    device: str = "cpu",
    on_epoch: Callable[[Trial], OnEpoch] | None = None,
) -> list[Trial]:
    """Run a search and return its trials.

    Trial 0 is the ranker as given; each other trial is proposed by a tree-structured Parzen estimator
    (Bergstra et al. 2011) from the earlier trials and the seed only, so a resumed search gives the same
    trials as an uninterrupted one. Each trial is trained with ``seed`` and measured on the validation split,
    which is also used for early stopping; the test split is never read.

    Parameters
    ----------
    spec
        The ranker; settings given here are not searched.
    catalog, interactions
        The data.
    trials
        Number of trials, including those already in ``store`` for the same ranker, data and seed.
    store
        Address of the database.
    seed
        Seed of the training and of the search.
    device
        Device to train on.
    on_epoch
        Returns the callback of each trial.

    Returns
    -------
    list of Trial
        The trials in order.

    Raises
    ------
    SettingError
        If the ranker has nothing to search.
    DataError
        If there is no validation split.
    """
    check_space(spec)
    space = space_of(spec)
    study = _study(spec, catalog, interactions, store, seed)
    done = [_trial(spec, k, *kept) for k, kept in enumerate(_kept(study))]
    while len(done) < trials:
        number = len(done)
        stream = Rng(seed).for_("search", spec.name, number)
        trial = _trial(spec, number, _proposed(done, space, stream) if number else _values(spec, space))
        (trial,) = run_trials([trial], catalog, interactions, seed=seed, device=device, on_epoch=on_epoch)
        study.add_trial(_ended(trial, space))
        done.append(trial)
        best = best_of(done)
        say(f"{trial}: {CHOSEN_BY} {trial.valid[CHOSEN_BY]:.4f}; best {best.valid[CHOSEN_BY]:.4f}")
    return done


def check_space(spec: RankerSpec) -> None:
    """Raise SettingError if the ranker has nothing to search."""
    if not space_of(spec):
        given = f" beside {', '.join(spec.settings)}" if spec.settings else ""
        raise SettingError(f"{spec} has nothing to search{given}: its config names no search_space")


def _study(
    spec: RankerSpec, catalog: Catalog, interactions: Interactions, store: str, seed: int
) -> optuna.Study:
    """Open the study for this ranker, data and seed; other inputs have another name in the same store."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if (file := sqlite_file(store)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    key = kept_ranker(spec, catalog, interactions, seed=seed).name
    name = f"{spec} {fingerprint(key, repr(space_of(spec)))[:16]}"
    try:
        return optuna.create_study(storage=store, study_name=name, direction="maximize", load_if_exists=True)
    except Exception as error:  # errors of Optuna, SQLAlchemy or the database driver
        text = " ".join(str(error).partition("[SQL:")[0].split())[:300]
        raise SettingError(f"the database of the search, {store}, cannot be opened: {text}") from error


def _kept(study: optuna.Study) -> list[tuple[dict[str, Any], dict[str, float]]]:
    """Return (settings, validation metrics) of each finished trial, without trials of killed processes."""
    from optuna.trial import TrialState

    kept = [trial.user_attrs for trial in study.get_trials(states=(TrialState.COMPLETE,))]
    return [(json.loads(of["drawn"]), json.loads(of["valid"])) for of in kept]


def _trial(
    spec: RankerSpec, number: int, drawn: Mapping[str, Any], valid: Mapping[str, float] | None = None
) -> Trial:
    return Trial(number, replace(spec, settings={**spec.settings, **drawn}), drawn, valid or {})


def _proposed(done: Sequence[Trial], space: Mapping[str, Any], rng: Rng) -> dict[str, Any]:
    """Propose settings, depending on these trials and ``rng`` only, not on other content of the store."""
    import optuna

    sampler = optuna.samplers.TPESampler(seed=int(rng.numpy().integers(2**31)))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_ended(trial, space) for trial in done])
    params = study.ask({name: domain.distribution() for name, domain in space.items()}).params
    return {name: domain.written(params[name]) for name, domain in space.items()}


def _ended(trial: Trial, space: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
    """Return a finished trial in Optuna's form, with those of its settings that are in the search space."""
    from optuna.trial import create_trial

    value = trial.valid[CHOSEN_BY]
    kept = {"drawn": trial.settings, "valid": json.dumps(dict(trial.valid))}
    bounds = {name: domain.distribution() for name, domain in space.items()}
    try:
        return create_trial(params=dict(trial.drawn), distributions=bounds, value=value, user_attrs=kept)
    except ValueError:  # the recipe's value is outside the range
        return create_trial(value=value, user_attrs=kept)


def _values(spec: RankerSpec, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the ranker as given has for the searched settings."""
    config = make_ranker(spec).config
    return {name: getattr(config, name) for name in space}
