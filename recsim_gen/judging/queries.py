"""Large numbers of (user, item, image) queries to rankers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.processes import Team
from recsim_gen.core.progress import bar, quietly
from recsim_gen.core.types import Catalog, Counterfactual, Dataset, Scope
from recsim_gen.datasets.image_sets import ImageSet, read_images

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Ranker

MODALITY = "image"
CHUNK = 4096  # triples per call of a ranker, for which their features are copied


@dataclass(frozen=True, eq=False)
class Triples:
    """B queries (user, item, image) on k images.

    An image shown to many users is encoded and stored once.

    Parameters
    ----------
    users, items
        (B,) rows.
    which
        (B,) rows of ``features``.
    features
        (k, d) float32, made by the catalogue's image encoder.
    encoder
        Encoder that made them, as for --encoders.image; None for features that no encoder made.
    """

    users: np.ndarray
    items: np.ndarray
    which: np.ndarray
    features: np.ndarray
    encoder: str | None = None

    def __len__(self) -> int:
        return len(self.users)

    def check(self, dataset: Dataset, catalog: Catalog) -> None:
        """Raise DataError unless all rows exist, and the features are finite and match the catalogue's.

        They match if they were made by the same encoder and have the same width.
        """
        sizes = {"users": dataset.interactions.n_users, "items": len(catalog), "which": len(self.features)}
        for name, size in sizes.items():
            rows = getattr(self, name)
            if rows.shape != self.users.shape or rows.ndim != 1 or len(rows) == 0:
                raise DataError(f"{name} must be (B,) with B > 0 as users are, got {rows.shape}")
            if rows.min() < 0 or rows.max() >= size:
                raise DataError(f"{name} must be rows in [0, {size}), got {rows.min()}…{rows.max()}")
        if self.encoder is not None:
            catalog.check_encoder(MODALITY, self.encoder)
        width = catalog.features[MODALITY].shape[1]
        if self.features.ndim != 2 or self.features.shape[1] != width:
            raise DataError(
                f"image features must be (k, {width}), as the catalogue's, got {self.features.shape}",
                remedy="Were they made by another encoder?",
            )
        bad = ~np.isfinite(self.features).all(1)
        if bad.any():
            raise DataError("image features must be finite, got NaN or infinity", row=int(bad.argmax()))


def triples_of(
    images: str | Path | ImageSet,
    dataset: Dataset,
    catalog: Catalog,
    *,
    users: Sequence[str] | None = None,
    device: str = "cpu",
) -> Triples:
    """Return the triples of a folder or tar of images (see `image_sets`), encoded like ``catalog``.

    Features are cached by content.

    Parameters
    ----------
    images
        Folder, tar, or images read from one.
    dataset
        The data that users and items belong to.
    catalog
        Items with image features; the images are encoded by the same encoder.
    users
        User ids for images without a user; default: the users whose test reference is the item.
    device
        Device of the encoder.

    Raises
    ------
    DataError
        As `read_images`, for an image that cannot be decoded, and if the catalogue does not record its
        encoder.
    """
    encoder = catalog.encoder_of(MODALITY)
    image_set = images if isinstance(images, ImageSet) else read_images(images, dataset)
    users_of, items, image = image_set.pairs(dataset, users)
    features, which = encoded(image_set, image, encoder, device)
    return Triples(users_of, items, which, features, encoder)


def encoded(
    images: ImageSet, which: np.ndarray, encoder: str, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features (k, d) float32 of the images ``which`` (B,), and the feature row of each (B,).

    Each image is encoded once.
    """
    from recsim_gen.encoders.features import encode_reader

    used, place = np.unique(which, return_inverse=True)
    pictures = images.only(used).reader
    return encode_reader(pictures, encoder, device=device), place


def ask(
    ranker: Ranker, triples: Triples, *, scope: Scope = "graph", what: str = "substitution"
) -> Counterfactual:
    """Return the ranker's answer to each triple; computed in chunks to bound the memory.

    Inside `working_together` the processes share the chunks, and each returns all answers.

    Parameters
    ----------
    ranker
        A trained ranker.
    triples
        (B,) triples of user, item and image features.
    scope
        As for `Ranker.substitute`.
    what
        Label of the progress bar.

    Returns
    -------
    Counterfactual
        (B,) scores and ranks with the new features and with the item's own.
    """
    team, parts = Team(), []
    size = min(CHUNK, -(-len(triples) // team.count))
    starts = range(0, len(triples), size)[team.index :: team.count]
    own = sum(len(triples.users[start : start + size]) for start in starts)
    with quietly(not team.is_main_process), bar(what=what, total=own, unit="triple") as progress:
        for start in starts:
            at = slice(start, start + size)
            x = {MODALITY: triples.features[triples.which[at]]}
            parts.append((start, ranker.substitute(triples.users[at], triples.items[at], x, scope)))
            progress.update(len(triples.users[at]))
    return joined([answer for _, answer in sorted(team.gathered(parts), key=itemgetter(0))])


def joined(parts: Sequence[Counterfactual]) -> Counterfactual:
    """Concatenate counterfactuals of the same scope."""

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return Counterfactual(
        parts[0].scope,
        score=column("score"),
        rank=column("rank"),
        original_score=column("original_score"),
        original_rank=column("original_rank"),
        touched=column("touched"),
        gap=column("gap"),
    )
