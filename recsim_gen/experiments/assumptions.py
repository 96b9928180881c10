"""Test of the paper's two assumptions: which part of a history predicts the reference?

Sec. 2 of RAGAR compares sub-histories of k items: Ret (the k most similar to the reference), Exp-Ret (places
k+1…2k) and Random. Controls added here: Recent (the last k), Full (all), and Ret-wrong (retrieved for another
episode's reference). Ret selects items that resemble the target; Ret-wrong shows the effect of selection by
similarity when the target is another item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.ranking import ndcg_at, ranks, recall_at
from recsim_gen.core.statistics import Estimate, bootstrap_columns, holm
from recsim_gen.core.types import Episode, Interactions
from recsim_gen.encoders.retrieval import other_references, retrieve

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Ranker

VARIANTS = ("ret", "exp_ret", "random", "recent", "full", "ret_wrong")
ASSUMPTIONS = {
    "assumption 1": (
        ("ret", "random"),
        ("exp_ret", "random"),
    ),  # similar items predict better than random ones
    "assumption 2": (("ret", "exp_ret"),),  # the most similar predict better than the next
}
CONTROLS = (("ret", "recent"), ("ret", "full"), ("ret", "ret_wrong"))
METRICS = {"recall@10": lambda rank: recall_at(rank, 10), "ndcg@10": lambda rank: ndcg_at(rank, 10)}
BLOCK = 512  # episodes scored at once: O(512·n) memory

Histories = list[np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """``better`` minus ``worse`` in ``metric``, paired by seed and episode; ``p_holm`` over all of them."""

    better: str
    worse: str
    metric: str
    estimate: Estimate
    p_holm: float


def usable(episodes: Sequence[Episode], k: int) -> tuple[Episode, ...]:
    """Return the episodes whose history has 2k items, so that Ret and Exp-Ret have k each.

    Raises DataError if there are none.
    """
    if k < 1:
        raise SettingError(f"k must be at least 1, got {k}")
    kept = tuple(e for e in episodes if len(e.history) >= 2 * k)
    if not kept:
        longest = max((len(e.history) for e in episodes), default=0)
        raise DataError(
            f"Ret and Exp-Ret need histories of at least 2k = {2 * k} items, the longest has {longest}",
            remedy="Lower --k or use longer sequences",
        )
    return kept


def sub_histories(
    episodes: Sequence[Episode], text: np.ndarray, k: int, rng: Rng, *, draws: int = 1
) -> dict[str, list[Histories]]:
    """Return the sub-histories of each variant: one list of B arrays, or ``draws`` lists for ``random``.

    ``text`` (n, d) are the caption features compared in Eq. 3. Random draws depend only on the episode's id.
    """
    if draws < 1:
        raise SettingError(f"draws must be at least 1, got {draws}")
    retrieved = retrieve(episodes, text)
    wrong = other_references(episodes, rng.for_("ret_wrong").numpy())
    full = [np.array(e.history) for e in episodes]
    random = [
        [
            rng.for_("random", e.id, draw).numpy().choice(h, k, replace=False)
            for e, h in zip(episodes, full, strict=True)
        ]
        for draw in range(draws)
    ]
    return {
        "ret": [retrieved.between(0, k)],
        "exp_ret": [retrieved.between(k, 2 * k)],
        "random": random,
        "recent": [[h[-k:] for h in full]],
        "full": [full],
        "ret_wrong": [retrieve(episodes, text, wrong).between(0, k)],
    }


def reference_ranks(ranker: Ranker, episodes: Sequence[Episode], histories: Histories | None) -> np.ndarray:
    """Return the (B,) rank of each reference with ``histories[b]`` folded in, or for the known user (None).

    The whole history is masked for every variant, so that items left out by a variant cannot outrank the
    reference.
    """
    import torch

    out = np.empty(len(episodes))
    for s in range(0, len(episodes), BLOCK):
        part = episodes[s : s + BLOCK]
        if histories is None:
            scores = ranker.score(np.array([e.user for e in part]))
        else:
            scores = ranker.fold_in(histories[s : s + BLOCK])
        masked = torch.zeros(scores.shape, dtype=torch.bool)
        row = np.repeat(np.arange(len(part)), [len(e.history) for e in part])
        masked[row, np.concatenate([e.history for e in part])] = True
        reference = torch.tensor([e.reference for e in part], device=scores.device)
        out[s : s + BLOCK] = ranks(scores, reference, masked.to(scores.device)).cpu().numpy()
    return out


def fold_in_ranks(
    ranker: Ranker, episodes: Sequence[Episode], histories: Mapping[str, list[Histories]], seed: int
) -> pd.DataFrame:
    """Return ``variant, seed, draw, episode, rank``: one trained ranker scores every sub-history."""
    work = [(variant, draw, h) for variant, draws in histories.items() for draw, h in enumerate(draws)]
    frames = []
    for variant, draw, chosen in bar(work, f"fold-in, seed {seed}"):
        rank = reference_ranks(ranker, episodes, chosen)
        frames.append(_frame(variant, seed, draw, episodes, rank))
    return pd.concat(frames, ignore_index=True)


def known_user_ranks(ranker: Ranker, episodes: Sequence[Episode], variant: str, seed: int) -> pd.DataFrame:
    """Return ``variant, seed, draw, episode, rank`` of a ranker trained on one variant."""
    return _frame(variant, seed, 0, episodes, reference_ranks(ranker, episodes, None))


def retrain_interactions(
    interactions: Interactions, episodes: Sequence[Episode], histories: Histories
) -> Interactions:
    """Return interactions in which the episodes' users chose only their sub-history (for ``retrain``).

    Other users keep their choices; valid and test rows are unchanged, so early stopping and the reference are
    the same for every variant.
    """
    users = np.array([e.user for e in episodes])
    chosen = np.repeat(users, [len(h) for h in histories]) * interactions.n_items + np.concatenate(histories)
    pair = interactions.user * interactions.n_items + interactions.item
    keep = ~np.isin(interactions.user, users) | (interactions.split != "train") | np.isin(pair, chosen)
    columns = ("user", "item", "time", "weight", "split")
    return replace(interactions, **{c: getattr(interactions, c)[keep] for c in columns})


def without_valid(episodes: Sequence[Episode], interactions: Interactions) -> tuple[Episode, ...]:
    """Return the episodes without the user's valid items in the history, for ``retrain``."""
    user, item = interactions.only("valid")
    valid = set(zip(user.tolist(), item.tolist(), strict=True))
    short = [
        replace(e, history=tuple(i for i in e.history if (e.user, i) not in valid) or e.history)
        for e in episodes
    ]
    return tuple(short)


