"""Settings of a ranker searched by Optuna on the validation split, in a study that outlives the process.

Which settings, and within which bounds, says `tuned_rankers.space_of`, as for a search at random.
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
"""Of the study, in the output folder."""

STORES = ("sqlite", "postgresql", "mysql")
"""Kinds of databases that Optuna keeps studies in."""


def store_of(storage: str | None, output: Path) -> str:
    """Return the database of a study: ``storage``, else a file in ``output``.

    Raises SettingError for an address of another kind.
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
    """Return ``trials`` trials, those of ``store`` on the same ranker, data and seed among them.

    Trial 0 is the ranker as given; each other is proposed by a tree-structured Parzen estimator (Bergstra et
    al. 2011) from the trials before it and the seed alone, so that a search that was killed goes on as if it
    had not been. Every trial is trained with ``seed`` and measured on the validation split, which it may
    stop by; the test split is not asked for. ``on_epoch`` gives each trial its own.

    Raises SettingError where there is nothing to search, DataError without a validation split.
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
    """Raise SettingError where there is nothing to search of a ranker."""
    if not space_of(spec):
        given = f" beside {', '.join(spec.settings)}" if spec.settings else ""
        raise SettingError(f"{spec} has nothing to search{given}: its config names no search_space")


def _study(
    spec: RankerSpec, catalog: Catalog, interactions: Interactions, store: str, seed: int
) -> optuna.Study:
    """The study of this ranker on this everything: another has another name, also in the same store."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if (file := sqlite_file(store)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    key = kept_ranker(spec, catalog, interactions, seed=seed).name
    name = f"{spec} {fingerprint(key, repr(space_of(spec)))[:16]}"
    try:
        return optuna.create_study(storage=store, study_name=name, direction="maximize", load_if_exists=True)
    except Exception as error:  # of Optuna, SQLAlchemy and the database's driver
        text = " ".join(str(error).partition("[SQL:")[0].split())[:300]
        raise SettingError(f"the database of the search, {store}, cannot be opened: {text}") from error


def _kept(study: optuna.Study) -> list[tuple[dict[str, Any], dict[str, float]]]:
    """What was drawn and came out in each trial that ended; one whose process was killed is none."""
    from optuna.trial import TrialState

    kept = [trial.user_attrs for trial in study.get_trials(states=(TrialState.COMPLETE,))]
    return [(json.loads(of["drawn"]), json.loads(of["valid"])) for of in kept]


def _trial(
    spec: RankerSpec, number: int, drawn: Mapping[str, Any], valid: Mapping[str, float] | None = None
) -> Trial:
    return Trial(number, replace(spec, settings={**spec.settings, **drawn}), drawn, valid or {})


def _proposed(done: Sequence[Trial], space: Mapping[str, Any], rng: Rng) -> dict[str, Any]:
    """Settings from what came of these trials and ``rng`` alone, whatever else the store holds."""
    import optuna

    sampler = optuna.samplers.TPESampler(seed=int(rng.numpy().integers(2**31)))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_ended(trial, space) for trial in done])
    params = study.ask({name: domain.distribution() for name, domain in space.items()}).params
    return {name: domain.written(params[name]) for name, domain in space.items()}


def _ended(trial: Trial, space: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
    """What came of a trial, as Optuna keeps it; with its settings where the space holds them."""
    from optuna.trial import create_trial

    value = trial.valid[CHOSEN_BY]
    kept = {"drawn": trial.settings, "valid": json.dumps(dict(trial.valid))}
    bounds = {name: domain.distribution() for name, domain in space.items()}
    try:
        return create_trial(params=dict(trial.drawn), distributions=bounds, value=value, user_attrs=kept)
    except ValueError:  # a recipe's value that lies outside
        return create_trial(value=value, user_attrs=kept)


def _values(spec: RankerSpec, space: Mapping[str, Any]) -> dict[str, Any]:
    """What the ranker as given has where it is searched."""
    config = make_ranker(spec).config
    return {name: getattr(config, name) for name in space}
