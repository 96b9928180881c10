"""Boutique: a simulated shop whose users' preferences are known, so that claims can be checked.

Items are sampled uniformly from the grid of looks (``boutique.attributes``); their images come from
``boutique.drawing``. User u's utility of item i, of category c in group g with main colour m, second colour s
and pattern p, is

    V(u, i) = category[u, c] + main[u, g, m] + second[u, g, s] + pattern[u, g, p]

with independent normal tastes of mean 0 and standard deviations 0.7, 1.3, 0.4 and 0.9. Tastes in colour and
pattern belong to a *group* of categories, since who wears pink need not want a pink armchair; so similar
items tell more about a choice than others. The user takes, without repetition, the 20 to 40 items (uniform)
with the largest V + ε, where ε is independent standard Gumbel: the multinomial logit model, applied to a
whole basket (Gumbel-top-k).

The standard deviations were fixed once, before any experiment, and are not tuned. The unit is the Gumbel
noise (sd 1.28): colour matters most and about as much as the noise; pattern comes next; categories differ
less, because most people need some of each; the second colour covers less than half the area of the main one,
and counts a third (0.4 of 1.3).

With ``styles``, people's tastes are correlated, as in a real shop: each person belongs to one of so many
styles, and a taste is √½ of the style's plus √½ of the person's own, both drawn as above. The standard
deviations are unchanged, and two people of a style agree with correlation ½. That half was also fixed in
advance.

The order of choices is a random permutation, because sorting by V + ε would let time reveal the taste;
``time`` is the place in it, from 0. The last choice of a user is test, the one before it valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog, Dataset, Interactions
from recsim_gen.datasets.boutique.attributes import (
    CATEGORIES,
    COLOURS,
    GROUP_CODES,
    GROUPS,
    PATTERNS,
    Attributes,
    all_codes,
    codes_of,
)
from recsim_gen.datasets.boutique.images import RenderedImages
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.datasets.splits import leave_last_out

FEWEST_CHOICES, MOST_CHOICES = 20, 40
SD_CATEGORY, SD_MAIN, SD_SECOND, SD_PATTERN = 0.7, 1.3, 0.4, 0.9
SHARED = 0.5  # share of a taste's variance that comes from the style

Looks = Attributes | Sequence[Attributes] | np.ndarray


@dataclass(frozen=True, eq=False)
class World:
    """The ground truth: looks of the items and tastes of the users.

    Parameters
    ----------
    codes
        (n_items, 4) looks.
    category
        (n_users, 12) tastes, in units of utility.
    main, second
        (n_users, 3, 10) tastes; the axis of length 3 is the group.
    pattern
        (n_users, 3, 5) tastes.
    """

    codes: np.ndarray
    category: np.ndarray
    main: np.ndarray
    second: np.ndarray
    pattern: np.ndarray

    @classmethod
    def drawn(cls, n_items: int, n_users: int, rng: Rng, *, styles: int = 0) -> World:
        """Sample a world; items are uniform over the 12 · 10 · 9 · 5 looks.

        ``styles`` is the number of styles that people's tastes are drawn from; 0: tastes of people are
        independent.
        """
        looks = np.concatenate([all_codes(category) for category in CATEGORIES])
        style = rng.for_("style of people").numpy().integers(styles, size=n_users) if styles else None

        def tastes(name: str, sd: float, *shape: int) -> np.ndarray:
            own = sd * rng.for_("taste", name).numpy().standard_normal((n_users, *shape))
            if style is None:
                return own
            of_styles = sd * rng.for_("style", name).numpy().standard_normal((styles, *shape))
            return np.sqrt(SHARED) * of_styles[style] + np.sqrt(1 - SHARED) * own

        return cls(
            codes=looks[rng.for_("items").numpy().integers(len(looks), size=n_items)],
            category=tastes("category", SD_CATEGORY, len(CATEGORIES)),
            main=tastes("main", SD_MAIN, len(GROUPS), len(COLOURS)),
            second=tastes("second", SD_SECOND, len(GROUPS), len(COLOURS)),
            pattern=tastes("pattern", SD_PATTERN, len(GROUPS), len(PATTERNS)),
        )

    def utility(self, user_rows: np.ndarray | int, attributes: Looks) -> np.ndarray:
        """Return the utility V of these looks for these users, without noise.

        ``user_rows`` (…) and ``attributes`` (…) are broadcast against each other: (B,) with (B,) gives (B,)
        pairs, (B, 1) with (m,) gives (B, m). Codes have an additional last axis of 4.
        """
        user, codes = np.asarray(user_rows), codes_of(attributes)
        category, main, second, pattern = np.moveaxis(codes, -1, 0)
        group = GROUP_CODES[category]
        return (
            self.category[user, category]
            + self.main[user, group, main]
            + self.second[user, group, second]
            + self.pattern[user, group, pattern]
        )

    def best_attributes(self, user_row: int, category: str) -> Attributes:
        """Return the look of this category with the user's highest utility, whether in the shop or not."""
        looks = all_codes(category)
        return Attributes.of(looks[self.utility(user_row, looks).argmax()])

    def worst_attributes(self, user_row: int, category: str) -> Attributes:
        """Return the look of this category with the user's lowest utility, whether in the shop or not."""
        looks = all_codes(category)
        return Attributes.of(looks[self.utility(user_row, looks).argmin()])

    def attributes(self, item_row: int) -> Attributes:
        """Return the look of one item of the catalogue."""
        return Attributes.of(self.codes[item_row])


