"""Splits the images of each identity into those shown to methods and those of the gallery."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Subject
from recsim_gen.datasets.gallery import Gallery
from recsim_gen.datasets.gallery_layouts import EVERYBODY


def split_subjects(
    gallery: Gallery, images: int, noun: str, rng: Rng, *, fewest: int = 1
) -> tuple[list[Subject], np.ndarray]:
    """Return subjects with ``images`` random images of each identity, and the rows of the other images.

    A subject is called ``noun``, or if that is "" the name of its group. Raises DataError if an identity
    would keep fewer than ``fewest`` images in the gallery, SettingError if there is neither noun nor group.
    """
    if not noun and EVERYBODY in gallery.group:
        raise SettingError(
            "the gallery has no groups that say what its identities are: give --noun (a word such as dog)"
        )
    taken: list[int] = []
    subjects = []
    for name in dict.fromkeys(gallery.identity.tolist()):
        rows = np.flatnonzero(gallery.identity == name)
        if len(rows) < images + fewest:
            raise DataError(
                f"identity {name!r} must have {images} pictures to be shown and {fewest} or more to be "
                f"found, it has {len(rows)}",
                remedy="Give fewer --subject-images, or leave it out (--identities takes the largest)",
            )
        shown = rng.for_("shown", name).numpy().permutation(rows)[:images].tolist()
        taken += shown
        subjects.append(subject_of(gallery, shown, noun))
    return subjects, np.setdiff1d(np.arange(len(gallery.identity)), taken)


def all_subjects(gallery: Gallery, noun: str = "") -> list[Subject]:
    """Return every identity of a gallery, with all its images."""
    rows = {
        name: np.flatnonzero(gallery.identity == name) for name in dict.fromkeys(gallery.identity.tolist())
    }
    return [subject_of(gallery, there.tolist(), noun) for there in rows.values()]


def subject_of(gallery: Gallery, rows: Sequence[int], noun: str) -> Subject:
    """Return the identity of these rows, with their images."""
    reader = gallery.catalog.images
    assert reader is not None  # a gallery has pictures
    images = tuple(reader.read(row) for row in rows)
    return Subject(str(gallery.identity[rows[0]]), noun or str(gallery.group[rows[0]]), images)
