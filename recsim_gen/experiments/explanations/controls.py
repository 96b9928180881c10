"""Controls for explanations: without history, with another person's history, and the true reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Episode, Explanation
from recsim_gen.experiments.explanations.shop import Shop
from recsim_gen.experiments.explanations.truth import TrueReasons

SHUFFLED = "shuffled"
"""Suffix of a method that is given another person's history."""


def first_reasons(shop: Shop, episodes: Sequence[Episode]) -> list[Explanation]:
    """Return the first attribute of each item, for everybody: in Boutique its main colour."""
    return [shop.said(e.reference, shop.items.lists[e.reference]) for e in episodes]


def popular_reasons(shop: Shop, episodes: Sequence[Episode]) -> list[Explanation]:
    """Return the attributes over-represented in everybody's choices: as ``counted``, over all of training."""
    everybody = shop.training.items
    worth = {row: shop.excess(everybody, row) for row in {e.reference for e in episodes}}
    return [
        shop.said(e.reference, sorted(worth[e.reference], key=lambda word: -worth[e.reference][word]))
        for e in episodes
    ]


def random_reasons(shop: Shop, episodes: Sequence[Episode], rng: Rng) -> list[Explanation]:
    """Return random attributes of each item."""
    reasons = []
    for e in episodes:
        words = shop.items.lists[e.reference]
        order = rng.for_("random reason", e.id).numpy().permutation(len(words))
        reasons.append(shop.said(e.reference, [words[k] for k in order]))
    return reasons


def true_reasons(shop: Shop, episodes: Sequence[Episode], truth: TrueReasons) -> list[Explanation]:
    """Return what each person truly likes most about each item."""
    return [shop.explanation(e.reference, truth.worths(e)) for e in episodes]


def with_others_histories(episodes: Sequence[Episode], rng: Rng) -> list[Episode]:
    """Give each episode the history of another person among them, at random.

    Each history is used once, except for those skipped because they contain the reference. Raises DataError
    if no other person's history is left.
    """
    order = rng.for_("somebody else").numpy().permutation(len(episodes))
    swapped: list[Episode | None] = [None] * len(episodes)
    for place, row in enumerate(order.tolist()):
        episode = episodes[row]
        others = (episodes[order[(place + step) % len(order)]] for step in range(1, len(order)))
        donor = next((o for o in others if _may_give(o, episode)), None)
        if donor is None:
            raise DataError(
                f"episode {episode.id}: needs another person's history, there is none",
                remedy="Explain the choices of several people",
            )
        swapped[row] = replace(episode, history=donor.history)
    return [e for e in swapped if e is not None]


def _may_give(other: Episode, asked: Episode) -> bool:
    return other.source_user != asked.source_user and asked.reference not in other.history