@dataclass(frozen=True, eq=False)
class ShopCatalog(Catalog):
    """The items together with the ``world`` that generated them, which only the oracle generator may read.

    Rankers and all other generators use texts, images and choices only.
    """

    world: World = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class Boutique(Dataset):
    """The data set, the ``world`` that it was sampled from, and the ``chance`` of its choices."""

    world: World = field(kw_only=True)
    chance: Rng = field(kw_only=True)

    def utility(self, user_rows: np.ndarray | int, attributes: Looks) -> np.ndarray:
        """Return the true utility; see ``World.utility``."""
        return self.world.utility(user_rows, attributes)

    def chosen_by(self, utility: np.ndarray) -> Interactions:
        """Return what people would have chosen by another ``utility`` (n_users, n_items), with equal noise.

        Split like the shop's own choices, which are those for V.
        """
        return _interactions(utility, self.chance)


def load(
    *,
    seed: int = 0,  # seed of items, tastes, choices and images
    n_items: int = 2000,  # number of items, 80 or more
    n_users: int = 600,  # number of people, each with 20 to 40 choices
    styles: int = 0,  # number of styles that people's tastes are drawn from; 0: independent tastes
) -> Boutique:
    """Return the shop of this seed; the same seed and sizes give the same bytes.

    Images are drawn when first read (about 10 s for 2,000 items) and cached. Raises SettingError if a size is
    too small.
    """
    if n_items < 2 * MOST_CHOICES or n_users < 1:
        raise SettingError(
            f"Boutique needs at least {2 * MOST_CHOICES} items (a user takes up to {MOST_CHOICES}) and "
            f"1 user, got n_items={n_items}, n_users={n_users}. Raise the smaller one."
        )
    if styles < 0:
        raise SettingError(f"styles must be 0 (tastes are independent) or more, got {styles}")
    rng = Rng(seed).for_("boutique")
    world, chance = World.drawn(n_items, n_users, rng, styles=styles), rng.for_("choices")
    interactions = _interactions(world.utility(np.arange(n_users)[:, None], world.codes), chance)
    alike = f", tastes are of {styles} styles" if styles else ""
    return Boutique(
        name="boutique",
        catalog=_catalog(world, rng),
        interactions=interactions,
        episodes=test_episodes(interactions, interactions.user_ids),
        encoders={"image": "pixels", "text": "words"},
        notes=(f"simulated shop, seed {seed}: tastes are known{alike}, pictures are drawn by code",),
        world=world,
        chance=chance,
    )


def _interactions(utility: np.ndarray, rng: Rng) -> Interactions:
    """Return what people choose by ``utility`` (n_users, n_items), with the noise of this stream."""
    n_users, n_items = utility.shape
    user, item, place = _choices(utility, rng)
    return Interactions(
        user=user,
        item=item,
        time=place,
        weight=np.ones(len(user)),
        split=leave_last_out(user, place),
        user_ids=np.array([f"u{u:04d}" for u in range(n_users)]),
        n_items=n_items,
    )


def _choices(utility: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (m,) user, item and place of every choice, sorted by user and place."""
    n_users = len(utility)
    value = utility + rng.for_("gumbel").numpy().gumbel(size=utility.shape)
    top = np.argpartition(-value, MOST_CHOICES, axis=1)[:, :MOST_CHOICES]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(value, top, 1), axis=1), 1)
    counts = rng.for_("counts").numpy().integers(FEWEST_CHOICES, MOST_CHOICES + 1, size=n_users)
    order = rng.for_("order").numpy().random(top.shape)
    order[np.arange(MOST_CHOICES) >= counts[:, None]] = np.inf
    shuffled = np.take_along_axis(top, np.argsort(order, axis=1), 1)
    user, place = np.nonzero(np.arange(MOST_CHOICES) < counts[:, None])
    return user, shuffled[user, place], place.astype(np.float64)


def _catalog(world: World, rng: Rng) -> ShopCatalog:
    item_ids = np.array([f"i{i:05d}" for i in range(len(world.codes))])
    looks = [Attributes.of(codes) for codes in world.codes]
    templates = rng.for_("captions").numpy().integers(2**31, size=len(looks))
    return ShopCatalog(
        world=world,
        item_ids=item_ids,
        titles=np.array([look.title for look in looks]),
        captions=np.array([look.caption(int(t)) for look, t in zip(looks, templates, strict=True)]),
        categories=np.array([look.category for look in looks]),
        images=RenderedImages(world.codes, item_ids, rng.for_("pictures")),
    )
