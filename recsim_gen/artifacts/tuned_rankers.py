"""Random search of a ranker's settings on the validation split, within the search space of its config.

Give all rankers the same number of trials; otherwise a comparison measures the tuning. Trained rankers are
cached by their settings, so no trial runs twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from recsim_gen.artifacts.trained_rankers import make_ranker, trained_ranker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng

if TYPE_CHECKING:
    from recsim_gen.core.protocols import OnEpoch
    from recsim_gen.core.specs import RankerSpec
    from recsim_gen.core.types import Catalog, Interactions

CHOSEN_BY = "ndcg@20"
"""Criterion on the validation split; finer than Recall, which ignores the rank within the list."""


@dataclass(frozen=True)
class Trial:
    """One trial: ``number`` 0 is the ranker as given, ``drawn`` the settings that override it."""

    number: int
    spec: RankerSpec
    drawn: Mapping[str, Any] = field(default_factory=dict)
    valid: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        drawn = ", ".join(f"{name} {value}" for name, value in self.drawn.items()) or "as given"
        return f"trial {self.number}: {drawn}"

    @property
    def settings(self) -> str:
        """The drawn settings, as JSON."""
        return json.dumps(dict(self.drawn))


def space_of(spec: RankerSpec) -> dict[str, Any]:
    """Return the search space of a ranker's config, {setting: domain}.

    A domain has ``draw``, and ``distribution`` and ``written`` for Optuna (`rankers.search`). Settings given
    in ``spec`` are fixed.
    """
    space: Mapping[str, Any] = getattr(type(make_ranker(spec).config), "search_space", {})
    return {name: domain for name, domain in space.items() if name not in spec.settings}


def trials_of(spec: RankerSpec, n: int, rng: Rng) -> list[Trial]:
    """Return up to ``n`` trials: the ranker as given, then randomly drawn settings.

    Trial k does not depend on ``n``. Only one trial if there is nothing to draw. Raises SettingError for
    ``n`` below 1.
    """
    if n < 1:
        raise SettingError(f"a search needs 1 trial or more, got {n}")
    open_to = space_of(spec)
    trials = [Trial(0, spec)]
    for number in range(1, n if open_to else 1):
        draw = rng.for_("trial", spec.name, number).numpy()
        drawn = {name: domain.draw(draw) for name, domain in open_to.items()}
        trials.append(Trial(number, replace(spec, settings={**spec.settings, **drawn}), drawn))
    return trials


def run_trials(
    trials: Sequence[Trial],
    catalog: Catalog,
    interactions: Interactions,
    *,
    seed: int,
    device: str = "cpu",
    on_epoch: Callable[[Trial], OnEpoch] | None = None,
) -> list[Trial]:
    """Train the trials and return them with their validation metrics; the test split is not read.

    Raises DataError if there is no validation split.
    """
    from recsim_gen.metrics.evaluation import evaluate

    if not len(interactions.only("valid")[0]):
        raise DataError("a search needs a validation split, got none", remedy="Split the data with one")
    done = []
    for trial in trials:
        callback = on_epoch(trial) if on_epoch else None
        ranker = trained_ranker(
            trial.spec, catalog, interactions, seed=seed, device=device, on_epoch=callback
        )
        table = evaluate(ranker, interactions, split="valid", masked=("train",), ks=(20,))
        means = table.drop(columns="user").mean()
        done.append(replace(trial, valid={str(name): float(value) for name, value in means.items()}))
    return done


def best_of(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the highest validation NDCG@20, the first one if tied."""
    return max(trials, key=lambda trial: trial.valid[CHOSEN_BY])
