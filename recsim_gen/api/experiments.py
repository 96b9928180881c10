"""Experiments from Python: arguments are the options of the command, the return value is its results."""

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
    """Compare generators by each metric, test them against a baseline and track the run in MLflow.

    Parameters
    ----------
    data
        Data set from `load_data`.
    generators
        Rows of the table: NAME, or LABEL=NAME:SETTING=VALUE,… for a generator with settings.
    metrics
        Metrics and presets of metrics: judged, table2, paper, delta_r, cps[boutique-clip], …
    judges
        Rankers to train here, NAME-seedN or NAME@ENCODER-seedN, or folders of trained ones. A judge that
        gives no reward is held out.
    baseline
        Row that the other rows are compared with, paired by episode.
    episodes
        Number of test episodes, a random sample that is the same for all generators; 0 takes all.
    seeds
        Seeds of the training and of the noise.
    output
        Folder for results.json, tables and figures.
    options
        Other options of the command by their Python names (``reward``, ``retrain``, ``images``, …).

    Returns
    -------
    Results
        What the command writes as results.json.

    Raises
    ------
    SettingError
        If a name is unknown or options contradict each other.
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
    """Simulate an A/B test: people choose by the images of each arm, round by round.

    Parameters
    ----------
    data
        Data set from `load_data`: a shop with known tastes, or any data set with the option ``world``.
    arms
        Generators, ``shuffled`` or ``aa``; the arm ``original`` is always included.
    ranker
        Ranker that makes the lists and is retrained after each round.
    rounds
        Number of visits of each person.
    people
        Number of people, sampled at random; 0 takes all.
    meaning
        packaging: people choose by the image, satisfaction depends on the item; product: people get what the
        image shows.
    seeds
        Seeds of the simulation and of the training of the rankers.
    output
        Folder for results.json, tables and figures.
    options
        Other options of the command by their Python names (``length``, ``explore``, ``world``, …).

    Returns
    -------
    Results
        What the command writes as results.json.

    Raises
    ------
    SettingError
        If a name is unknown or options contradict each other.
    """
    from recsim_gen.simulate import Options, main

    chosen = {"arms": tuple(arms), "ranker": RankerSpec(ranker), "rounds": rounds, "people": people}
    chosen |= {"meaning": tuple(meaning), "seeds": tuple(seeds), "output": Path(output)}
    return main(_options(Options, data, {**chosen, **options}))


def _options(kind: type[Options], data: Data, chosen: dict[str, Any]) -> Options:
    """Return the options of a command, checked as on the command line."""
    from recsim_gen.core.command_line.preflight import preflight

    known = {field.name for field in fields(kind)}
    for name in chosen:
        if name not in known:
            raise SettingError(f"unknown option {name!r}.{did_you_mean(name, sorted(known))}")
    options = kind(data=data.spec, encoders=dict(data.catalog.encoders), device=data.device, **chosen)
    preflight(options)
    return options
