"""Tiny data sets whose correct answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsim_gen.core.types import Catalog, Interactions


def catalog(features: dict[str, np.ndarray], n: int | None = None) -> Catalog:
    """Return items ``i0``, ``i1``… with these features."""
    ids = [f"i{i}" for i in range(n or len(next(iter(features.values()))))]
    return Catalog(ids, ids, ids, ids, None, features)


def interactions(choices: list[list[int]], n_items: int) -> Interactions:
    """Return each user's items, oldest first, as interactions: the last is test, the one before valid."""
    user = np.repeat(np.arange(len(choices)), [len(items) for items in choices])
    place = np.concatenate([np.arange(len(items)) for items in choices])
    from_end = np.concatenate([np.arange(len(items))[::-1] for items in choices])
    split = np.select([from_end == 0, from_end == 1], ["test", "valid"], default="train")
    names = [f"u{u}" for u in range(len(choices))]
    return Interactions(
        user, np.concatenate(choices), place.astype(float), np.ones(len(user)), split, names, n_items
    )


def noise(n_users: int = 30, n_items: int = 40, seed: int = 0) -> tuple[Catalog, Interactions]:
    """Return two modalities and 5 to 9 choices per user, all random: nothing to learn."""
    draw = np.random.default_rng(seed)
    features = {"image": draw.standard_normal((n_items, 12)), "text": draw.standard_normal((n_items, 7))}
    choices = [draw.permutation(n_items)[: draw.integers(5, 10)].tolist() for _ in range(n_users)]
    return catalog(features), interactions(choices, n_items)


def checkerboard(size: int = 24, seed: int = 0) -> tuple[Catalog, Interactions]:
    """Return users who choose all but two items of their own colour: even or odd.

    After the test data of the library ``implicit``: every item of the user's own colour that was not chosen
    must rank above every item of the other colour. Features are noise.
    """
    draw = np.random.default_rng(seed)
    choices = []
    for u in range(size):
        own = [i for i in range(size) if i % 2 == u % 2]
        last = [own[(u // 2 + 1) % len(own)], own[u // 2]]
        choices.append([i for i in own if i not in last] + last)
    features = {m: draw.standard_normal((size, d)) for m, d in (("image", 8), ("text", 6))}
    return catalog(features), interactions(choices, size)


def pictures_only(
    seed: int = 0, styles: int = 4, warm: int = 20, cold: int = 20
) -> tuple[Catalog, Interactions]:
    """Return users who each like one style; test items never occur in training: only images identify them.

    ``styles`` groups of ``warm`` items that occur in train rows and ``cold`` ones that only occur in valid
    and test rows; features are the style's direction plus noise. Items of style s are the rows from s·(warm +
    cold), warm ones first.
    """
    draw = np.random.default_rng(seed)
    size = warm + cold
    style = np.repeat(np.arange(styles), size)
    features = {
        m: 2 * np.eye(styles, d)[style] + 0.3 * draw.standard_normal((styles * size, d))
        for m, d in (("image", 10), ("text", 8))
    }
    choices = []
    for u in range(15 * styles):
        start = (u % styles) * size
        train = start + draw.permutation(warm)[:8]
        choices.append([*train.tolist(), *(start + warm + draw.permutation(cold)[:2]).tolist()])
    return catalog(features), interactions(choices, styles * size)


def own_style_wins(ranker: Any, chosen: Interactions, styles: int = 4) -> float:
    """Return how often, in `pictures_only`, a cold item of the user's style scores above one of another."""
    row, users = np.arange(chosen.n_items), np.arange(chosen.n_users)
    never = ~np.isin(row, chosen.only("train")[1])
    own = row // (chosen.n_items // styles) == users[:, None] % styles
    scores = ranker.score(users).numpy()
    wins = [(s[mine & never][:, None] > s[~mine & never]).mean() for s, mine in zip(scores, own, strict=True)]
    return float(np.mean(wins))
