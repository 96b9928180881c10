"""Wordings of an image: caption, title, lists of keywords."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsim_gen.datasets.boutique.attributes import Attributes
from recsim_gen.pretraining.source import PretrainingSource

MOST_KEYWORDS = 8


@dataclass(frozen=True, eq=False)
class Wording:
    """One text per row of a source, and its meaning.

    ``texts`` n strings; ``meaning`` (n,) int: equal numbers if the texts are true of each other's images
    ("Striped pink T-shirt" is true of one with blue and of one with red stripes).
    """

    texts: list[str]
    meaning: np.ndarray


def item_keywords(source: PretrainingSource) -> list[list[str]]:
    """Return keywords of each row: category, main colour, second colour and pattern if attributes are known.

    For other catalogues: the category, then the content words of title and caption, at most 8.
    """
    if source.attributes is not None:
        looks = [Attributes.of(codes) for codes in source.attributes]
        return [[look.category, look.main, look.second, look.pattern] for look in looks]
    rows = zip(source.categories, source.titles, source.captions, strict=True)
    return [_content_words(category, f"{title} {caption}") for category, title, caption in rows]


def item_sentences(source: PretrainingSource) -> list[str]:
    """Return a sentence for each row: its caption, or its title if that is blank."""
    return [c if c.strip() else t for c, t in zip(source.captions, source.titles, strict=True)]


def wordings(source: PretrainingSource) -> list[Wording]:
    """Return caption, title, and keywords in the orders in which people type them.

    If attributes are known, one form leaves the second colour out: "pink, stripes, T-shirt".
    """
    sentences, keywords = item_sentences(source), item_keywords(source)
    looks = None if source.attributes is None else [tuple(codes) for codes in source.attributes.tolist()]
    exact = _numbered(sentences if looks is None else looks)
    titles = [title or sentence for title, sentence in zip(source.titles, sentences, strict=True)]
    forms = [
        Wording(sentences, exact),
        Wording(titles, _numbered(titles)),
        Wording([", ".join(words) for words in keywords], exact),
        Wording([", ".join(words[1:] + words[:1]) for words in keywords], exact),
    ]
    if looks is not None:
        short = [", ".join((main, pattern, category)) for category, main, _, pattern in keywords]
        forms.append(Wording(short, _numbered(short)))
    return forms


def _content_words(category: str, text: str) -> list[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    words = re.findall(r"\w+(?:[-'’]\w+)*", text.lower())
    content = [word for word in words if word not in ENGLISH_STOP_WORDS and len(word) > 1]
    first = [category.strip()] if category.strip() else []
    taken = {word.lower() for word in first}
    rest = [word for word in dict.fromkeys(content) if word not in taken]
    return [*first, *rest][:MOST_KEYWORDS]


def _numbered(values: Sequence[str] | Sequence[tuple[int, ...]]) -> np.ndarray:
    """Return (n,) int: equal values have equal numbers."""
    codes: dict[object, int] = {}
    return np.array([codes.setdefault(value, len(codes)) for value in values])
