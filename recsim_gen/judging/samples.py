"""What each judge says of each triple under each variant, as a table, and its means as results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Scope
from recsim_gen.judging.queries import Triples, ask
from recsim_gen.judging.variants import Variant
from recsim_gen.metrics.delta_rank import METRICS, per_sample, summarise

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Dataset

NUMBERS = (*METRICS, "original_rank", "rank", "delta_score", "touched", "gap")


def label_of(name: str) -> tuple[str, int | None]:
    """``micro-seed1`` is seed 1 of the judge ``micro``; a name without seed is a judge by itself."""
    found = re.fullmatch(r"(.+)-seed(\d+)", name)
    return (found[1], int(found[2])) if found else (name, None)


def collect(
    rankers: Mapping[str, Ranker],
    asked: Triples,
    variants: Mapping[str, list[Variant]],
    scope: Scope,
    dataset: Dataset,
) -> pd.DataFrame:
    """One row per ranker, variant and triple, averaged over the variant's draws.

    Columns ``judge``, ``seed``, ``name``, ``variant``, ``triple`` (position), ``user`` and ``item``
    (ids), ``person`` (source user) and ``NUMBERS``.
    """
    person = {e.user: e.source_user for e in dataset.episodes}
    ids = dataset.interactions.user_ids
    people = np.array([person.get(u, ids[u]) for u in asked.users.tolist()])
    frames = []
    for name, ranker in rankers.items():
        label, seed = label_of(name)
        for variant, draws in variants.items():
            tables = [per_sample(ask(ranker, t, scope=scope, what=f"{name}: {variant}")) for _, t in draws]
            at = draws[0][0]
            mean = np.mean([t[[*NUMBERS]].to_numpy(float) for t in tables], axis=0)
            head = {"judge": label, "seed": seed, "name": name, "variant": variant, "triple": at}
            who = {"user": ids[asked.users[at]], "item": dataset.catalog.item_ids[asked.items[at]]}
            frame = pd.DataFrame({**head, **who, "person": people[at]})
            frames.append(frame.join(pd.DataFrame(mean, columns=[*NUMBERS])))
    return pd.concat(frames, ignore_index=True)


def over_seeds(samples: pd.DataFrame) -> pd.DataFrame:
    """Averaged over the seeds of each judge: one row per judge, variant and triple."""
    keys = ["judge", "variant", "triple", "user", "item", "person"]
    return samples.groupby(keys, sort=False)[[*NUMBERS]].mean().reset_index()


def add_rows(samples: pd.DataFrame, scope: Scope, results: Results) -> None:
    """Means with intervals per judge and variant: of each seed, and of all (``seed`` null)."""
    several = samples[samples["seed"].notna()]
    for (name, variant), part in several.groupby(["name", "variant"], sort=False):
        label, seed = label_of(str(name))
        _add(part, results, seed=seed, judge=label, variant=variant, scope=scope)
    for (judge, variant), part in over_seeds(samples).groupby(["judge", "variant"], sort=False):
        _add(part, results, seed=None, judge=judge, variant=variant, scope=scope)


def _add(part: pd.DataFrame, results: Results, **keys: Any) -> None:
    for metric, e in summarise(part, part["person"].to_numpy(), Rng(0)).items():
        results.row(metric=metric, value=e.value, low=e.low, high=e.high, n=e.n, **keys)
