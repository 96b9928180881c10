"""A log in which people chose by the images that the shop showed, for the auxiliary experiment.

In the shop's own log people chose by the items' own images, so other images in their place can only give a
ranker less information. Here the shop shows the new images first: of a replaced item a person sees the image
drawn for them or, if there is none, a random one of the item's other images; of other items its own. They
choose again by what they see, with the same noise. Then the ranker is trained on this log, once with the
images shown and once with the items' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.boutique.world import Boutique
from recsim_gen.datasets.image_sets import ANY
from recsim_gen.experiments.auxiliary.features import ORIGINAL
from recsim_gen.experiments.auxiliary.training import Case, by_popularity, cases, measured, retrained

if TYPE_CHECKING:
    from recsim_gen.core.protocols import OnEpoch
    from recsim_gen.core.specs import RankerSpec
    from recsim_gen.core.types import Catalog, Dataset, Interactions
    from recsim_gen.datasets.image_sets import ImageSet
    from recsim_gen.experiments.auxiliary.training import Drawn
    from recsim_gen.experiments.simulation.world import World

READ_AT_ONCE = 256  # images in memory at once
PEOPLE_AT_ONCE = 256


def known_shop(dataset: Dataset) -> Boutique:
    """Return the data set if its true preferences are known; SettingError otherwise."""
    if not isinstance(dataset, Boutique):
        raise SettingError(
            f"--world shown: people choose again by what they see, and the preferences of the "
            f"people of {dataset.name} are unknown. Use --data boutique"
        )
    return dataset


def shown_log(dataset: Boutique, world: World, images: ImageSet, items: np.ndarray) -> Interactions:
    """Return what people would have chosen if the shop had shown these images of ``items`` (m,) rows.

    Items without an image show their own.
    """
    order = np.argsort(images.item, kind="stable")
    order = order[np.isin(images.item[order], items)]
    looks = np.concatenate(
        [
            world.read([images.reader.read(row) for row in order[start : start + READ_AT_ONCE].tolist()])
            for start in range(0, len(order), READ_AT_ONCE)
        ]
    )
    replaced, first, size = np.unique(images.item[order], return_index=True, return_counts=True)
    n_users = dataset.interactions.n_users
    picture = first + (Rng(0).for_("shown").numpy().random((n_users, len(replaced))) * size).astype(np.int64)
    whose = images.user[order]
    own = np.flatnonzero(whose != ANY)
    picture[whose[own], np.searchsorted(replaced, images.item[order][own])] = own
    utility = np.empty((n_users, len(dataset.catalog)))
    real = world.looks(np.arange(len(dataset.catalog)))
    for start in range(0, n_users, PEOPLE_AT_ONCE):
        people = np.arange(start, min(start + PEOPLE_AT_ONCE, n_users))
        utility[people] = _liked(world, people, np.broadcast_to(real, (len(people), *real.shape)))
        utility[np.ix_(people, replaced)] = _liked(world, people, looks[picture[people]])
    return dataset.chosen_by(utility)


def _liked(world: World, people: np.ndarray, looks: np.ndarray) -> np.ndarray:
    """Return (P, m) the utility of looks (P, m, k) for people (P,)."""
    count = looks.shape[1]
    return world.utility(np.repeat(people, count), looks.reshape(-1, looks.shape[2])).reshape(-1, count)


def shown_values(
    spec: RankerSpec | str,
    catalog: Catalog,
    policies: Sequence[Drawn],
    fractions: Sequence[float],
    log_of: Callable[[str, str, np.ndarray], Interactions],
    *,
    seeds: Sequence[int],
    cold: int,
    device: str = "cpu",
    on_epoch: Callable[[int, Case], OnEpoch] | None = None,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Train on each generator's log with the images shown and with the items' own; yield the measures.

    ``log_of`` (generator, policy, items (m,)) returns the log in which its images of these items were shown.
    Yields, for each generator, policy and fraction, the generator's name and the columns of
    `auxiliary.training.measured`, as in the original world.
    """
    for conditions, drawn in policies:
        for fraction in fractions:
            items = conditions.items[: conditions.first(fraction)]
            for name, features in drawn.items():
                log = log_of(name, conditions.leakage, items)
                groups, frames = by_popularity(log, cold), []
                for seed in seeds:
                    every = cases(catalog, [(conditions, {name: features})], [fraction], seed)
                    two = {case: c for case, c in every.items() if case.variant in (ORIGINAL, name)}
                    curve = None if on_epoch is None else _with_seed(on_epoch, seed)
                    for case, ranker in retrained(spec, two, log, seed=seed, device=device, on_epoch=curve):
                        frames.append(measured(case, ranker, groups, seed))
                if frames:  # on the main process
                    yield name, pd.concat(frames, ignore_index=True)


def _with_seed(on_epoch: Callable[[int, Case], OnEpoch], seed: int) -> Callable[[Case], OnEpoch]:
    return lambda case: on_epoch(seed, case)
