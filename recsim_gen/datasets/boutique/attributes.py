"""Attributes of Boutique's items and their names: category, two colours, pattern.

Attributes have two forms: names (``Attributes``) and codes, an int array (…, 4) whose last axis is category,
main colour, second colour, pattern, each an index into the tuple of names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean

GROUP_OF: Mapping[str, str] = MappingProxyType(
    {
        "T-shirt": "clothes",
        "dress": "clothes",
        "trousers": "clothes",
        "jacket": "clothes",
        "bag": "accessories",
        "hat": "accessories",
        "sneaker": "accessories",
        "umbrella": "accessories",
        "lamp": "home",
        "mug": "home",
        "armchair": "home",
        "cushion": "home",
    }
)
CATEGORIES = tuple(GROUP_OF)
GROUPS = tuple(dict.fromkeys(GROUP_OF.values()))
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
PATTERNS = ("plain", "stripes", "dots", "checks", "zigzag")
GROUP_CODES = np.array([GROUPS.index(g) for g in GROUP_OF.values()])
"""(12,) group of each category code."""

_ADJECTIVES = {
    "plain": "plain",
    "stripes": "striped",
    "dots": "dotted",
    "checks": "checked",
    "zigzag": "zigzag",
}
_KINDS = {"clothes": "a piece of clothing", "accessories": "a fashion accessory", "home": "made for the home"}
_SHELVES = {"clothes": "Among the clothes", "accessories": "Among the accessories", "home": "For the home"}


@dataclass(frozen=True)
class Attributes:
    """The look of one item. Raises SettingError for an unknown name or twice the same colour.

    ``second`` is the colour of the pattern and of a small trim; a plain item has only the trim.
    """

    category: str
    main: str
    second: str
    pattern: str

    def __post_init__(self) -> None:
        known = {"category": CATEGORIES, "main": COLOURS, "second": COLOURS, "pattern": PATTERNS}
        for name, names in known.items():
            if getattr(self, name) not in names:
                raise SettingError(
                    f"unknown {name} {getattr(self, name)!r}.{did_you_mean(str(getattr(self, name)), names)}"
                )
        if self.main == self.second:
            raise SettingError(f"main and second colour must differ, got {self.main!r} twice. Change one.")

    @classmethod
    def of(cls, codes: np.ndarray) -> Attributes:
        """Return the attributes with these ``codes`` (4,)."""
        category, main, second, pattern = (int(c) for c in codes)
        return cls(CATEGORIES[category], COLOURS[main], COLOURS[second], PATTERNS[pattern])

    @property
    def codes(self) -> np.ndarray:
        """(4,) int64: category, main colour, second colour, pattern."""
        return np.array(
            [
                CATEGORIES.index(self.category),
                COLOURS.index(self.main),
                COLOURS.index(self.second),
                PATTERNS.index(self.pattern),
            ]
        )

    @property
    def group(self) -> str:
        """Clothes, accessories or home."""
        return GROUP_OF[self.category]

    @property
    def title(self) -> str:
        """Pattern, main colour and category: ``Striped pink T-shirt``."""
        return f"{_ADJECTIVES[self.pattern].capitalize()} {self.main} {self.category}"

    def caption(self, template: int) -> str:
        """Return one sentence that names category, both colours, pattern and group.

        ``template`` is any integer; it selects one of ``N_TEMPLATES`` sentences.
        """
        adjective, shelf, kind = _ADJECTIVES[self.pattern], _SHELVES[self.group], _KINDS[self.group]
        a = "a pair of" if self.category == "trousers" else "a"
        if self.pattern == "plain":
            colours = f"{self.main} with {self.second} trim"
            first = f"{a} plain {self.main} {self.category} with {self.second} trim"
        else:
            colours = f"{self.main} and {self.second}"
            detail = f"{self.second} {self.pattern}"
            if self.pattern == "zigzag":
                detail = f"{_article(self.second)} {detail} pattern"
            article = a if self.category == "trousers" else _article(self.main)
            first = f"{article} {self.main} {self.category} with {detail}"
        sentences = (
            f"{first[0].upper()}{first[1:]}, {kind}.",
            f"{shelf}: {a} {adjective} {self.category} in {colours}.",
            f"{shelf}: {first}.",
            f"{a.capitalize()} {adjective} {self.category}, {kind}, in {colours}.",
        )
        return sentences[template % N_TEMPLATES]


N_TEMPLATES = 4


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def codes_of(attributes: Attributes | Sequence[Attributes] | np.ndarray) -> np.ndarray:
    """Return the codes: (4,) of one item, (n, 4) of several; codes are returned unchanged."""
    if isinstance(attributes, np.ndarray):
        return attributes
    if isinstance(attributes, Attributes):
        return attributes.codes
    return np.array([a.codes for a in attributes]).reshape(-1, 4)


def all_codes(category: str) -> np.ndarray:
    """Return (450, 4) codes of all looks in this category, in a fixed order."""
    if category not in CATEGORIES:
        raise SettingError(f"unknown category {category!r}.{did_you_mean(category, CATEGORIES)}")
    looks = product(range(len(COLOURS)), range(len(COLOURS)), range(len(PATTERNS)))
    rows = [(CATEGORIES.index(category), *look) for look in looks if look[0] != look[1]]
    return np.array(rows)
