"""New features of the replaced items, from images, and the controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np

from recsim_gen.artifacts.drawn_images import read_provenance
from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.core.vectors import unit
from recsim_gen.datasets.image_sets import ANY, ImageSet
from recsim_gen.experiments.auxiliary.conditions import Conditions, assert_strict
from recsim_gen.judging.controls import noise_features, shuffled_rows
from recsim_gen.judging.queries import MODALITY, encoded
from recsim_gen.judging.variants import has_image

Rule = Literal["mean", "latest", "vote"]
ORIGINAL, PLACEBO, SHUFFLED, MEAN, NOISE = "original", "placebo", "shuffled", "mean_feature", "noise"


def is_control(variant: str) -> bool:
    """Return whether this is the name of a control."""
    return variant in (ORIGINAL, PLACEBO, SHUFFLED, MEAN, NOISE) or variant.startswith(f"{SHUFFLED}_")


@dataclass(frozen=True, eq=False)
class NewFeatures:
    """``x`` (k, d) float32 for the items at ``place`` (k,), increasing positions among `Conditions.items`."""

    place: np.ndarray
    x: np.ndarray

    def first(self, count: int) -> NewFeatures:
        """Return the features of the first ``count`` items."""
        keep = self.place < count
        return NewFeatures(self.place[keep], self.x[keep])


def features_of(
    images: ImageSet,
    conditions: Conditions,
    encoder: str,
    dataset: Dataset,
    *,
    rule: Rule = "mean",
    device: str = "cpu",
    of_nobody: bool = False,
) -> NewFeatures:
    """Return one feature for each item of the conditions that has an image among ``images``.

    An image for the same user is preferred to one for the item; several images of an item are combined by
    `aggregate`. Under ``strict`` *all* images must have been made for training pairs or for no user, see
    `assert_strict_images`. Raises DataError also if the images show none of the items.
    """
    if conditions.leakage == "strict":
        assert_strict_images(images, dataset, of_nobody=of_nobody)
    image = images.find(conditions.users, conditions.items[conditions.place])
    at = np.flatnonzero(image >= 0)
    if not len(at):
        raise DataError(
            f"pictures of the {len(conditions.items):,} items to replace are wanted, got none of them",
            file=images.members[0].file,
            remedy="Name them <item id>.png, with the ids of --data",
        )
    x, which = encoded(images, image[at], encoder, device)
    place = conditions.place[at]
    return NewFeatures(np.unique(place), aggregate(x[which], place, rule))


def assert_strict_images(images: ImageSet, dataset: Dataset, *, of_nobody: bool = False) -> None:
    """Raise DataError unless every image was made for a training pair or, as the option says, for no user.

    Checked on the files themselves: the user given by a name or manifest, and the user and item stored inside
    an image drawn here, whatever its name. If neither is known, ``of_nobody`` must state that these are real
    images.
    """
    inside = [read_provenance(BytesIO(member.read())) for member in images.members]
    users = {name: row for row, name in enumerate(dataset.interactions.user_ids.tolist())}
    items = dataset.catalog.row_of
    present = [made for made in inside if made is not None]
    for made in present:
        if made.user not in users or made.item not in items:
            raise DataError(
                f"leakage strict: a picture made for user {made.user!r} and item {made.item!r} was brought, "
                "and the data does not have both",
                remedy="Draw pictures for these data",
            )
    named = images.user != ANY
    by_name = np.stack([images.user[named], images.item[named]], axis=1)
    by_content = np.array([(users[made.user], items[made.item]) for made in present], dtype=np.int64)
    assert_strict(np.concatenate([by_name, by_content.reshape(-1, 2)]), dataset.interactions)
    unknown = np.flatnonzero(~named & np.array([made is None for made in inside]))
    if len(unknown) and not of_nobody:
        raise DataError(
            f"leakage strict: the user that a picture was made for must be known; neither name nor content "
            f"gives it for {len(unknown):,} of {len(images):,}",
            file=images.members[unknown[0]].file,
            remedy="Name them <user id>/<item id>.png, or bring their manifest.json; if they are real "
            "pictures, made for no user, say --placebo-is-real",
        )


def aggregate(x: np.ndarray, group: np.ndarray, rule: Rule) -> np.ndarray:
    """Return (g, d) one feature for each group of ``x`` (B, d), by increasing ``group`` (B,); oldest first.

    ``mean`` of the features; ``latest``: the last of the group; ``vote``: each image gives every other image
    of its group their cosine, and the image with the largest sum is selected, the latest if tied: the one
    most similar to the others, never a mixture.
    """
    order = np.argsort(group, kind="stable")
    x, (_, start, size) = x[order], np.unique(group[order], return_index=True, return_counts=True)
    if rule == "mean":
        sums = np.add.reduceat(x, start, axis=0, dtype=np.float64)
        return (sums / size[:, None]).astype(np.float32)
    last = start + size - 1
    return x[last] if rule == "latest" else x[_most_liked(x, start, size)]


def _most_liked(x: np.ndarray, start: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the (g,) row of each group's winner of ``vote``."""
    own = unit(x).astype(np.float64)
    others = np.repeat(np.add.reduceat(own, start, axis=0), size, axis=0) - own
    votes = np.round((own * others).sum(1), 9)  # rounded, so that ties between two images are exact
    group = np.repeat(np.arange(len(size)), size)
    return np.lexsort((np.arange(len(x)), votes, group))[start + size - 1]


def replacements(
    catalog: Catalog,
    conditions: Conditions,
    drawn: Mapping[str, NewFeatures],
    *,
    fraction: float,
    seed: int,
) -> dict[str, Catalog]:
    """Return the catalogue of every variant in which the first ``fraction`` of the items have new features.

    ``drawn`` has the features of each generator and, if there are other real images, of ``placebo``. Controls
    on the same items: ``shuffled``, a generator's features permuted among the items (``shuffled_NAME`` for
    several generators; the items' own features without any); ``mean_feature``, the catalogue's mean;
    ``noise`` as in `controls.noise_features`. Random controls use ``seed``.
    """
    x, present, count = catalog.features[MODALITY], has_image(catalog), conditions.first(fraction)
    items = conditions.items[:count]
    if count < 2:
        raise DataError(
            f"at least 2 items must be replaced, got {fraction:g} of {len(conditions.items)}",
            remedy="Raise --items or --fraction",
        )
    part = {name: new.first(count) for name, new in drawn.items()}
    made = {name: new for name, new in part.items() if name != PLACEBO}
    shuffled = made or {ORIGINAL: NewFeatures(np.arange(count), x[items])}
    for name, new in shuffled.items():
        called = SHUFFLED if len(shuffled) == 1 else f"{SHUFFLED}_{name}"
        part[called] = NewFeatures(new.place, new.x[_moved(len(new.x), seed)])
    mean = x[present].mean(0, dtype=np.float64).astype(np.float32)
    part[MEAN] = NewFeatures(np.arange(count), np.broadcast_to(mean, (count, len(mean))))
    part[NOISE] = NewFeatures(np.arange(count), noise_features(x, present, Rng(seed))[items])
    return {name: catalog.with_features(MODALITY, items[new.place], new.x) for name, new in part.items()}


def _moved(count: int, seed: int) -> np.ndarray:
    """Return a (count,) permutation without fixed points."""
    return shuffled_rows(np.ones(count, dtype=bool), Rng(seed))
