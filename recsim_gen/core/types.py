"""Types that all parts share: frozen, and validated on creation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recsim_gen.core.errors import DataError
from recsim_gen.core.store import fingerprint
from recsim_gen.core.vectors import MappedRows

if TYPE_CHECKING:
    import torch
    from PIL import Image

SPLITS = ("train", "valid", "test")

Scope = Literal["graph", "item"]
"""What a new image changes: the whole item graph, as if rebuilt, or the item's own row only."""


class ImageReader(Protocol):
    """Lazy access to one image per catalogue row."""

    @property
    def present(self) -> NDArray[Any]:
        """(n,) bool: rows that have an image."""

    def read(self, row: int) -> Image.Image:
        """Return the image as RGB; raise DataError (file, remedy) if it cannot be decoded."""

    @property
    def fingerprint(self) -> str:
        """Hash that changes if any image changes."""


def _strings(name: str, values: Sequence[str] | NDArray[Any], n: int | None = None) -> NDArray[Any]:
    array = np.asarray(values, dtype=str)
    if array.ndim != 1 or (n is not None and len(array) != n):
        raise DataError(f"{name} must have shape ({'n' if n is None else n},), got {array.shape}")
    return array


@dataclass(frozen=True, eq=False)
class Catalog:
    """The items; row i of every field belongs to ``item_ids[i]``.

    Parameters
    ----------
    item_ids
        (n,) unique str.
    titles, captions, categories
        (n,) str.
    images
        A lazy reader, or None.
    features
        {modality: (n, d) float32, finite}: arrays, or, of many items, `MappedRows`, whose rows are read from
        a file.
    encoders
        {modality: encoder of its features, as for --encoders}, if it is known.
    """

    item_ids: NDArray[Any]
    titles: NDArray[Any]
    captions: NDArray[Any]
    categories: NDArray[Any]
    images: ImageReader | None = None
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    encoders: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = _strings("item_ids", self.item_ids)
        object.__setattr__(self, "item_ids", ids)
        for name in ("titles", "captions", "categories"):
            object.__setattr__(self, name, _strings(name, getattr(self, name), len(ids)))
        unique, counts = np.unique(ids, return_counts=True)
        if len(unique) < len(ids):
            raise DataError(f"item_ids must be unique, got {str(unique[counts > 1][0])!r} twice")
        features = {m: _features(m, x, len(ids)) for m, x in self.features.items()}
        object.__setattr__(self, "features", MappingProxyType(features))

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of ids, texts, images and features."""
        images = None if self.images is None else self.images.fingerprint
        text = [self.item_ids, self.titles, self.captions, self.categories]
        return fingerprint(text, images, dict(self.features))

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Row of each item id."""
        return {item: row for row, item in enumerate(self.item_ids.tolist())}

    def encoder_of(self, modality: str) -> str:
        """Return the encoder of the features of ``modality``, as for --encoders.

        Raises DataError if there are no such features, or if the catalogue does not record their encoder.
        """
        if modality not in self.features:
            raise DataError(f"{modality} features are wanted, got features of {sorted(self.features)}")
        if modality not in self.encoders:
            raise DataError(
                f"the catalogue does not say which encoder made its {modality} features, and others must be "
                "made by the same",
                remedy=f"Say it: catalog.with_features({modality!r}, None, x, encoder=NAME)",
            )
        return self.encoders[modality]

    def check_encoder(self, modality: str, encoder: str) -> None:
        """Raise DataError unless ``encoder`` (as for --encoders) made the features of ``modality``.

        Features of two encoders may have equal widths, but are not comparable.
        """
        own = self.encoder_of(modality)
        if encoder != own:
            raise DataError(
                f"{modality} features must be made by {own!r}, as the catalogue's, got some of {encoder!r}",
                remedy=f"Make them by {own!r}, or encode the catalogue by {encoder!r} and train on that",
            )

    def with_features(
        self, modality: str, rows: NDArray[Any] | None, x: NDArray[Any], *, encoder: str | None = None
    ) -> Catalog:
        """Return a catalogue whose ``modality`` has ``x`` (len(rows), d) at ``rows`` (None: all rows).

        ``encoder`` made ``x``, as for --encoders. If all rows are replaced, the catalogue records it, or no
        longer records any if it is not given. Raises DataError if the width is not the catalogue's, and if
        some rows come from another encoder than the others.
        """
        encoders = dict(self.encoders)
        if rows is None:
            new = x if isinstance(x, MappedRows) else np.array(x, dtype=np.float32)
            encoders.pop(modality, None)
            if encoder is not None:
                encoders[modality] = encoder
        else:
            if modality not in self.features:
                raise DataError(f"no features {modality!r} to replace rows of; have {sorted(self.features)}")
            if encoder is not None:
                self.check_encoder(modality, encoder)
            new = self.features[modality].copy()
            if np.shape(x) != (len(rows), new.shape[1]):
                raise DataError(
                    f"features must be ({len(rows)}, {new.shape[1]}), got {np.shape(x)}",
                    remedy="Were they made by another encoder?",
                )
            new[rows] = x
        return replace(self, features={**self.features, modality: new}, encoders=encoders)


