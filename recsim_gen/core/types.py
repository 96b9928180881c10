"""The few types that all parts share: frozen, validated when made."""

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
"""What a new image changes: the whole item graph as if built again, or the item's own row only."""


class ImageReader(Protocol):
    """Lazy access to one picture per catalogue row."""

    @property
    def present(self) -> NDArray[Any]:
        """(n,) bool: rows that have a picture."""

    def read(self, row: int) -> Image.Image:
        """The picture as RGB. Raises DataError (file, remedy) where it cannot be decoded."""

    @property
    def fingerprint(self) -> str:
        """Hash that changes when any picture changes."""


def _strings(name: str, values: Sequence[str] | NDArray[Any], n: int | None = None) -> NDArray[Any]:
    array = np.asarray(values, dtype=str)
    if array.ndim != 1 or (n is not None and len(array) != n):
        raise DataError(f"{name} must have shape ({'n' if n is None else n},), got {array.shape}")
    return array


@dataclass(frozen=True, eq=False)
class Catalog:
    """The items. Row i of everything belongs to ``item_ids[i]``.

    Fields: ``item_ids`` (n,) unique str; ``titles``, ``captions``, ``categories`` (n,) str;
    ``images`` a lazy reader or None; ``features`` {modality: (n, d) float32, finite}, arrays or, of many
    items, `MappedRows`, which are read from a file by rows; ``encoders`` {modality: what made its features,
    as of --encoders}, where that is known.
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
        """Hash of ids, text, pictures and features."""
        images = None if self.images is None else self.images.fingerprint
        text = [self.item_ids, self.titles, self.captions, self.categories]
        return fingerprint(text, images, dict(self.features))

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Row of each item id."""
        return {item: row for row, item in enumerate(self.item_ids.tolist())}

    def encoder_of(self, modality: str) -> str:
        """Return what made the features of ``modality``, as of --encoders.

        Raises DataError where there are no such features, or where the catalogue does not say.
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
        """Raise DataError unless ``encoder`` (as of --encoders) made the features of ``modality``.

        Features of two encoders may be equally wide, and mean nothing to each other.
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

        ``encoder`` is what made ``x``, as of --encoders. With all rows replaced the catalogue says so, or,
        where it is not given, no longer says what made them. Raises DataError when the width is not the
        one the catalogue has, and when some rows are of another encoder than the others.
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
    if isinstance(array, MappedRows):  # checked when they were written
        return array
    bad = ~np.isfinite(array).all(1)
    if bad.any():
        raise DataError(f"features[{modality!r}] must be finite, got NaN or infinity", row=int(bad.argmax()))
    array = array.view()  # the caller's own array stays writable
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who chose what, when, in which split; m rows.

    ``user`` and ``item`` (m,) int64 are rows of ``user_ids`` and of the catalogue; ``time`` and
    ``weight`` (m,) float64; ``split`` (m,) one of train, valid, test. A pair stands once.
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
        """Number of users, those without a row included."""
        return len(self.user_ids)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all rows."""
        columns = [self.user, self.item, self.time, self.weight, self.split]
        return fingerprint(columns, self.user_ids, self.n_items)

    def only(self, *splits: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """(user, item) rows of these splits."""
        keep = np.isin(self.split, splits)
        return self.user[keep], self.item[keep]

    def with_split(self, split: NDArray[Any]) -> Interactions:
        """The same interactions, split otherwise."""
        return replace(self, split=split)


@dataclass(frozen=True)
class Episode:
    """One history and the reference that follows it; items are catalogue rows, oldest first.

    The paper cuts MovieLens users into 20-item sequences and calls each a "user": an episode is
    that, ``user`` is its row among ``Interactions.user_ids``, ``source_user`` the person.
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
    """What is said of an item to one person.

    ``named`` are the attributes that the reason names, in lower case, the strongest first, () where no reason
    was found; ``caption`` describes the item, ``reason`` says why they would like it.
    """

    named: tuple[str, ...]
    caption: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a loader gives: items, choices, test episodes, and what was counted on the way.

    ``encoders`` names the default encoder of each modality; ``notes`` are sentences for reports
    ("225 films without poster: mean feature"). ``people`` (n_users,) str: the person behind each user,
    several users' where a sequence was cut; none given: each user is a person of their own.
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
    """Somebody or something to be drawn: its ``name``, what it is (``noun``: wren, bag), and pictures of it.

    ``images`` are RGB. Raises DataError where there are none.
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
    """Generated images and where they come from.

    ``pixels`` (B, 3, H, W) float32 RGB in [0, 1]; ``episode`` (B,) ids, ``item`` (B,) catalogue
    rows, ``seed`` (B,) ints; ``generator`` its name.
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
    """What people would think of B things: ``mean`` and standard deviation ``sd`` (B,), in units of score."""

    mean: NDArray[Any]
    sd: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """What a ranker says of items if they looked otherwise, each judged alone; arrays (B,).

    ``score`` and ``rank`` with the new image, ``original_score`` and ``original_rank`` with the
    item's own; ranks are 1-based among the items that the user has not chosen yet, ties averaged.
    ``touched``: items whose row changed, 0 where the ranker is blind. ``gap``: cosine between the
    item's last neighbour and the next (how near its list is to another), NaN without a graph.
    """

    scope: str
    score: NDArray[Any]
    rank: NDArray[Any]
    original_score: NDArray[Any]
    original_rank: NDArray[Any]
    touched: NDArray[Any]
    gap: NDArray[Any]


Reading = Literal["corrected", "literal"]
