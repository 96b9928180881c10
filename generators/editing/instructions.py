"""Edit instructions in words."""

from __future__ import annotations

from collections.abc import Sequence

KEEP = "leave it as it is"


def replacements(own: Sequence[str], wanted: Sequence[str]) -> str:
    """Return "change red to green and stripes to dots"; the k-th keywords of both lists name one attribute.

    The old word identifies the attribute. `KEEP` if nothing differs.
    """
    changed = [f"{old} to {new}" for old, new in zip(own, wanted, strict=True) if old != new]
    return f"change {joined(changed)}" if changed else KEEP


def additions(own: Sequence[str], wanted: Sequence[str], most: int) -> str:
    """Return "make it green and dotted": up to ``most`` missing keywords. `KEEP` if there are none."""
    has = {word.lower() for word in own}
    new = [word for word in wanted if word.lower() not in has][:most]
    return f"make it {joined(new)}" if new else KEEP


def joined(words: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
