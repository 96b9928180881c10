"""Identity galleries: real images of known species, car models, animals, or any folder of identities.

Generated images are compared with a gallery to test whose identity they show (Kilrain et al.,
"Finer-Personalization Rank"). Supported layouts: CUB-200-2011 (``images.txt``, ``image_class_labels.txt``,
``classes.txt``, ``images/``); a CSV of images with their identity, as in re-identification sets; and a folder
or tar ``[<group>/]<identity>/<picture>``, as Stanford Cars unpacks to. An identity is also a user who "chose"
its images, so that a gallery is a dataset: the last image of each identity is the reference of an episode,
the others its history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Catalog, Dataset, Interactions
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.datasets.files.images import ImageFiles
from recsim_gen.datasets.gallery_layouts import LabelledImages, read_layout
from recsim_gen.datasets.splits import leave_last_out


@dataclass(frozen=True, eq=False)
class Gallery(Dataset):
    """Images of identities in groups; every row has an image, read lazily.

    ``identity`` (n,) str, the categories of the catalogue, each in one group; ``group`` (n,) str. Item ids
    are the images' paths inside the gallery, in order.
    """

    group: np.ndarray = field(kw_only=True)

    @property
    def identity(self) -> np.ndarray:
        """(n,) str: identity of each image."""
        return self.catalog.categories

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """{group: {identity: number of images}}, sorted by size, then by name."""
        names, first, counts = np.unique(self.identity, return_index=True, return_counts=True)
        numbers: dict[str, dict[str, int]] = {str(group): {} for group in np.unique(self.group)}
        for k in np.lexsort((names, -counts)).tolist():
            numbers[str(self.group[first[k]])][str(names[k])] = int(counts[k])
        return numbers

    def only(
        self,
        groups: Sequence[str] = (),
        *,
        identities: int | None = None,
        images: int | None = None,
        rng: Rng | None = None,
    ) -> Gallery:
        """Return a smaller gallery: of these groups (none: all), each with its largest ``identities``.

        At most ``images`` images per identity are kept, the first or, with ``rng``, random ones. The
        published ones: CUB wren, tern and sparrow with 5 and 10; Cars 15 and 10; re-identification 10 and 15.
        Raises DataError for an unknown group.
        """
        counts = self.counts
        for name in groups:
            if name not in counts:
                raise DataError(f"no group {name!r}.{did_you_mean(name, counts)}")
        chosen = {i for g in groups or counts for i in list(counts[g])[:identities]}
        keep = np.isin(self.identity, list(chosen))
        if images is not None:
            _, code = np.unique(self.identity, return_inverse=True)
            key = np.arange(len(code), dtype=np.float64)
            if rng is not None:
                key = rng.for_("gallery").numpy().random(len(code))
            order = np.lexsort((key, code))
            size = np.bincount(code)
            place = np.empty(len(code), dtype=np.int64)
            place[order] = np.arange(len(code)) - (np.cumsum(size) - size)[code[order]]
            keep &= place < images
        return self.at(np.flatnonzero(keep))

    def at(self, rows: np.ndarray) -> Gallery:
        """Return the gallery of the images at these rows."""
        reader = self.catalog.images
        if not isinstance(reader, ImageFiles):  # always true for galleries made by ``_gallery``
            raise DataError("a gallery of picture files is wanted")
        members = tuple(reader.member(row) for row in rows.tolist())
        picked = LabelledImages(members, self.identity[rows], self.group[rows], ())
        note = f"{len(rows):,} of {len(self.catalog):,} pictures taken"
        return _gallery(self.name, picked, (*self.notes, note))


def load(path: str | Path) -> Gallery:
    """Load the gallery in a folder, a tar or a CSV file; see the module for the layouts.

    A CSV has a header with ``file`` (or path, image, filename), ``identity`` (or individual, label, class,
    name) and optionally ``group`` (or species, dataset) and ``bbox`` (``[x, y, width, height]`` in pixels:
    the image is what lies inside; if empty, all of it); paths are relative to its folder. Images that are
    listed and do not exist are left out and counted. Raises DataError for a bad row, boxes in another form, a
    path outside the folder, a repeated image, and if nothing is found.
    """
    labelled = _one_group_each(read_layout(Path(path)))
    groups, identities = np.unique(labelled.group), np.unique(labelled.identity)
    counted = (
        f"{len(labelled.members):,} pictures of {len(identities):,} identities in {len(groups):,} groups"
    )
    return _gallery("gallery", labelled, (counted, *labelled.notes))


def _one_group_each(labelled: LabelledImages) -> LabelledImages:
    """Distinguish identities of equal name in different groups: ``"left (cats)"``, ``"left (dogs)"``."""
    pairs = np.unique(np.stack([labelled.identity, labelled.group]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    shared = np.isin(labelled.identity, names[counts > 1])
    if not shared.any():
        return labelled
    apart = [f"{i} ({g})" for i, g in zip(labelled.identity.tolist(), labelled.group.tolist(), strict=True)]
    return replace(labelled, identity=np.where(shared, apart, labelled.identity))


def _gallery(name: str, labelled: LabelledImages, notes: tuple[str, ...]) -> Gallery:
    order = np.argsort(np.array([member.stem for member in labelled.members], dtype=str), kind="stable")
    members = [labelled.members[k] for k in order.tolist()]
    ids = np.array([member.stem for member in members], dtype=str)
    identity, group = labelled.identity[order], labelled.group[order]
    names, user = np.unique(identity, return_inverse=True)
    place = np.arange(len(ids))
    interactions = Interactions(
        user, place, place, np.ones(len(ids)), leave_last_out(user, place), names, len(ids)
    )
    return Gallery(
        name=name,
        catalog=Catalog(
            item_ids=ids,
            titles=ids,
            captions=np.char.add("a picture of ", np.char.replace(identity, "_", " ")),
            categories=identity,
            images=ImageFiles(members, ids),
        ),
        interactions=interactions,
        episodes=test_episodes(interactions, names),
        encoders={"image": "efficientnet-lite0", "text": "minilm"},
        notes=notes,
        group=group,
    )