def _features(modality: str, x: Any, n: int) -> NDArray[Any]:
    array = x if isinstance(x, MappedRows) else np.ascontiguousarray(x, dtype=np.float32)
    if array.ndim != 2 or len(array) != n or array.shape[1] == 0:
        raise DataError(f"features[{modality!r}] must be ({n}, d), got {array.shape}")
    if isinstance(array, MappedRows):  # validated when they were written
        return array
    bad = ~np.isfinite(array).all(1)
    if bad.any():
        raise DataError(f"features[{modality!r}] must be finite, got NaN or infinity", row=int(bad.argmax()))
    array = array.view()  # the caller's own array stays writable
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Interactions:
    """Choices of users, with time and split; m rows.

    Parameters
    ----------
    user, item
        (m,) int64 rows of ``user_ids`` and of the catalogue; no pair occurs twice.
    time, weight
        (m,) float64.
    split
        (m,) train, valid or test.
    user_ids
        (n_users,) str.
    n_items
        Number of items of the catalogue.
    """

    user: NDArray[Any]
    item: NDArray[Any]
    time: NDArray[Any]
    weight: NDArray[Any]
    split: NDArray[Any]
    user_ids: NDArray[Any]
    n_items: int

    def __post_init__(self) -> None:
        m = len(self.user)
        kinds = {"user": np.int64, "item": np.int64, "time": np.float64, "weight": np.float64}
        for name, kind in kinds.items():
            array = np.asarray(getattr(self, name), dtype=kind)
            if array.shape != (m,):
                raise DataError(f"{name} must be ({m},), got {array.shape}")
            object.__setattr__(self, name, array)
        object.__setattr__(self, "split", _strings("split", self.split, m))
        object.__setattr__(self, "user_ids", _strings("user_ids", self.user_ids))
        self._check(m)

    def _check(self, m: int) -> None:
        unknown = set(np.unique(self.split).tolist()) - set(SPLITS)
        if unknown:
            raise DataError(f"split must be one of {SPLITS}, got {sorted(unknown)}")
        if m == 0:
            raise DataError("interactions must have at least one row, got none")
        for name, size in (("user", len(self.user_ids)), ("item", self.n_items)):
            array = getattr(self, name)
            if array.min() < 0 or array.max() >= size:
                raise DataError(f"{name} rows must be in [0, {size}), got {array.min()}…{array.max()}")
        pairs = self.user * self.n_items + self.item
        if len(np.unique(pairs)) < m:
            raise DataError("a (user, item) pair stands more than once")

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_users(self) -> int:
        """Number of users, including those without a row."""
        return len(self.user_ids)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all rows."""
        columns = [self.user, self.item, self.time, self.weight, self.split]
        return fingerprint(columns, self.user_ids, self.n_items)

    def only(self, *splits: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the (user, item) rows of these splits."""
        keep = np.isin(self.split, splits)
        return self.user[keep], self.item[keep]

    def with_split(self, split: NDArray[Any]) -> Interactions:
        """Return the same interactions with another split."""
        return replace(self, split=split)


@dataclass(frozen=True)
class Episode:
    """A history and the reference that follows it; items are catalogue rows, oldest first.

    The paper cuts MovieLens users into sequences of 20 items and calls each a "user": an episode is such a
    sequence, ``user`` is its row in ``Interactions.user_ids``, and ``source_user`` the person.
    """

    id: str
    user: int
    source_user: str
    history: tuple[int, ...]
    reference: int

    def __post_init__(self) -> None:
        if not self.history:
            raise DataError(f"episode {self.id}: history must have at least one item, got none")
        if self.reference in self.history:
            raise DataError(f"episode {self.id}: the reference (row {self.reference}) is in its history")


