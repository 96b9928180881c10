"""Normalises ids and names: without surrounding blanks, in one Unicode form.

Every reader cleans ids in tables and JSON, and names of files and folders, here, so that ``" 12"``, ``"12"``
and ``"12"`` after a byte order mark are one item, and the two Unicode forms of "é" are one letter. Case,
leading zeros and inner blanks are significant.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from typing import Literal

_INVISIBLE = "\ufeff\u200b\u2060"  # byte order mark, zero width space, word joiner: not whitespace in Unicode
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + _INVISIBLE  # U+3000 is the last
"""Characters that are stripped from the ends of names."""

FORM: Literal["NFC"] = "NFC"
"""The Unicode normal form of names and texts."""


def clean_name(text: str) -> str:
    """Return ``text`` in normal form NFC, without blanks and byte order marks at its ends."""
    if text.isascii():
        return text.strip()
    return unicodedata.normalize(FORM, text).strip(BLANKS)


def spellings(path: str) -> tuple[str, ...]:
    """Return a path unchanged and in both normal forms, since file systems use either."""
    return tuple(dict.fromkeys((path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD")))))


_WAYS: dict[str, Callable[[str], str]] = {
    "zeros in front": lambda name: name.lstrip("0"),
    "a .0 behind": lambda name: name.removesuffix(".0"),
    "capitals": str.casefold,
}


def likely(unknown: Iterable[str], known: Iterable[str]) -> str:
    """Return a remark if ids would match but for leading zeros, a trailing ``.0``, or case; else ""."""
    unknown, known = list(unknown), list(known)
    for what, way in _WAYS.items():
        there = {way(name): name for name in known}
        same = [name for name in unknown if way(name) in there]
        if same:
            example = f"{same[0]!r} here, {there[way(same[0])]!r} there"
            return f"; {len(same):,} of them differ only by {what}: {example}"
    return ""
