"""Results of a simulation: rows, differences to the original images, and a verdict on every arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsim_gen.core.results import Results
from recsim_gen.core.statistics import Estimate, holm
from recsim_gen.experiments.auxiliary.features import ORIGINAL
from recsim_gen.experiments.simulation.arms import AGAIN
from recsim_gen.experiments.simulation.intervals import jackknife
from recsim_gen.experiments.simulation.measures import (
    HIGHER_IS_BETTER,
    MEASURES,
    Meaning,
    groups_of,
    over_rounds,
    per_round,
)

if TYPE_CHECKING:
    from recsim_gen.experiments.simulation.rounds import History, Shop

Values = Mapping[str, np.ndarray]
"""(S, G + 1) values per measure: every seed; all people, and all without each group (`intervals`)."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One arm with ``people`` people under one meaning: ``total`` over all rounds, and each of ``rounds``."""

    arm: str
    meaning: Meaning
    people: int
    total: Values
    rounds: Sequence[Values]


@dataclass(frozen=True)
class Difference:
    """One measure of an arm minus the original's; ``p_holm`` over arms and measures with a direction."""

    outcome: Outcome = field(repr=False)
    measure: str
    estimate: Estimate
    p_holm: float | None

    @property
    def sign(self) -> int:
        """1 or −1 if significant (Holm p < 0.05, and all seeds agree), else 0."""
        return 0 if self.p_holm is None else self.estimate.decided(self.p_holm)


def outcomes(
    shop: Shop, histories: Mapping[int, Sequence[History]], meanings: Sequence[Meaning]
) -> list[Outcome]:
    """Measure all arms; ``histories`` {seed: one of each arm}."""
    group = groups_of(shop.dataset, shop.visitors)
    categories = np.unique(shop.catalog.categories, return_inverse=True)[1]
    measured = []
    for meaning in meanings:
        for lives in zip(*histories.values(), strict=True):
            seeds = [per_round(life, meaning, group, categories) for life in lives]
            rounds = [
                {name: np.stack([seed[t][name].ratio for seed in seeds]) for name in MEASURES}
                for t in range(shop.rules.rounds)
            ]
            sums = [over_rounds(seed) for seed in seeds]
            total = {name: np.stack([one[name].ratio for one in sums]) for name in MEASURES}
            people = len(lives[0].rounds[0].people)
            measured.append(Outcome(lives[0].arm.label, meaning, people, total, rounds))
    return measured


def differences(found: Sequence[Outcome], row: slice = slice(None)) -> list[Difference]:
    """Return every arm minus the original; Holm's correction is within a meaning.

    ``row`` selects seeds; for a subset of seeds there is no corrected p-value.
    """
    all_of_them = []
    for meaning in dict.fromkeys(outcome.meaning for outcome in found):
        mine = [outcome for outcome in found if outcome.meaning == meaning]
        base = next(outcome for outcome in mine if outcome.arm == ORIGINAL)
        pairs = [(o, m) for o in mine if o is not base for m in MEASURES]
        estimates = [jackknife((o.total[m] - base.total[m])[row], n=o.people) for o, m in pairs]
        ranked = [k for k, (_, m) in enumerate(pairs) if m in HIGHER_IS_BETTER and row == slice(None)]
        adjusted = dict(zip(ranked, holm([estimates[k].p for k in ranked]).tolist(), strict=True))
        all_of_them += [
            Difference(o, m, e, adjusted.get(k))
            for k, ((o, m), e) in enumerate(zip(pairs, estimates, strict=True))
        ]
    return all_of_them


def conclude(found: Sequence[Outcome], seeds: Sequence[int], results: Results) -> None:
    """Add rows of each seed and over all, differences to the original, and a verdict on every arm."""
    whole = differences(found)
    parts: dict[int | None, slice] = {seed: slice(k, k + 1) for k, seed in enumerate(seeds)}
    for seed, row in {**parts, None: slice(None)}.items():
        for outcome in found:
            for measure in MEASURES:
                estimate = jackknife(outcome.total[measure][row], n=outcome.people)
                _add(results, outcome, measure, estimate, seed=seed)
        for d in whole if seed is None else differences(found, row):
            _add(results, d.outcome, f"{d.measure}_minus_{ORIGINAL}", d.estimate, seed=seed, p_holm=d.p_holm)
    for outcome in found:
        if outcome.arm != ORIGINAL:
            mine = {d.measure: d for d in whole if d.outcome is outcome}
            results.verdict(f"{outcome.arm} ({outcome.meaning})", verdict(mine))


def _add(
    results: Results,
    outcome: Outcome,
    metric: str,
    estimate: Estimate,
    *,
    seed: int | None,
    p_holm: float | None = None,
) -> None:
    low, high, p = (None if np.isnan(x) else x for x in (estimate.low, estimate.high, estimate.p))
    results.row(
        variant=outcome.arm,
        metric=metric,
        seed=seed,
        value=estimate.value,
        low=low,
        high=high,
        n=estimate.n,
        meaning=outcome.meaning,
        p=p if "_minus_" in metric else None,
        p_holm=p_holm,
    )


def verdict(mine: Mapping[str, Difference]) -> str:
    """Return the verdict on an arm compared with the original, with the numbers behind it.

    helps: more choices that are kept, and what was delivered is liked no less. does not help: more choices,
    but what was delivered is liked less. hurts: fewer choices. undecided: otherwise. For ``aa``: whether
    anything differs.
    """
    arm = next(iter(mine.values())).outcome.arm
    sign = {measure: d.sign for measure, d in mine.items()}
    numbers = "; ".join(_in_words(d) for m, d in mine.items() if m in HIGHER_IS_BETTER)
    if not any(d.estimate.value for d in mine.values()):
        text = "no difference: people see and choose the same"
    elif arm == AGAIN:
        same = not any(sign.values())
        text = "holds: nothing differs" if same else "does not hold: chance alone makes a difference"
    elif sign["choices"] > 0 and (sign["delivered"] < 0 or sign["disappointment"] > 0):
        text = "does not help: choices are won by promising what the items are not"
    elif sign["kept"] > 0 and sign["delivered"] >= 0:
        text = "helps: more is chosen and kept"
    elif sign["choices"] < 0 or sign["kept"] < 0:
        text = "hurts: less is chosen or kept"
    else:
        text = "undecided"
    return f"{text} ({numbers})"


def _in_words(d: Difference) -> str:
    e = d.estimate
    p = "" if d.p_holm is None or np.isnan(d.p_holm) else f", p {d.p_holm:.2g}"
    signs = f", seeds {e.signs}" if len(set(e.signs.split())) > 1 else ""
    return f"{d.measure} {e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]{p}{signs}"


def round_table(found: Sequence[Outcome]) -> pd.DataFrame:
    """Return columns ``variant``, ``meaning``, ``round`` from 1, ``metric``, ``value``, ``low``, ``high``."""
    rows = []
    for outcome in found:
        for t, values in enumerate(outcome.rounds, 1):
            for measure, x in values.items():
                e = jackknife(x, n=outcome.people)
                rows.append((outcome.arm, outcome.meaning, t, measure, e.value, e.low, e.high))
    columns = ["variant", "meaning", "round", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
