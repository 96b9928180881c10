"""Table of the judges' answers to each triple under each variant, and its means as results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Scope
from recsim_gen.judging.queries import Triples, ask
from recsim_gen.judging.variants import Variant
from recsim_gen.metrics.delta_rank import METRICS, per_sample, summarise

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Dataset
    from recsim_gen.judging.judges import Judge

NUMBERS = (*METRICS, "original_rank", "rank", "delta_score", "touched", "gap")


def collect(
    judges: Sequence[Judge],
    triples: Triples,
    variants: Mapping[str, list[Variant]],
    scope: Scope,
    dataset: Dataset,
) -> pd.DataFrame:
    """Return one row per judge, variant and triple, averaged over the variant's draws.

    Columns: ``judge`` (name), ``seed``, ``label``, ``variant``, ``triple`` (position), ``user`` and ``item``
    (ids), ``person`` (whose sequence the user is) and ``NUMBERS``.
    """
    ids, people = dataset.interactions.user_ids, dataset.people[triples.users]
    frames = []
    for judge in judges:
        for variant, draws in variants.items():
            what = f"{judge.label}: {variant}"
            tables = [per_sample(ask(judge.ranker, t, scope=scope, what=what)) for _, t in draws]
            at = draws[0][0]
            mean = np.mean([t[[*NUMBERS]].to_numpy(float) for t in tables], axis=0)
            of_judge = {"judge": judge.name, "seed": judge.seed, "label": judge.label}
            of_triple = {"user": ids[triples.users[at]], "item": dataset.catalog.item_ids[triples.items[at]]}
            frame = pd.DataFrame(
                {**of_judge, "variant": variant, "triple": at, **of_triple, "person": people[at]}
            )
            frames.append(frame.join(pd.DataFrame(mean, columns=[*NUMBERS])))
    return pd.concat(frames, ignore_index=True)


def over_seeds(samples: pd.DataFrame) -> pd.DataFrame:
    """Average over the seeds of each judge: one row per judge, variant and triple."""
    keys = ["judge", "variant", "triple", "user", "item", "person"]
    return samples.groupby(keys, sort=False)[[*NUMBERS]].mean().reset_index()


def add_rows(samples: pd.DataFrame, scope: Scope, results: Results) -> None:
    """Add means with intervals per judge and variant: of each seed, and of all (``seed`` null).

    If a judge has several seeds, the overall interval resamples both the seeds and the people.
    """
    of_seeds = samples[samples["seed"].notna()]
    for _, part in of_seeds.groupby(["judge", "seed", "variant"], sort=False):
        _add(part, scope, results, seed=int(part["seed"].iloc[0]))
    for _, part in samples.groupby(["judge", "variant"], sort=False):
        _add(part, scope, results)


def _add(part: pd.DataFrame, scope: Scope, results: Results, *, seed: int | None = None) -> None:
    """Add the rows of one judge and variant."""
    judge, variant = (str(part[name].iloc[0]) for name in ("judge", "variant"))
    people, label = part["person"].to_numpy(), part["label"].to_numpy()
    for metric, e in summarise(part, people, Rng(0), trainings=label).items():
        results.row(
            variant=variant,
            metric=metric,
            seed=seed,
            value=e.value,
            low=e.low,
            high=e.high,
            n=e.n,
            judge=judge,
            scope=scope,
        )
