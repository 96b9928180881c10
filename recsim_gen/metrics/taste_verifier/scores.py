"""How well the verifier predicts opinions, compared with baselines that see no image.

Two AUCs, 0.5 by chance. ``auc`` is over all opinions of the test part, where knowing who likes much in
general also helps. ``auc_within`` is the mean of each person's own AUC, over people with both kinds of
opinions; only taste helps there. Baselines: the verifier with the mean image in place of every image, and
``means``: the share of items the person liked plus the share of people who liked the item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsim_gen.core.statistics import Estimate, bootstrap
from recsim_gen.metrics.auc import CHANCE, auc_interval, auc_within

if TYPE_CHECKING:
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.metrics.taste_verifier.opinions import Opinions
    from recsim_gen.metrics.taste_verifier.training import Trained

VERIFIER, MEAN_PICTURE, MEANS = VARIANTS = ("verifier", "mean picture", "person + item mean")


def scored(given: Opinions, features: np.ndarray, trained: Trained, seed: int) -> pd.DataFrame:
    """Return the test part, one row per opinion: ``seed``, ``person`` id, ``liked``, a score per variant."""
    test, model = given.only(trained.test), trained.model
    people, place = np.unique(test.person, return_inverse=True)
    mean = np.repeat(features.mean(0, keepdims=True), len(people), axis=0)
    return pd.DataFrame(
        {
            "seed": seed,
            "person": given.people[test.person],
            "liked": test.liked,
            VERIFIER: model.probability(test.person, features[test.item]),
            MEAN_PICTURE: model.probability(people, mean)[place],
            MEANS: _means(given.only(trained.learned), test),
        }
    )


def _means(learned: Opinions, test: Opinions) -> np.ndarray:
    """Return (m,) the person's plus the item's share of likes; the overall share if unknown."""
    total = np.zeros(len(test.person))
    for who_or_what in ("person", "item"):
        share = pd.Series(learned.liked).groupby(getattr(learned, who_or_what)).mean()
        total += share.reindex(getattr(test, who_or_what)).fillna(learned.liked.mean()).to_numpy()
    return total


def of_people(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the AUC of each person who has one: ``seed``, ``person``, a column per variant."""
    group = scores.groupby(["seed", "person"], sort=False).ngroup().to_numpy()
    liked = scores["liked"].to_numpy()
    columns = {name: auc_within(liked, scores[name].to_numpy(), group) for name in VARIANTS}
    first = scores[["seed", "person"]].groupby(group).first()
    return first.join(pd.DataFrame(columns), how="right").reset_index(drop=True)


def add_rows(scores: pd.DataFrame, results: Results, rng: Rng) -> dict[int, tuple[Estimate, Estimate]]:
    """Add both AUCs of each variant, of each seed and over all (``seed`` null), and the chance level.

    Also adds a verdict whether the verifier beats the means within people. Intervals resample people and,
    over all seeds, also seeds. Returns the verifier's two AUCs of each seed.
    """
    people = of_people(scores)
    verifier = {}
    for seed in [*dict.fromkeys(scores["seed"]), None]:
        rows, mine = (f if seed is None else f[f["seed"] == seed] for f in (scores, people))
        for variant in VARIANTS:
            of_all = auc_interval(
                rows["liked"].to_numpy(),
                rows[variant].to_numpy(),
                rows["person"].to_numpy(),
                rng,
                trainings=rows["seed"].to_numpy(),
            )
            within = _within(mine, mine[variant] - CHANCE, rng)
            _add(results, variant, "auc", seed, of_all, 0.0)
            _add(results, variant, "auc_within", seed, within, CHANCE)
            if variant == VERIFIER and seed is not None:
                verifier[int(seed)] = of_all, within
    for metric in ("auc", "auc_within"):
        results.row(variant="chance", metric=metric, value=CHANCE)
    gain = _within(people, people[VERIFIER] - people[MEANS], rng)
    answer = {1: "yes", -1: "no: less", 0: "undecided"}[gain.decided(gain.p)]
    results.verdict(
        "tells more within people than their and the items' means",
        f"{answer} ({gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] of {gain.n:,} people)",
    )
    alike = scores["person"].nunique() - people["person"].nunique()
    if alike:
        results.note(f"{alike:,} people have test opinions of one kind alone: no AUC within them")
    return verifier


def _within(people: pd.DataFrame, values: pd.Series, rng: Rng) -> Estimate:
    """Return the mean over people, of all seeds; unknown if no person has one."""
    if people.empty:
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0)
    return bootstrap(values.to_numpy(), people["person"].to_numpy(), rng, trainings=people["seed"].to_numpy())


def _add(results: Results, variant: str, metric: str, seed: int | None, e: Estimate, zero: float) -> None:
    results.row(
        variant=variant,
        metric=metric,
        seed=seed,
        value=e.value + zero,
        low=e.low + zero,
        high=e.high + zero,
        n=e.n,
        p=e.p,
    )