@dataclass(frozen=True)
class Explanation:
    """An explanation of an item for one user.

    Parameters
    ----------
    named
        Attributes that the reason names, in lower case, strongest first; () if no reason was found.
    caption
        Description of the item.
    reason
        Why the user would like it.
    """

    named: tuple[str, ...]
    caption: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """The output of a loader.

    Parameters
    ----------
    name
        Name of the data set.
    catalog, interactions
        Items and choices.
    episodes
        Test episodes.
    encoders
        {modality: default encoder}.
    notes
        Sentences for reports ("225 films without poster: mean feature").
    people
        (n_users,) str: the person behind each user, the same for several users if a sequence was cut;
        default: each user is a separate person.
    """

    name: str
    catalog: Catalog
    interactions: Interactions
    episodes: tuple[Episode, ...]
    encoders: Mapping[str, str]
    notes: tuple[str, ...] = ()
    people: NDArray[Any] = field(default_factory=lambda: np.zeros(0, dtype=str))

    def __post_init__(self) -> None:
        given = self.people if len(self.people) else self.interactions.user_ids
        people = _strings("people, one a user,", given, self.interactions.n_users)
        object.__setattr__(self, "people", people)
        person = people.tolist()
        for e in self.episodes:
            if person[e.user] != e.source_user:
                raise DataError(
                    f"episode {e.id}: source_user must be who is behind its user, {person[e.user]!r}, "
                    f"got {e.source_user!r}",
                    remedy="Give people, the person behind each user",
                )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of catalogue, interactions and episodes."""
        episodes = [[e.id, e.user, e.source_user, e.history, e.reference] for e in self.episodes]
        return fingerprint(self.catalog.fingerprint, self.interactions.fingerprint, episodes)


@dataclass(frozen=True, eq=False)
class Subject:
    """A subject to be drawn: its ``name``, what it is (``noun``: wren, bag), and RGB ``images`` of it.

    Raises DataError if there are no images.
    """

    name: str
    noun: str
    images: tuple[Image.Image, ...]

    def __post_init__(self) -> None:
        if not self.images:
            raise DataError(f"subject {self.name!r}: pictures of it are wanted, got none")

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of name, noun and all pixels."""
        return fingerprint(self.name, self.noun, [np.asarray(image) for image in self.images])


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Generated images and their origin.

    Parameters
    ----------
    pixels
        (B, 3, H, W) float32 RGB in [0, 1].
    episode
        (B,) episode ids.
    item
        (B,) catalogue rows.
    seed
        (B,) ints.
    generator
        Name of the generator.
    """

    pixels: torch.Tensor
    episode: NDArray[Any]
    item: NDArray[Any]
    seed: NDArray[Any]
    generator: str

    def __post_init__(self) -> None:
        shape = tuple(self.pixels.shape)
        if len(shape) != 4 or shape[1] != 3:
            raise DataError(f"pixels must be (B, 3, H, W), got {shape}")
        for name in ("episode", "item", "seed"):
            if len(getattr(self, name)) != shape[0]:
                raise DataError(f"{name} must have {shape[0]} rows, got {len(getattr(self, name))}")
        if shape[0] and not (float(self.pixels.min()) >= 0 and float(self.pixels.max()) <= 1):
            low, high = float(self.pixels.min()), float(self.pixels.max())
            raise DataError(f"pixels must be in [0, 1], got [{low:.3g}, {high:.3g}]")


class Appraisal(NamedTuple):
    """Predicted scores of B items: ``mean`` and standard deviation ``sd`` (B,), in units of the score."""

    mean: NDArray[Any]
    sd: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A ranker's answer for items with other features, each alone; arrays are (B,).

    Parameters
    ----------
    scope
        graph or item, see `Scope`.
    score, rank
        With the new features. Ranks are 1-based among the items that the user has not chosen yet, ties
        averaged.
    original_score, original_rank
        With the item's own features.
    touched
        Number of items whose row changed; 0 if the ranker does not use features.
    gap
        Difference in cosine between the item's last neighbour and the next item, the smallest of all graphs:
        how near its lists are to others; NaN without a graph.
    """

    scope: str
    score: NDArray[Any]
    rank: NDArray[Any]
    original_score: NDArray[Any]
    original_rank: NDArray[Any]
    touched: NDArray[Any]
    gap: NDArray[Any]


Reading = Literal["corrected", "literal"]
