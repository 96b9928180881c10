"""Scores of a human study: preferences, agreement of raters, and agreement of metrics with people."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.statistics import bootstrap, bootstrap_columns, holm
from recsim_gen.datasets.files.tables import column_names, read_table

if TYPE_CHECKING:
    import pandas as pd

Unit = Literal["rater", "question"]
EXACT_UP_TO = 50  # largest number of differences for the exact distribution of signed ranks

QUESTION = ("question", "episode")
METHOD = ("method", "generator", "variant")


def preferences(answers: pd.DataFrame, unit: Unit, results: Results, rng: Rng) -> pd.DataFrame:
    """Add rows ``mean_rank`` (1 is best) and ``first`` (share of first places) of each method.

    Intervals resample whole ``unit``s. Returns (units, methods) mean ranks, for the tests.
    """
    methods = sorted(answers["method"].unique())
    wide = answers.pivot_table(index=["rater", "question"], columns="method", values="rank")[methods]
    clusters = wide.index.get_level_values(unit).to_numpy()
    ranks = wide.to_numpy()
    for metric, values in (("mean_rank", ranks), ("first", (ranks == 1).astype(float))):
        for method, e in zip(methods, bootstrap_columns(values, clusters, rng), strict=True):
            results.row(variant=method, metric=metric, value=e.value, low=e.low, high=e.high, n=e.n)
    return wide.groupby(level=unit).mean()


def friedman(ranks: pd.DataFrame, unit: Unit, results: Results) -> None:
    """Add a verdict whether the methods differ at all: Friedman's test over the units' mean ranks."""
    from scipy.stats import friedmanchisquare

    units, k = ranks.shape
    if k < 3 or units < 2:
        return  # for two methods, Wilcoxon's test suffices
    test = friedmanchisquare(*ranks.to_numpy().T)
    chi2, p = (0.0, 1.0) if np.isnan(test.statistic) else (float(test.statistic), float(test.pvalue))
    results.row(variant="all methods", metric="friedman", value=chi2, n=units, p=p)
    word = "differ" if p < 0.05 else "undecided whether they differ"
    results.verdict(
        "methods", f"{word}: Friedman's χ²({k - 1}) = {chi2:.2f}, p = {p:.3g}, over {units} {unit}s"
    )


def pairs(ranks: pd.DataFrame, unit: Unit, results: Results, rng: Rng) -> None:
    """Add Wilcoxon's signed-rank test of each pair of methods over units, Holm-corrected."""
    differences = {(a, b): (ranks[b] - ranks[a]).to_numpy() for a, b in combinations(list(ranks.columns), 2)}
    p = [signed_rank_p(d) for d in differences.values()]
    for ((a, b), d), raw, corrected in zip(differences.items(), p, holm(p), strict=True):
        e = bootstrap(d, np.arange(len(d)), rng)
        ahead, behind = (a, b) if e.value >= 0 else (b, a)
        word = f"{ahead} is preferred" if corrected < 0.05 else "undecided"
        results.row(
            variant=f"{a} before {b}",
            metric="rank_difference",
            value=e.value,
            low=e.low,
            high=e.high,
            n=e.n,
            p=float(raw),
            p_holm=float(corrected),
        )
        results.verdict(
            f"{a} or {b}",
            f"{word}: {ahead} ranks {abs(e.value):.2f} before {behind}, p = {corrected:.3g} (Wilcoxon, Holm)",
        )
    least = 2.0 ** (1 - len(ranks))
    if least * len(p) > 0.05:
        results.note(
            f"with {len(ranks)} {unit}s and {len(p)} comparisons no difference can become significant "
            f"(the smallest p is {min(1.0, least * len(p)):.2g}): ask more {unit}s"
            + ("" if unit == "question" else ", or test over questions (unit=question)")
        )


