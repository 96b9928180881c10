"""Images that a person brings from anywhere: which item each shows, and who is asked about it.

In a folder or a tar (plain or ``.tar.gz``):

- ``<item id>.png``: asked of every user whose test reference the item is;
- ``<user id>/<item id>.png``: asked of that user alone.

Any suffix of `recsim_gen.datasets.files.images` will do. A user id that holds a slash (``12/3``) is nested
folders (``12/3/<item id>.png``) or written with ``%2F`` (``12%2F3/…``); item ids may be escaped alike.
One folder around all that is in a tar is left out, with a note, unless it is a user.

Of images that were generated here a manifest says whose they are, and no name is read: see `manifests`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.files.images import SUFFIXES, ImageFiles, Member, list_members
from recsim_gen.datasets.files.names import clean_name, likely
from recsim_gen.datasets.manifests import FILE, Manifest, read_manifest

ANY = -1
_NAMES = "Name images <item id>.png or <user id>/<item id>.png, with the ids of --data"


@dataclass(frozen=True, eq=False)
class ImageSet:
    """k images: ``user`` (k,) rows or ``ANY``, ``item`` (k,) catalogue rows, and their files.

    ``reader`` reads them. Raises DataError for two images of the same user and item.
    """

    user: np.ndarray
    item: np.ndarray
    members: tuple[Member, ...]
    notes: tuple[str, ...] = ()
    reader: ImageFiles = field(init=False)

    def __post_init__(self) -> None:
        reader = ImageFiles(self.members, np.array([m.stem for m in self.members]))
        object.__setattr__(self, "reader", reader)

    def only(self, rows: np.ndarray) -> ImageSet:
        """The images at ``rows`` alone."""
        members = tuple(self.members[row] for row in rows.tolist())
        return ImageSet(self.user[rows], self.item[rows], members, self.notes)

    def __len__(self) -> int:
        return len(self.item)

    def pairs(
        self, dataset: Dataset, users: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(user, item, image) rows (B,) of who is asked about which image, by image.

        ``users``: ids to ask about every image without a user of its own, instead of those whose
        test reference the item is. Raises DataError for an unknown user, and where nobody is asked.
        """
        import pandas as pd

        if users is None:
            asked, about = (
                np.array([getattr(e, k) for e in dataset.episodes]) for k in ("user", "reference")
            )
        else:
            known = {u: row for row, u in enumerate(dataset.interactions.user_ids.tolist())}
            rows = [_row(user, known, "user") for user in users]
            items = np.unique(self.item[self.user == ANY])
            asked, about = np.repeat(rows, len(items)), np.tile(items, len(rows))
        image = np.arange(len(self))
        own = self.user != ANY
        free = pd.DataFrame({"item": self.item[~own], "image": image[~own]})
        asked_of = pd.DataFrame({"item": about, "user": asked}, dtype=np.int64)
        open_to = free.merge(asked_of, on="item").drop_duplicates()
        given = pd.DataFrame({"item": self.item[own], "image": image[own], "user": self.user[own]})
        both = pd.concat([open_to, given]).sort_values(["image", "user"], kind="stable")
        if both.empty:
            raise DataError(
                f"none of the {len(self)} images shows an item that is somebody's test reference",
                remedy="Name them <user id>/<item id>.png, or name the users to ask",
            )
        return tuple(both[c].to_numpy(np.int64) for c in ("user", "item", "image"))  # type: ignore[return-value]

    def find(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(B,) row of the image for each (user, item): the user's own, else the item's; −1 without."""
        import pandas as pd

        table = pd.Series(np.arange(len(self)), index=pd.MultiIndex.from_arrays([self.user, self.item]))
        anybody = np.full_like(users, ANY)
        of_user, of_item = (
            table.reindex(pd.MultiIndex.from_arrays([who, items]), fill_value=-1).to_numpy(np.int64)
            for who in (users, anybody)
        )
        return np.where(of_user >= 0, of_user, of_item)


def read_images(path: str | Path | Manifest, dataset: Dataset) -> ImageSet:
    """The images in a folder or tar, or of a manifest; no image is decoded yet.

    Whose they are is told by the manifest in the folder, else by their names. Raises DataError for a place
    without images, an unknown item or user, two images of the same, and an image that the manifest of its
    folder does not list.
    """
    if isinstance(path, Manifest):
        return _listed(path, _members_of(path), dataset)
    members = refuse_empty(path)
    if (Path(path) / FILE).is_file():
        return _listed(read_manifest(Path(path) / FILE), members, dataset)
    users = {u: row for row, u in enumerate(dataset.interactions.user_ids.tolist())}
    items = dataset.catalog.row_of
    members, notes = (members, ()) if Path(path).is_dir() else _without_wrapper(members, users)
    user = [_row("/".join(m.folders), users, "user", m) if m.folders else ANY for m in members]
    item = [_row(m.stem, items, "item", m) for m in members]
    ids = dataset.interactions.user_ids, dataset.catalog.item_ids
    named = [  # what doubles are told by
        replace(m, stem=f"{ids[0][u]}/{ids[1][i]}" if u != ANY else str(ids[1][i]))
        for m, u, i in zip(members, user, item, strict=True)
    ]
    return ImageSet(np.array(user), np.array(item), tuple(named), notes)


def _members_of(manifest: Manifest) -> list[Member]:
    """Those of the listed files that are there."""
    paths = [manifest.folder / file for file in manifest.images]
    return [Member(p, str(p), p.stem, 0, p.stat().st_size) for p in paths if p.is_file()]


def _listed(manifest: Manifest, members: Sequence[Member], dataset: Dataset) -> ImageSet:
    """``members`` as the manifest lists them, in its order; how many of the listed are not there is noted."""
    made_of = {manifest.folder / file: made for file, made in manifest.images.items()}
    for member in members:
        if member.file not in made_of:
            raise DataError(
                f"one of the {len(made_of):,} images that {manifest.path.name} lists is wanted, got another",
                file=member.name,
                remedy=f"Run generate again, or delete {manifest.path.name}: names then say whose images are",
            )
    there = {member.file: member for member in members}
    if not there:
        raise DataError("images are wanted, none of those listed is there", file=manifest.path, remedy=_NAMES)
    listed = [(there[path], made) for path, made in made_of.items() if path in there]
    users = {u: row for row, u in enumerate(dataset.interactions.user_ids.tolist())}
    user = [_row(made.user, users, "user", member) for member, made in listed]
    item = [_row(made.item, dataset.catalog.row_of, "item", member) for member, made in listed]
    named = tuple(replace(member, stem=f"{made.user}/{made.item}") for member, made in listed)
    gone = len(made_of) - len(listed)
    notes = (f"{gone:,} of {len(made_of):,} images that were generated are not there",) if gone else ()
    return ImageSet(np.array(user), np.array(item), named, notes)


def refuse_empty(path: str | Path) -> list[Member]:
    """The picture files there; DataError where there is none. Reads no data, so it can be asked first."""
    members = list_members(path)
    if not members:
        kinds = ", ".join(sorted(s[1:] for s in SUFFIXES))
        raise DataError(f"images ({kinds}) are wanted, got none", file=path, remedy=_NAMES)
    return members


def _without_wrapper(members: list[Member], users: Mapping[str, int]) -> tuple[list[Member], tuple[str, ...]]:
    """``members`` without the one folder that holds them all, as a tar of a folder has."""
    first = {m.folders[:1] for m in members}
    if len(first) > 1 or first == {()} or any(_find("/".join(m.folders), users) is not None for m in members):
        return members, ()
    (wrapper,) = first.pop()
    note = f"{wrapper!r}, the folder around all images of the tar, is no user: left out of their names"
    return [replace(m, folders=m.folders[1:]) for m in members], (note,)


def _find(name: str, rows: Mapping[str, int]) -> int | None:
    """Row of an id as it stands, or unescaped."""
    row = rows.get(clean_name(name))
    return rows.get(clean_name(unquote(name))) if row is None else row


def _row(name: str, rows: Mapping[str, int], what: str, member: Member | None = None) -> int:
    row = _find(name, rows)
    if row is None:
        example = next(iter(rows))
        raise DataError(
            f"unknown {what} {name!r}; the data has {len(rows):,}, such as {example!r}{likely([name], rows)}",
            file=None if member is None else member.name,
            remedy=_NAMES if member is not None else "Give ids of --data",
        )
    return row
