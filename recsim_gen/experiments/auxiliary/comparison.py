"""Do generated images make a better recommender? Means, paired differences and verdicts.

A *case* is a variant at a fraction under a policy (`training.Case`). Its numbers are per user and seed, and
are compared with those of the same user and seed under the original catalogue; intervals resample people (not
users) and seeds. All is repeated for cold items only (``recall@10_cold``) and for warm ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.statistics import Estimate, bootstrap_columns, holm
from recsim_gen.core.table import WARNINGS
from recsim_gen.experiments.auxiliary.features import ORIGINAL, is_control
from recsim_gen.experiments.auxiliary.training import GROUPS, METRICS, Case

LEVEL = 0.05
KEYS = ["variant", "leakage", "fraction"]


@dataclass(frozen=True)
class Number:
    """``metric`` is a metric or ``<metric>_minus_<other>``; ``p_holm`` for differences to the original."""

    case: Case
    metric: str
    estimate: Estimate
    p_holm: float | None = None


def numbers(values: pd.DataFrame, person: np.ndarray, rng: Rng) -> list[Number]:
    """Return means of every case, differences to the original, and of the leaky policy to the strict one.

    ``values`` has ``user`` (rows of ``person`` (n_users,)), ``variant``, ``leakage``, ``fraction``, ``seed``,
    and the metrics. Holm's correction is over all differences to the original in the four metrics of a group
    of items.
    """
    wide = pd.DataFrame(values.set_index(["seed", "user", *KEYS])[_metrics(values)].unstack(KEYS))
    every = [Case(*key) for key in values[KEYS].drop_duplicates().itertuples(index=False)]
    estimated = []
    for group in GROUPS:
        metrics = [m + group for m in METRICS if m + group in wide.columns]
        if metrics:
            estimated += _of_group(wide[metrics].dropna(), every, metrics, person, rng)
    return estimated


def _of_group(
    wide: pd.DataFrame, every: Sequence[Case], metrics: Sequence[str], person: np.ndarray, rng: Rng
) -> list[Number]:
    """Return `numbers` for the metrics of one group of items; ``wide`` has one row per seed and user."""
    column = {(Case(*key[1:]), key[0]): wide[key].to_numpy() for key in wide.columns}
    original = Case(ORIGINAL)
    changed = [case for case in every if case != original]
    leaky = [(case, replace(case, leakage="strict")) for case in changed if case.leakage == "paper"]

    def minus(pairs: Sequence[tuple[Case, Case]], name: str) -> list[tuple[Case, str, np.ndarray]]:
        return [(a, f"{m}_minus_{name}", column[a, m] - column[b, m]) for a, b in pairs for m in metrics]

    plain = [(case, m, column[case, m]) for case in every for m in metrics]
    compared = minus([(case, original) for case in changed], ORIGINAL)
    leaks = minus([pair for pair in leaky if pair[1] in changed], "strict")
    cells = [*plain, *compared, *leaks]
    data = np.stack([x for *_, x in cells], axis=1)
    seed, user = (wide.index.get_level_values(name).to_numpy() for name in ("seed", "user"))
    estimates = bootstrap_columns(data, person[user], rng, trainings=seed)
    adjusted = holm([e.p for e in estimates[len(plain) : len(plain) + len(compared)]])
    p: list[float | None] = [*[None] * len(plain), *adjusted.tolist(), *[None] * len(leaks)]
    return [Number(case, name, e, q) for (case, name, _), e, q in zip(cells, estimates, p, strict=True)]


def _metrics(values: pd.DataFrame) -> list[str]:
    return [m + group for group in GROUPS for m in METRICS if m + group in values.columns]


def verdict(case: Case, estimated: Sequence[Number]) -> str:
    """Return ``helps``, ``hurts`` or ``undecided``: compared with the original images, over all test items.

    Helps: some of the four metrics rises, with Holm p < 0.05 and in every seed, and none falls significantly.
    Hurts: some falls and none rises. Undecided: anything else.
    """
    against = _against(case, estimated)
    signs = {n.estimate.decided(n.p_holm, LEVEL) for n in against if n.p_holm is not None} - {0}
    return {1: "helps", -1: "hurts"}[signs.pop()] if len(signs) == 1 else "undecided"


def _against(case: Case, estimated: Sequence[Number], other: str = ORIGINAL) -> list[Number]:
    differences = [f"{m}_minus_{other}" for m in METRICS]
    return [n for n in estimated if n.case == case and n.metric in differences]


def conclude(
    values: pd.DataFrame,
    person: np.ndarray,
    aggregate: str,
    results: Results,
    *,
    world: str = "own",
    original: str = ORIGINAL,
) -> None:
    """Add rows of each seed and over all, and a verdict on every variant, to ``results``.

    Every (policy, fraction) also repeats the rows of the original, so that it forms a table of its own.
    ``world`` says which images people chose by, and ``original`` is the name of the items' own images in the
    rows.
    """
    seeds = list(dict.fromkeys(values["seed"].tolist()))
    by_seed = {s: numbers(values[values["seed"] == s], person, Rng(0)) for s in seeds}
    whole = numbers(values, person, Rng(0)) if len(seeds) > 1 else by_seed[seeds[0]]
    for seed, estimated in {**by_seed, None: whole}.items():
        more = {"aggregate": aggregate, "world": world}
        _add_rows(estimated, seed, results, original, more)
    for case in dict.fromkeys(n.case for n in whole if n.case.variant != ORIGINAL):
        by_seeds = ", ".join(verdict(case, estimated) for estimated in by_seed.values())
        gains = _in_words(_against(case, whole))
        name = _name(case) if world == "own" else f"{_name(case)}, people chose by what was {world}"
        results.verdict(name, f"{verdict(case, whole)} (by seed: {by_seeds}): {gains} against {original}")
        leaks = _against(case, whole, "strict")
        if leaks and not is_control(case.variant):
            results.verdict(f"{name}, leakage", f"{_in_words(leaks)} against strict")


def _add_rows(
    estimated: Sequence[Number],
    seed: int | None,
    results: Results,
    original: str,
    more: Mapping[str, str],
) -> None:
    blocks = dict.fromkeys((n.case.leakage, n.case.fraction) for n in estimated if n.case.variant != ORIGINAL)
    for leakage, fraction in blocks:
        for n in estimated:
            if n.case.variant == ORIGINAL or (n.case.leakage, n.case.fraction) == (leakage, fraction):
                results.row(
                    variant=original if n.case.variant == ORIGINAL else n.case.variant,
                    metric=n.metric,
                    seed=seed,
                    value=n.estimate.value,
                    low=n.estimate.low,
                    high=n.estimate.high,
                    n=n.estimate.n,
                    p_holm=n.p_holm,
                    leakage=leakage,
                    fraction=fraction,
                    **more,
                )


def _name(case: Case) -> str:
    policy = WARNINGS["leakage"].get(case.leakage, case.leakage)
    return f"{case.variant} ({policy}, {case.fraction:.0%} of the chosen items)"


def _in_words(estimated: Sequence[Number]) -> str:
    """Return differences with intervals, p-values and the signs of the seeds in one line."""
    parts = []
    for n in estimated:
        p, e = "" if n.p_holm is None else f" p {n.p_holm:.2g}", n.estimate
        metric, seeds = n.metric.partition("_minus_")[0], f" ({e.signs})" if e.signs else ""
        parts.append(f"{metric} {e.value:+.4f} [{e.low:+.4f}, {e.high:+.4f}]{p}{seeds}")
    return "; ".join(parts)
