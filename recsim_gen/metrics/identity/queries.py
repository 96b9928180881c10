"""Pictures that ask a gallery whose they are: generated ones from folders or a CSV, real ones held out."""

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
"""What the ceiling and the floor are called; no method can have these names."""


@dataclass(frozen=True, eq=False)
class Queries:
    """k generated pictures of one source; ``identity`` (k,) as the gallery names it, ``method`` (k,)."""

    labelled: LabelledImages
    identity: np.ndarray
    method: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)

    @property
    def files(self) -> np.ndarray:
        """(k,) str: each picture's path inside its source."""
        return np.array([member.stem for member in self.labelled.members], dtype=str)

    @cached_property
    def reader(self) -> ImageFiles:
        """Their reader; row k is picture k."""
        return ImageFiles(self.labelled.members, self.files)

    def of(self, gallery: Gallery) -> Queries:
        """Those whose identity ``gallery`` has."""
        rows = np.flatnonzero(np.isin(self.identity, gallery.identity))
        members = tuple(self.labelled.members[row] for row in rows.tolist())
        return Queries(replace(self.labelled, members=members), self.identity[rows], self.method[rows])


def read_queries(source: str | Path, gallery: Gallery) -> Queries:
    """The generated pictures of ``PATH`` or ``NAME=PATH``; what they show is in their place.

    ``PATH`` is a folder or tar ``[<group>/]<identity>/<picture>``, or a CSV with columns file and
    identity, perhaps group, and perhaps method (or generator, variant), which tells several methods
    apart. Without it the method is ``NAME``, or the name of the folder or file. Raises DataError for
    an identity that ``gallery`` (the whole one) does not have, and where there is no picture.
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
    """What the method is called, and where its pictures lie."""
    whole = Path(source)
    name, equals, rest = str(source).partition("=")
    if name and equals and rest and not whole.exists():
        return name, Path(rest)
    return whole.name if whole.is_dir() else whole.name.partition(".")[0], whole


def _identity(name: str, group: str, names: set[str]) -> str | None:
    """As the gallery names it, which tells equal names of several groups apart."""
    return next((n for n in (name, f"{name} ({group})") if n in names), None)


def _methods(labelled: LabelledImages, path: Path, name: str) -> np.ndarray:
    """(k,) str: the column ``method`` of a CSV, where it has one; else ``name``."""
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
    """Rows of a gallery: those to be found, and real ones that ask; ``own`` as in `match`."""

    gallery: np.ndarray
    real: np.ndarray
    own: np.ndarray
    note: str


def hold_out(gallery: Gallery, images: int | None, rng: Rng) -> Split:
    """Real pictures as queries: what an encoder finds when the identity is right, the ceiling.

    ``images`` random pictures of each identity are the gallery and the others ask. With None, or
    where no identity has more, each picture asks the gallery without itself; an identity of one
    picture cannot then, and its picture is among those to be found only.
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
    """Sentences on queries: what was not read, what is not asked."""
    notes = list(whole.labelled.notes)
    if left := len(whole) - len(kept):
        notes.append(f"{left:,} of {len(whole):,} images left out: their identities are in no gallery chosen")
    return notes


def refuse_doubles(sources: Sequence[Queries], drawn: Iterable[str] = ()) -> None:
    """Raise SettingError where two sources hold the same method, or one of those that are ``drawn`` here."""
    seen: set[str] = set(drawn)
    for source in sources:
        methods = set(source.method.tolist())
        if again := sorted(seen & methods | methods & RESERVED):
            raise SettingError(
                f"each method must have one source and a name other than {', '.join(sorted(RESERVED))}; "
                f"got {again[0]!r} again. Give it a name of its own: NAME=PATH"
            )
        seen |= methods
