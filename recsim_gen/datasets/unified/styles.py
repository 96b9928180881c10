"""Descriptions of people's taste in words, and the datasets that include them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.files.json_files import MAX_MEGABYTES, Fields, read_json

STYLE_FILES = ("FLICKR_styles.json", "user_styles.json", "POG_user_styles.json", "user_preferences.json")


@dataclass(frozen=True, eq=False)
class Ratings:
    """m ratings: ``person`` (m,) str, ``item`` (m,) catalogue rows, ``score`` (m,) like choices' weights."""

    person: np.ndarray
    item: np.ndarray
    score: np.ndarray


@dataclass(frozen=True, eq=False)
class StyledDataset(Dataset):
    """A dataset with additional information.

    Parameters
    ----------
    styles
        {source user: description of their taste}.
    aesthetic
        (n,) float64, mean judgement of each item by all, NaN if there is none.
    leaks
        Number of records with the target in their own history, before it was removed.
    not_chosen
        Ratings too low to be choices.
    """

    styles: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    aesthetic: np.ndarray | None = field(default=None, kw_only=True)
    leaks: int = field(default=0, kw_only=True)
    not_chosen: Ratings | None = field(default=None, kw_only=True)


def read_styles(folder: str | Path, *, max_megabytes: int = MAX_MEGABYTES) -> dict[str, str]:
    """Return {person: style} from those of ``STYLE_FILES`` that the folder has; empty if there are none.

    A file is a list of ``{"worker" or "user": …, "style": …}``, an object {person: style}, or an object
    {topic: {"keywords": […]}}, whose keywords are joined by commas. Raises DataError for anything else, and
    for a repeated person.
    """
    styles: dict[str, str] = {}
    for name in STYLE_FILES:
        file = Path(folder) / name
        if not file.exists():
            continue
        for person, style, row in _entries(read_json(file, max_megabytes=max_megabytes), file):
            if person in styles:
                raise DataError(
                    f"one style of {person!r} is wanted, got a second one",
                    file=file,
                    row=row,
                    remedy="Keep one of the two",
                )
            styles[person] = style
    return styles


def _entries(content: object, file: Path) -> list[tuple[str, str, str]]:
    """Return (person, style, row) of each entry."""
    if isinstance(content, list):
        rows = [Fields.of(value, file, f"entry {k}") for k, value in enumerate(content, start=1)]
        return [(_person(entry), entry.text("style"), entry.row) for entry in rows]
    if isinstance(content, dict):
        fields = Fields(content, file, "")
        made = []
        for key, value in content.items():
            person = fields.as_identifier(key, "a key")
            words = Fields(
                value if isinstance(value, dict) else {"keywords": value}, file, f"entry {key[:60]!r}"
            )
            made.append((person, words.text("keywords"), words.row))
        return made
    raise DataError("a list or an object of styles is wanted", file=file, remedy="Fetch it as published")


def _person(entry: Fields) -> str:
    person = entry.identifier("worker", "user")
    return entry.refuse("worker or user is wanted, got neither") if person is None else person
