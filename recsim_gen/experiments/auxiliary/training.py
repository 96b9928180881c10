"""Retrains the ranker for every variant, and evaluates each user's list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsim_gen.artifacts.trained_rankers import train_missing, trained_ranker
from recsim_gen.core.processes import this_process
from recsim_gen.experiments.auxiliary.conditions import Conditions
from recsim_gen.experiments.auxiliary.features import ORIGINAL, NewFeatures, replacements
from recsim_gen.metrics.evaluation import evaluate

if TYPE_CHECKING:
    from recsim_gen.core.protocols import OnEpoch, Ranker
    from recsim_gen.core.specs import RankerSpec
    from recsim_gen.core.types import Catalog, Interactions

METRICS = ("recall@10", "ndcg@10", "recall@20", "ndcg@20")
GROUPS = ("", "_cold", "_warm")
"""Suffixes of metrics: over all test items, over those rare in training, over the others."""


@dataclass(frozen=True)
class Case:
    """One row of the table; the original has no policy and fraction 0."""

    variant: str
    leakage: str = ""
    fraction: float = 0.0

    @property
    def prefix(self) -> str:
        """Prefix of its training curves in the variant's run."""
        return f"{self.leakage}/{self.fraction:g}/" if self.leakage else ""


Drawn = tuple[Conditions, Mapping[str, NewFeatures]]
"""A policy's conditions, and the features of each generator's images for them."""


def cases(
    catalog: Catalog, policies: Sequence[Drawn], fractions: Sequence[float], seed: int
) -> dict[Case, Catalog]:
    """Return the original catalogue, then that of every variant at every fraction under every policy."""
    catalogs = {Case(ORIGINAL): catalog}
    for chosen, drawn in policies:
        for fraction in fractions:
            variants = replacements(catalog, chosen, drawn, fraction=fraction, seed=seed)
            catalogs |= {Case(name, chosen.leakage, fraction): c for name, c in variants.items()}
    return catalogs


def retrained(
    spec: RankerSpec | str,
    catalogs: Mapping[Case, Catalog],
    interactions: Interactions,
    *,
    seed: int,
    device: str = "cpu",
    on_epoch: Callable[[Case], OnEpoch] | None = None,
) -> Iterator[tuple[Case, Ranker]]:
    """Yield the ranker of every case, trained with this seed or loaded; other processes yield nothing.

    Equal seeds give equal initial weights and equal negatives whatever the features, so two cases differ only
    by the images. Several processes train a share each and the main one gets all; a single process trains
    several in parallel if that is worthwhile.
    """
    process, names = this_process(), [*catalogs]

    def ranker(case: Case) -> Ranker:
        curve = None if on_epoch is None else on_epoch(case)
        return trained_ranker(spec, catalogs[case], interactions, seed=seed, device=device, on_epoch=curve)

    if process.num_processes > 1:
        for case in names[process.process_index :: process.num_processes]:
            ranker(case)
        process.wait_for_everyone()
    else:
        jobs = [(catalog, seed) for catalog in catalogs.values()]
        train_missing(spec, jobs, interactions, device=device)
    if process.is_main_process:
        for case in names:
            yield case, ranker(case)


def by_popularity(interactions: Interactions, cold: int) -> dict[str, Interactions]:
    """Return the interactions with all test rows, with those of cold items, and with those of warm items.

    Keys are the suffixes of `GROUPS`. Cold: at most ``cold`` training choices. A group without test rows is
    left out.
    """
    times = np.bincount(interactions.only("train")[1], minlength=interactions.n_items)[interactions.item]
    test = interactions.split == "test"
    chosen = {"": test, "_cold": test & (times <= cold), "_warm": test & (times > cold)}
    columns = ("user", "item", "time", "weight", "split")
    groups = {}
    for group, rows in chosen.items():
        if rows.any():
            keep = ~test | rows
            groups[group] = replace(interactions, **{c: getattr(interactions, c)[keep] for c in columns})
    return groups


def measured(case: Case, ranker: Ranker, groups: Mapping[str, Interactions], seed: int) -> pd.DataFrame:
    """Return the metrics of each user's list, one row per user.

    Columns ``user``, each of `METRICS` with the suffix of each group (NaN if a user is not in it), ``seed``,
    ``variant``, ``leakage`` and ``fraction``.
    """
    table = pd.DataFrame()
    for group, interactions in groups.items():
        numbers = evaluate(ranker, interactions).set_index("user")[[*METRICS]].add_suffix(group)
        table = numbers if table.empty else table.join(numbers)
    return table.reset_index().assign(
        seed=seed, variant=case.variant, leakage=case.leakage, fraction=case.fraction
    )
