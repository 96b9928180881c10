"""Edit instructions in words."""

from __future__ import annotations

from collections.abc import Sequence

KEEP = "leave it as it is"


def look(wanted: Sequence[str]) -> str:
    """Return "make it green, white, dots": all keywords of the look wanted, which have fixed places.

    Also those that the image has already: "green" alone would not say which of two colours is meant, and
    captions, from which text encoders learn, name whole looks and not differences.
    """
    return f"make it {', '.join(wanted)}"


def additions(own: Sequence[str], wanted: Sequence[str], most: int) -> str:
    """Return "make it long and warm": up to ``most`` missing keywords. `KEEP` if there are none."""
    has = {word.lower() for word in own}
    new = [word for word in wanted if word.lower() not in has][:most]
    return f"make it {joined(new)}" if new else KEEP


def joined(words: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
