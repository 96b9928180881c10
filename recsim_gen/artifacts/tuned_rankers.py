"""Settings of a ranker by validation: its own, and others drawn from what its config says can be searched.

Every ranker is given as many trials as every other, or a comparison tells who was tuned. Trained rankers are
kept by their settings, so that no trial is run twice.
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
"""On the validation split; less coarse than Recall, which one place more or less does not move."""


@dataclass(frozen=True)
class Trial:
    """One try: ``number`` 0 is the ranker as it was given, ``drawn`` the settings over it."""

    number: int
    spec: RankerSpec
    drawn: Mapping[str, Any] = field(default_factory=dict)
    valid: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        drawn = ", ".join(f"{name} {value}" for name, value in self.drawn.items()) or "as given"
        return f"trial {self.number}: {drawn}"

    @property
    def settings(self) -> str:
        """What was drawn, as JSON."""
        return json.dumps(dict(self.drawn))


def space_of(spec: RankerSpec) -> dict[str, Any]:
    """Return what is searched of a ranker: the ``search_space`` of its config, {setting: its domain}.

    A domain has ``draw``, and ``distribution`` and ``written`` for Optuna (`rankers.search`). A setting that
    ``spec`` gives stays as it is given.
    """
    space: Mapping[str, Any] = getattr(type(make_ranker(spec).config), "search_space", {})
    return {name: domain for name, domain in space.items() if name not in spec.settings}


def trials_of(spec: RankerSpec, n: int, rng: Rng) -> list[Trial]:
    """Return ``n`` trials at most: the ranker as given, then settings drawn at random.

    Trial k is the same for any ``n`` above it. One trial alone where there is nothing to draw.
    Raises SettingError for ``n`` below 1.
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
    """Return the trials with how well each ranks the validation split, which the test split is not asked for.

    Raises DataError without a validation split.
    """
    from recsim_gen.metrics.evaluation import evaluate

    if not len(interactions.only("valid")[0]):
        raise DataError("a search needs a validation split, got none", remedy="Split the data with one")
    done = []
    for trial in trials:
        told = on_epoch(trial) if on_epoch else None
        ranker = trained_ranker(trial.spec, catalog, interactions, seed=seed, device=device, on_epoch=told)
        table = evaluate(ranker, interactions, split="valid", masked=("train",), ks=(20,))
        means = table.drop(columns="user").mean()
        done.append(replace(trial, valid={str(name): float(value) for name, value in means.items()}))
    return done


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial of the highest validation NDCG@20, the first of equals."""
    return max(trials, key=lambda trial: trial.valid[CHOSEN_BY])
