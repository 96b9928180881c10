"""Queries to a gallery: generated images from folders or a CSV, and held-out real images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import did_you_mean
from recsim_gen.datasets.files.images import ImageFiles
from recsim_gen.datasets.files.tables import column_names, read_table
from recsim_gen.datasets.gallery import Gallery
from recsim_gen.datasets.gallery_layouts import FILE, LabelledImages, column_of, read_layout, table_of

METHOD = ("method", "generator", "variant")
REAL, RANDOM = "real", "random"
RESERVED = frozenset({REAL, RANDOM})
"""Names of the ceiling and the floor; a method cannot use them."""


@dataclass(frozen=True, eq=False)
class Queries:
    """k generated images of one source; ``identity`` (k,) as in the gallery, ``method`` (k,)."""

    labelled: LabelledImages
    identity: np.ndarray
    method: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)

    @property
    def files(self) -> np.ndarray:
        """(k,) str: path of each image inside its source."""
        return np.array([member.stem for member in self.labelled.members], dtype=str)

    @cached_property
    def reader(self) -> ImageFiles:
        """Reader of the images; row k is image k."""
        return ImageFiles(self.labelled.members, self.files)

    def of(self, gallery: Gallery) -> Queries:
        """Return the queries whose identity is in ``gallery``."""
        rows = np.flatnonzero(np.isin(self.identity, gallery.identity))
        members = tuple(self.labelled.members[row] for row in rows.tolist())
        return Queries(replace(self.labelled, members=members), self.identity[rows], self.method[rows])


def read_queries(source: str | Path, gallery: Gallery) -> Queries:
    """Return the generated images in ``PATH`` or ``NAME=PATH``; their identity is given by their path.

    ``PATH`` is a folder or tar ``[<group>/]<identity>/<picture>``, or a CSV with columns file and identity,
    optionally group, and optionally method (or generator, variant) if it has several methods. Otherwise the
    method is ``NAME``, or the name of the folder or file. Raises DataError for an identity that is not in
    ``gallery`` (the whole one), and if there is no image.
    """
    name, path = _named(source)
    labelled = read_layout(path)
    names = set(gallery.identity.tolist())
    pairs = list(zip(labelled.identity.tolist(), labelled.group.tolist(), strict=True))
    identity_of = {pair: _identity(*pair, names) for pair in dict.fromkeys(pairs)}
    for member, pair in zip(labelled.members, pairs, strict=True):
        if identity_of[pair] is None:
            raise DataError(
                f"the gallery has no identity {pair[0]!r}.{did_you_mean(pair[0], sorted(names))}",
                file=member.name,
                remedy="Name folders of queries, or the column identity, as the gallery does",
            )
    identity = np.array([identity_of[pair] for pair in pairs], dtype=str)
    return Queries(labelled, identity, _methods(labelled, path, name))


def _named(source: str | Path) -> tuple[str, Path]:
    """Return the name of the method, and the path of its images."""
    whole = Path(source)
    name, equals, rest = str(source).partition("=")
    if name and equals and rest and not whole.exists():
        return name, Path(rest)
    return whole.name if whole.is_dir() else whole.name.partition(".")[0], whole


def _identity(name: str, group: str, names: set[str]) -> str | None:
    """Return the gallery's name of an identity, which distinguishes equal names in several groups."""
    return next((n for n in (name, f"{name} ({group})") if n in names), None)


def _methods(labelled: LabelledImages, path: Path, name: str) -> np.ndarray:
    """Return (k,) str: the column ``method`` of a CSV, if it has one; else ``name``."""
    table = table_of(path)
    header = [] if table is None else column_names(table)
    column = next((c for c in METHOD if c in header), None)
    if table is None or column is None:
        return np.full(len(labelled.members), name)
    file = column_of(table, header, FILE)
    frame = read_table(table, ids=[file, column], spaced=True).frame
    method_of = dict(zip(frame[file].tolist(), frame[column].tolist(), strict=True))
    return np.array([method_of[member.stem] for member in labelled.members], dtype=str)


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a gallery: those to be found, and real ones that are queries; ``own`` as for `match`."""

    gallery: np.ndarray
    real: np.ndarray
    own: np.ndarray
    note: str


def hold_out(gallery: Gallery, images: int | None, rng: Rng) -> Split:
    """Return real images as queries: what an encoder retrieves for the true identity, the ceiling.

    ``images`` random images of each identity are the gallery, the others are queries. With None, or if no
    identity has more, each image queries the gallery without itself; then an identity with a single image has
    no query.
    """
    kept = gallery if images is None else gallery.only(images=images, rng=rng)
    inside = np.isin(gallery.catalog.item_ids, kept.catalog.item_ids)
    if not inside.all():
        real = np.flatnonzero(~inside)
        note = f"ceiling: {len(real):,} real pictures that are not in the gallery"
        return Split(np.flatnonzero(inside), real, np.full(len(real), -1), note)
    _, code, count = np.unique(gallery.identity, return_inverse=True, return_counts=True)
    real = np.flatnonzero(count[code] > 1)
    note = f"ceiling: {len(real):,} real pictures, each against the gallery without itself"
    return Split(np.arange(len(inside)), real, real, note)


def notes_on(whole: Queries, kept: Queries) -> list[str]:
    """Return remarks on queries: what was not read, and what was left out."""
    notes = list(whole.labelled.notes)
    if left := len(whole) - len(kept):
        notes.append(f"{left:,} of {len(whole):,} images left out: their identities are in no gallery chosen")
    return notes


def refuse_doubles(sources: Sequence[Queries], drawn: Iterable[str] = ()) -> None:
    """Raise SettingError if a method occurs in two sources, or in one and among those ``drawn`` here."""
    seen: set[str] = set(drawn)
    for source in sources:
        methods = set(source.method.tolist())
        if again := sorted(seen & methods | methods & RESERVED):
            raise SettingError(
                f"each method must have one source and a name other than {', '.join(sorted(RESERVED))}; "
                f"got {again[0]!r} again. Give it a name of its own: NAME=PATH"
            )
        seen |= methods