def signed_rank_p(d: np.ndarray) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test of differences ``d`` (n,); 1 if all are 0.

    Up to ``EXACT_UP_TO`` differences, the distribution over all signs is enumerated, including ties: mean
    ranks of a few raters often tie, and the normal approximation is poor for them. Above, the tie-corrected
    approximation is used. Zeros by Pratt's rule: they only take part in the ranking.
    """
    from scipy.stats import rankdata, wilcoxon

    d = np.round(d, 12)  # mean ranks that differ only by rounding count as tied
    if not d.any():
        return 1.0
    if len(d) > EXACT_UP_TO:
        return float(wilcoxon(d, zero_method="pratt", correction=True, method="approx").pvalue)
    halves = np.rint(2 * rankdata(np.abs(d))).astype(int)[d != 0]
    counts = np.ones(1)
    for r in halves:  # number of the 2ⁿ sign patterns with each sum of positive ranks
        counts = np.pad(counts, (0, r)) + np.pad(counts, (r, 0))
    share, positive = counts / counts.sum(), int(halves[d[d != 0] > 0].sum())
    return float(min(1.0, 2 * min(share[: positive + 1].sum(), share[positive:].sum())))


def kendalls_w(answers: pd.DataFrame) -> pd.DataFrame:
    """Return Kendall's W of each question with at least two raters: columns ``w``, ``raters``, ``methods``.

    W = 12 S / (m² (k³ − k)) in [0, 1], where S is the sum of squared deviations of the k methods' rank sums
    over m raters. 1: all raters agree; expected by chance: 1/m.
    """
    raters = answers.groupby("question")["rater"].nunique()
    sums = answers.groupby(["question", "method"])["rank"].sum().unstack()
    k = sums.shape[1]
    s = ((sums.sub(sums.mean(axis=1), axis=0)) ** 2).sum(axis=1)
    table = (12 * s / (raters**2 * (k**3 - k))).to_frame("w").assign(raters=raters, methods=k)
    return table[table["raters"] >= 2]


def raters_agree(answers: pd.DataFrame, results: Results, rng: Rng) -> None:
    """Add the row ``kendall_w``, the mean over questions, and a verdict whether it exceeds chance."""
    from scipy.stats import chi2

    table = kendalls_w(answers)
    if table.empty:
        results.note("no question was answered by two raters: nothing to say on whether they agree")
        return
    e = bootstrap(table["w"].to_numpy(), np.arange(len(table)), rng)
    degrees = table["methods"] - 1
    statistic = (table["raters"] * degrees * table["w"]).sum()
    p = float(chi2.sf(statistic, degrees.sum()))
    results.row(
        variant="raters", metric="kendall_w", value=e.value, low=e.low, high=e.high, n=e.n, p=p
    )  # fmt: skip
    word = "agree" if p < 0.05 else "undecided whether they agree"
    results.verdict(
        "raters",
        f"{word}: Kendall's W = {e.value:.2f} [{e.low:.2f}, {e.high:.2f}] over {e.n} questions, by chance "
        f"{(1 / table['raters']).mean():.2f}; p = {p:.3g}",
    )


def position_bias(answers: pd.DataFrame, results: Results, rng: Rng) -> None:
    """Add the row ``position_bias``: Spearman's ρ of ranks with the positions first shown; and a verdict.

    The order shown is random, so ρ is 0 on average for raters who look at the images; 1 for a rater who keeps
    the order as shown.
    """
    k = answers["method"].nunique()
    squares = (answers["rank"] - answers["shown"]) ** 2
    per_answer = squares.groupby([answers["rater"], answers["question"]]).sum()
    rho = 1 - 6 * per_answer / (k**3 - k)
    e = bootstrap(rho.to_numpy(), rho.index.get_level_values("rater").to_numpy(), rng)
    results.row(
        variant="raters", metric="position_bias", value=e.value, low=e.low, high=e.high, n=e.n
    )  # fmt: skip
    same = rho.groupby(level="rater").min() == 1
    lazy = f"; {', '.join(same.index[same])} left every order as it came" if same.any() else ""
    biased = e.low > 0
    word = "biased towards the order shown" if biased else "no sign of bias towards the order shown"
    results.verdict("position", f"{word}: ρ = {e.value:.2f} [{e.low:.2f}, {e.high:.2f}]{lazy}")


def per_image(answers: pd.DataFrame) -> pd.DataFrame:
    """Return one row per question and method: ``mean_rank`` over raters, and the number of ``raters``."""
    grouped = answers.groupby(["question", "method"])["rank"]
    return grouped.agg(mean_rank="mean", raters="size").reset_index()


def read_metrics(path: str | Path) -> pd.DataFrame:
    """Return numbers per image from a CSV with columns ``question``, ``method`` and one per metric.

    ``episode`` and ``generator`` or ``variant`` are accepted as names. Raises DataError for missing columns,
    values that are not finite numbers, and two rows of one image.
    """
    header = column_names(path)
    columns = [next((c for c in names if c in header), None) for names in (QUESTION, METHOD)]
    metrics = [c for c in header if c not in (*QUESTION, *METHOD)]
    if None in columns or not metrics:
        raise DataError(
            f"the columns must be question, method and one per metric, got {', '.join(header)}",
            file=path,
            row=1,
            remedy="Correct the header line",
        )
    ids = [c for c in columns if c is not None]
    table = read_table(path, ids=ids, numbers=metrics, spaced=True)
    table.refuse_duplicates(*ids)
    frame = table.frame.rename(columns=dict(zip(ids, ("question", "method"), strict=True)))
    return frame.astype({"question": str, "method": str})


def metrics_agree(answers: pd.DataFrame, metrics: pd.DataFrame, results: Results, rng: Rng) -> None:
    """Add rows ``kendall`` and ``spearman`` of each metric with people, and of each rater with the others.

    Both are correlations with people's preference (minus the mean rank) over the methods of a question,
    averaged over questions, which are resampled for the interval. Positive if larger values are preferred, so
    a metric where less is better (LPIPS) should be negative. The agreement of a rater with the others is an
    upper bound to expect of a metric. Raises DataError if no image is in both.
    """
    people = per_image(answers)
    table = people.merge(metrics, on=["question", "method"])
    if table.empty:
        theirs, ours = (f.iloc[0][["question", "method"]].tolist() for f in (metrics, people))
        raise DataError(
            f"metrics of the study's images are wanted, got none: {theirs} is one, {ours} is in the study",
            remedy="Name questions and methods as in the folders of the images",
        )
    if (left := len(people) - len(table)) > 0:
        results.note(f"{left:,} of {len(people):,} images have no row among the metrics: left out")
    for name in [c for c in metrics.columns if c not in ("question", "method")]:
        _correlation_rows(name, table.assign(other=table[name], own=-table["mean_rank"]), results, rng)
    if (rest := _raters_against_others(answers)) is not None:
        _correlation_rows("a rater with the others", rest, results, rng)


def _raters_against_others(answers: pd.DataFrame) -> pd.DataFrame | None:
    whole = answers.groupby(["question", "method"])["rank"]
    raters = whole.transform("size")
    others = (whole.transform("sum") - answers["rank"]) / (raters - 1).clip(lower=1)
    table = answers.assign(own=-answers["rank"], other=-others)[raters > 1]
    return None if table.empty else table


def _correlation_rows(name: str, table: pd.DataFrame, results: Results, rng: Rng) -> None:
    """Add the rows of one metric: correlations of ``own`` with ``other`` within each question (and rater)."""
    from scipy.stats import kendalltau, spearmanr

    by = ["question", "rater"] if name == "a rater with the others" else ["question"]
    groups = [(key[0], part) for key, part in table.groupby(by)]
    varied = [(q, p) for q, p in groups if p["own"].nunique() > 1 and p["other"].nunique() > 1]
    if not varied:
        results.note(f"{name}: the same for all images of each question, no correlation")
        return
    questions = np.array([q for q, _ in varied])
    text = []
    for metric, correlate in (("kendall", kendalltau), ("spearman", spearmanr)):
        values = np.array([correlate(part["own"], part["other"]).statistic for _, part in varied])
        e = bootstrap(values, questions, rng)
        results.row(variant=name, metric=metric, value=e.value, low=e.low, high=e.high, n=e.n, p=e.p)
        text.append(f"{metric} {e.value:.2f} [{e.low:.2f}, {e.high:.2f}]")
    results.verdict(f"agreement: {name}", f"{', '.join(text)} over {len(set(questions))} questions")
