"""PMG-Bench's pickles of ``{item id: value}``, and the captions in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.names import clean_name
from recsim_gen.datasets.files.tables import LONGEST
from recsim_gen.datasets.pmg_bench.pickles import read_pickle

_AS_PUBLISHED = "Fetch the file as published, or correct that entry"


def by_item(file: str | Path) -> Mapping[str, Any]:
    """Return {item id: value} of a pickled dict whose keys are item ids: whole numbers, or text.

    Raises DataError for other content, and for an id that occurs both as a number and as text.
    """
    values = read_pickle(file)
    if type(values) is not dict:
        problem = f"a dict of item ids is wanted, got {type(values).__name__}"
        raise DataError(problem, file=file, remedy=_AS_PUBLISHED)
    bad = next((key for key in values if type(key) not in (int, str)), None)
    if bad is not None or None in values:
        problem = f"keys must be item ids (whole numbers or text), got {type(bad).__name__}"
        raise DataError(problem, file=file, remedy=_AS_PUBLISHED)
    named = {clean_name(str(key)): value for key, value in values.items()}
    if len(named) < len(values):
        problem = "an item id stands twice, as a number and as text or with blanks around it"
        raise DataError(problem, file=file, remedy="Keep one of the two")
    return named


def captions_in(file: str | Path) -> dict[str, str]:
    """Return {item id: caption} of a pickled ``dict[int, str | list[str]]``; lists are joined by commas.

    Raises DataError for a value that is neither text nor a list of texts, or is too long.
    """
    return {item: _caption(value, file, item) for item, value in by_item(file).items()}


def _caption(value: Any, file: str | Path, item: str) -> str:
    words = [value] if type(value) is str else [] if value is None else value
    problem = None
    if type(words) not in (list, tuple) or any(type(word) is not str for word in words):
        problem = f"a caption must be text or a list of texts, got {type(value).__name__}"
    elif sum(map(len, words)) > LONGEST:  # checked before joining: a few bytes can expand to huge texts
        problem = f"a caption must have at most {LONGEST:,} characters, this one has more"
    elif any("\0" in word for word in words):
        problem = "a caption must be text, got the character 0"
    if problem is not None:
        raise DataError(problem, file=file, row=f"item {item}", remedy=_AS_PUBLISHED)
    return ", ".join(word.strip() for word in words if word.strip())
