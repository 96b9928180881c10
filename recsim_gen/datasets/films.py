"""Texts about films, shared by the loaders of film ratings."""

from __future__ import annotations

import re

import numpy as np

NO_GENRE = "no genre"
_ARTICLE_LAST = re.compile(r"^(.*?), (The|A|An)(?= \(|$)")  # "Matrix, The (1999)"
_YEAR = re.compile(r"\((\d{3})\d(?:\D\d{4})?\D*$")


def captions(titles: np.ndarray, genres: np.ndarray) -> np.ndarray:
    """Return (n,) sentences of title and genres: ``"The Matrix (1999): a film of action and sci-fi"``.

    ``titles`` (n,) str; ``genres`` (n,) str separated by ``", "``, empty if there are none.
    """
    words = {g: _in_words(g) for g in np.unique(genres).tolist()}
    return np.array(
        [
            _ARTICLE_LAST.sub(r"\2 \1", t) + words[g]
            for t, g in zip(titles.tolist(), genres.tolist(), strict=True)
        ]
    )


def first_genres(genres: np.ndarray) -> np.ndarray:
    """Return the (n,) first genre of each film, ``"no genre"`` if there are none."""
    first = np.char.partition(genres, ", ")[:, 0]
    return np.where(first == "", NO_GENRE, first)


def decades(titles: np.ndarray) -> np.ndarray:
    """Return the (n,) decade of the year at the end of a title, ``""`` without a year.

    ``"1990s"`` of ``"Heat (1995)"``.
    """
    years = (_YEAR.search(title) for title in titles.tolist())
    return np.array([f"{year[1]}0s" if year else "" for year in years], dtype=str)


def _in_words(genres: str) -> str:
    names = [name.lower() for name in genres.split(", ") if name]
    if not names:
        return ""
    *most, last = names
    return f": a film of {', '.join(most)} and {last}" if most else f": a film of {last}"
