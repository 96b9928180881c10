"""Experiments from Python: the commands' options as arguments, their results as what is returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from recsim_gen.core.errors import SettingError
from recsim_gen.core.options import ExperimentOptions
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.results import Results
from recsim_gen.core.specs import JudgeSpec, RankerSpec
from recsim_gen.core.table import table

if TYPE_CHECKING:
    from recsim_gen.api.data import Data

__all__ = ["Results", "evaluate", "simulate", "table"]

Options = TypeVar("Options", bound=ExperimentOptions)


def evaluate(
    data: Data,
    generators: Sequence[str],
    *,
    metrics: Sequence[str] = ("judged",),
    judges: Sequence[str] = ("micro-seed0", "taste@boutique-clip-seed0", "vbpr-seed0"),
    baseline: str = "original",
    episodes: int = 300,
    seeds: Sequence[int] = (0,),
    output: str | Path = "runs/evaluate",
    **options: Any,
) -> Results:
    """Set generators side by side by every metric, tested against a baseline, tracked in MLflow.

    Parameters
    ----------
    data
        What `load_data` gave.
    generators
        Lines of the table: NAME, or LABEL=NAME:SETTING=VALUE,… for one with settings.
    metrics
        Presets and metrics: judged, table2, paper, delta_r, cps[boutique-clip], …
    judges
        Rankers to train here, NAME-seedN or NAME@ENCODER-seedN, or folders; those that give no reward are
        held out.
    baseline
        The line that the others are compared with, paired by episode.
    episodes
        Test episodes, spread at random and the same for all; 0 is all.
    seeds
        Of training and of the noise.
    output
        Folder for results.json, tables and figures.
    options
        More of the command's, by their names in Python (``reward``, ``retrain``, ``images``, …).

    Returns what the command writes as results.json. Raises SettingError for what is unknown or does not fit.
    """
    from recsim_gen.evaluate import Options, main

    chosen = {"gen": tuple(generators), "metrics": tuple(metrics), "baseline": baseline, "episodes": episodes}
    chosen |= {"judges": tuple(map(JudgeSpec, judges)), "seeds": tuple(seeds), "output": Path(output)}
    return main(_options(Options, data, {**chosen, **options}))


def simulate(
    data: Data,
    arms: Sequence[str],
    *,
    ranker: str = "taste",
    rounds: int = 5,
    people: int = 0,
    meaning: Sequence[str] = ("packaging", "product"),
    seeds: Sequence[int] = (0, 1, 2),
    output: str | Path = "runs/simulate",
    **options: Any,
) -> Results:
    """Let simulated people choose by the pictures of each arm, round by round: what an A/B test would say.

    Parameters
    ----------
    data
        What `load_data` gave: a shop whose tastes are known, or any with a ``world``.
    arms
        Generators, shuffled, aa; ``original`` is always there.
    ranker
        What makes the lists and learns after each round.
    rounds
        How often everybody visits.
    people
        How many visit, at random; 0 is everybody.
    meaning
        packaging: the choice follows the picture, satisfaction the item; product: what is seen is delivered.
    seeds
        Of chance and of the rankers' training.
    output
        Folder for results.json, tables and figures.
    options
        More of the command's, by their names in Python (``length``, ``explore``, ``world``, …).

    Returns what the command writes as results.json. Raises SettingError for what is unknown or does not fit.
    """
    from recsim_gen.simulate import Options, main

    chosen = {"arms": tuple(arms), "ranker": RankerSpec(ranker), "rounds": rounds, "people": people}
    chosen |= {"meaning": tuple(meaning), "seeds": tuple(seeds), "output": Path(output)}
    return main(_options(Options, data, {**chosen, **options}))


def _options(kind: type[Options], data: Data, chosen: dict[str, Any]) -> Options:
    """The command's options, checked as the command line checks them."""
    from recsim_gen.core.preflight import preflight

    known = {field.name for field in fields(kind)}
    for name in chosen:
        if name not in known:
            raise SettingError(f"unknown option {name!r}.{did_you_mean(name, sorted(known))}")
    options = kind(data=data.spec, encoders=dict(data.catalog.encoders), device=data.device, **chosen)
    preflight(options)
    return options