def _frame(variant: str, seed: int, draw: int, episodes: Sequence[Episode], rank: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {"variant": variant, "seed": seed, "draw": draw, "episode": [e.id for e in episodes], "rank": rank}
    )


def per_episode(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``variant, seed, episode`` and each metric, averaged over draws."""
    numbers = table.assign(**{name: metric(table["rank"].to_numpy()) for name, metric in METRICS.items()})
    return numbers.groupby(["variant", "seed", "episode"], sort=False)[[*METRICS]].mean().reset_index()


def estimates(values: pd.DataFrame, person: Mapping[str, str], rng: Rng) -> dict[tuple[str, str], Estimate]:
    """Return the mean of each (variant, metric) with its interval; people and seeds are resampled."""
    wide = _by_episode(values)
    columns = [(variant, metric) for variant in VARIANTS for metric in METRICS]
    data = [wide[metric][variant].to_numpy() for variant, metric in columns]
    return dict(zip(columns, _bootstrapped(data, wide, person, rng), strict=True))


def compare(values: pd.DataFrame, person: Mapping[str, str], rng: Rng) -> list[Comparison]:
    """Return the paired differences of all comparisons in both metrics, with Holm's correction over all.

    People and seeds are resampled. ``values`` is the table of `per_episode` (one seed or several).
    """
    pairs = [pair for pairs in ASSUMPTIONS.values() for pair in pairs] + list(CONTROLS)
    wide = _by_episode(values)
    columns = [(better, worse, metric) for metric in METRICS for better, worse in pairs]
    data = [(wide[m][better] - wide[m][worse]).to_numpy() for better, worse, m in columns]
    differences = _bootstrapped(data, wide, person, rng)
    adjusted = holm([estimate.p for estimate in differences])
    return [Comparison(*c, e, float(p)) for c, e, p in zip(columns, differences, adjusted, strict=True)]


def _by_episode(values: pd.DataFrame) -> pd.DataFrame:
    """Return a table with rows (seed, episode) and columns (metric, variant)."""
    return values.pivot(index=["seed", "episode"], columns="variant", values=[*METRICS])


def _bootstrapped(
    columns: Sequence[np.ndarray], wide: pd.DataFrame, person: Mapping[str, str], rng: Rng
) -> list[Estimate]:
    seed, episode = (wide.index.get_level_values(name) for name in ("seed", "episode"))
    people = episode.map(person).to_numpy()
    return bootstrap_columns(np.stack(columns, axis=1), people, rng, trainings=seed.to_numpy())


def verdict(assumption: str, comparisons: Sequence[Comparison], level: float = 0.05) -> str:
    """Return ``holds``, ``does not hold`` or ``undecided``.

    Holds: every comparison of the assumption is above 0 with Holm p < level, in both metrics and every seed.
    Does not hold: one of them is significantly below 0. Undecided: anything else.
    """
    mine = [c for c in comparisons if (c.better, c.worse) in ASSUMPTIONS[assumption]]
    signs = [c.estimate.decided(c.p_holm, level) for c in mine]
    if min(signs) > 0:
        return "holds"
    if min(signs) < 0:
        return "does not hold"
    return "undecided"


def explain(assumption: str, comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons behind a verdict: differences, intervals, p-values."""
    mine = [c for c in comparisons if (c.better, c.worse) in ASSUMPTIONS[assumption]]
    return "; ".join(
        f"{c.better} − {c.worse} {c.metric} {c.estimate.value:+.3f} "
        f"[{c.estimate.low:+.3f}, {c.estimate.high:+.3f}] p {c.p_holm:.2g}"
        for c in mine
    )
