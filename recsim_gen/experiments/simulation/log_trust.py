"""Accuracy of off-policy estimates: values of each arm estimated from another arm's log, and the truth.

In the first round all arms have the same lists, so a visit is the same context for all of them, and the
simulator knows the outcome under each arm's image. The estimators only use the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsim_gen.core.randomness import Rng
from recsim_gen.experiments.simulation.off_policy import estimates, trial

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.experiments.simulation.rounds import History, Shop
    from recsim_gen.experiments.simulation.visits import Visits

COLUMNS = ["log", "variant", "estimator", "truth", "estimate", "mean", "sd", "rmse"]


def log_trust(shop: Shop, histories: Mapping[int, Sequence[History]], *, logs: int) -> pd.DataFrame:
    """Return estimates of every arm's choices per visit from every other arm's log of the first round.

    Columns: see `COLUMNS`. ``estimate`` is from the stored logs, averaged over seeds; ``mean``, ``sd`` and
    ``rmse`` are over ``logs`` further logs of the same lists. Empty if nothing was explored, or each person
    is in one arm only, since then a log has no information on other arms.
    """
    if not (shop.rules.explore and shop.rules.assignment == "paired"):
        return pd.DataFrame(columns=COLUMNS)
    labels, first = [arm.label for arm in shop.arms], next(iter(histories))
    kept: dict[tuple[str, str, str], list[float]] = {}
    for lives in histories.values():
        for life in lives:
            for target, label in enumerate(labels):
                for name, estimate in _from_log(life.rounds[0], target, len(labels)).items():
                    kept.setdefault((life.arm.label, label, name), []).append(estimate)
    value, frames = _chances(shop, histories[first][0].rounds[0]), []
    for number, life in enumerate(histories[first]):
        logging = np.full(len(labels), shop.rules.explore / len(labels))
        logging[number] += 1 - shop.rules.explore
        rng, context = Rng(first).for_("logs", life.arm.label), _context(life.rounds[0])
        table = trial(value, logging, context, logs=logs, rng=rng)
        table["variant"] = [labels[k] for k in table["action"]]
        frames.append(table.assign(log=life.arm.label))
    whole = pd.concat(frames, ignore_index=True)
    keys = zip(whole["log"], whole["variant"], whole["estimator"], strict=True)
    whole["estimate"] = [
        float(np.nanmean(kept[key])) if any(np.isfinite(kept[key])) else np.nan for key in keys
    ]
    return whole[COLUMNS]


def add_rows(trust: pd.DataFrame, log: str, results: Results, *, seeds: int) -> None:
    """Add the estimates from the log of one arm, with the truth, and a note on their accuracy.

    An estimate's interval is ± 1.96 standard deviations over logs, for its mean over ``seeds`` logs.
    """
    mine = trust[(trust["log"] == log) & (trust["variant"] != log)]
    for row in mine.to_dict("records"):
        spread = 1.96 * row["sd"] / np.sqrt(seeds)
        results.row(
            variant=row["variant"],
            metric=f"{row['estimator']}_from_{log}",
            value=row["estimate"],
            low=row["estimate"] - spread,
            high=row["estimate"] + spread,
        )
    for arm, truth in mine.groupby("variant", sort=False)["truth"].first().items():
        results.row(variant=str(arm), metric="true_choices_in_round_1", value=float(truth))
    if len(mine):
        sd = mine.groupby("estimator", sort=False)["sd"].median()
        results.note(
            f"off-policy, from the first log of {log}: half of the arms are told to ±{1.96 * sd['ips']:.3f} "
            f"choices a visit by IPS, ±{1.96 * sd['snips']:.3f} by SNIPS, ±{1.96 * sd['dr']:.3f} by DR"
        )


def markdown(trust: pd.DataFrame, log: str) -> str:
    """Return the table of one log: per arm, each estimator's mean and standard deviation, and the truth."""
    from tabulate import tabulate

    mine = trust[(trust["log"] == log) & (trust["variant"] != log)]
    names = list(dict.fromkeys(mine["estimator"]))
    lines = []
    for arm, rows in mine.groupby("variant", sort=False):
        of = rows.set_index("estimator")
        cells = [f"{of.at[n, 'estimate']:.3f} ({of.at[n, 'mean']:.3f} ± {of.at[n, 'sd']:.3f})" for n in names]
        lines.append([arm, f"{rows['truth'].iloc[0]:.3f}", *cells])
    heads = ["arm", "truth", *names]
    table = tabulate(lines, headers=heads, tablefmt="github", disable_numparse=True)
    return (
        f"Choices a visit in the first round, as the log of {log} tells them: from the log that was kept "
        f"(mean ± standard deviation over more logs like it).\n\n{table}\n"
    )


def _from_log(visits: Visits, target: int, arms: int) -> dict[str, float]:
    policy = np.eye(arms)[target]
    reward = visits.chose.astype(float)
    return estimates(visits.shown, reward, visits.propensity, policy, _context(visits))


def _context(visits: Visits) -> np.ndarray:
    """Return (P, 2) what the shop knows of a visit: the ranker's best score and its mean over the list."""
    return np.stack([visits.scores[:, 0], visits.scores.mean(1)], axis=1).astype(float)


def _chances(shop: Shop, visits: Visits) -> np.ndarray:
    """Return (P, K) the true probability of a choice in each visit with each arm's images."""
    columns = []
    for number in range(len(shop.arms)):
        shown = np.full(len(visits.people), number)
        seen = shop.worth(visits.people, visits.lists, shown).seen
        columns.append(1 - shop.choice.probabilities(seen)[:, -1])
    return np.stack(columns, axis=1)
