"""Intervals of two levels: people are left out by groups, and seeds differ.

With θ_s the estimate of seed s of S, θ its mean over seeds and θ_(g) the same without group g of G groups
of people, the jackknife's variance over people is V_p = (G − 1)/G · Σ_g (θ_(g) − mean)², and over seeds
V_s = Σ_s (θ_s − θ)² / ((S − 1)·S). The interval is θ ± t·√(V_p + V_s), t with the degrees of freedom of
Welch and Satterthwaite. Chance that is of one person in one seed is in both: the interval is rather too wide.
(Shao and Tu 1995, "The jackknife and bootstrap", Sec. 2.3.) It serves ratios, inequality and coverage alike,
which a bootstrap of people does not: people drawn twice see the same items. For coverage it is rather too
wide (on average the jackknife's variance is never too small: Efron and Stein 1981).

What a ranker spreads from one person's chance to everybody's lists is in V_s alone: give several seeds.
With three, up to 8% of differences of lists that are none lie outside; with two, up to 12%.
"""

from __future__ import annotations

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.statistics import Estimate

LEVEL = 0.95


def jackknife(values: np.ndarray, *, n: int) -> Estimate:
    """The estimate of ``values`` (S, G + 1): of each seed, of all people and without each group of them.

    ``n`` people; ``signs`` are those of several seeds. The p-value is two-sided, against 0; NaN, as the
    interval, with fewer than two groups, and all NaN where a value is. A difference that never varies is
    certain: p is 1 for 0, else 0. Raises DataError for other shapes.
    """
    from scipy.stats import t as student

    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise DataError(f"values must be (seeds, groups + 1), got {values.shape}")
    whole, without = values[:, 0], values[:, 1:].mean(0)
    seeds, groups = len(whole), len(without)
    value, signs = float(whole.mean()), ""
    if seeds > 1 and not np.isnan(whole).any():
        signs = " ".join("−0+"[int(s) + 1] for s in np.sign(whole).tolist())
    if np.isnan(values).any() or groups < 2:
        return Estimate(value, np.nan, np.nan, np.nan, n, signs)
    people = (groups - 1) / groups * ((without - without.mean()) ** 2).sum()
    between = whole.var(ddof=1) / seeds if seeds > 1 else 0.0
    variance = people + between
    if variance <= 1e-24 * max(1.0, value**2):
        return Estimate(value, value, value, float(abs(value) < 1e-12), n, signs)
    freedom = variance**2 / (people**2 / (groups - 1) + (between**2 / (seeds - 1) if seeds > 1 else 0.0))
    error = np.sqrt(variance)
    reach = error * student.ppf((1 + LEVEL) / 2, freedom)
    p = 2 * student.sf(abs(value) / error, freedom)
    return Estimate(value, float(value - reach), float(value + reach), float(p), n, signs)
