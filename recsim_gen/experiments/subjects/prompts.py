"""Prompts for subjects: ten each for products, and for general scenes.

They are not the lists of Finer-Personalization Rank for animals, birds and cars. Other lists are read from a
file: one prompt per line, containing ``{subject}``.
"""

from __future__ import annotations

from pathlib import Path

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.models.prompts import check_prompt

SHOP = (
    "{subject}",
    "a {subject}",
    "A {subject}.",
    "Among the clothes: a {subject}.",
    "Among the accessories: a {subject}.",
    "For the home: a {subject}.",
    "A {subject}, a piece of clothing.",
    "A {subject}, a fashion accessory.",
    "A {subject}, made for the home.",
    "a photo of a {subject}",
)
"""In Boutique's words, the only ones that the embedded models know; none gives colour or pattern."""

SCENES = (
    "a photo of a {subject} on a wooden table",
    "a {subject} on a sandy beach",
    "a {subject} in front of a brick wall",
    "a photo of a {subject} in a meadow with flowers",
    "a {subject} in the snow",
    "a {subject} beside a lake at sunset",
    "a photo of a {subject} on a city street",
    "a {subject} in a forest in autumn",
    "a close photo of a {subject} against a blue sky",
    "a {subject} on a rock by the sea",
)

PROMPTS = {"shop": SHOP, "scenes": SCENES}


def read_prompts(name: str) -> tuple[str, ...]:
    """Return the prompts of a list by name, or of a file with one per line; blank lines are skipped.

    Raises SettingError for a name that is neither, DataError for a line without ``{subject}``.
    """
    if name in PROMPTS:
        return PROMPTS[name]
    path = Path(name).expanduser()
    if not path.is_file():
        raise SettingError(f"--prompts must be a list or a file, got {name!r}.{did_you_mean(name, PROMPTS)}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(
            f"prompts cannot be read ({error})", file=path, remedy="Save them as UTF-8 text"
        ) from error
    prompts = {row: line.strip() for row, line in enumerate(lines, start=1) if line.strip()}
    for row, prompt in prompts.items():
        try:
            check_prompt(prompt)
        except SettingError as error:
            remedy = "Write {subject} where the subject's name belongs"
            raise DataError(str(error), file=path, row=row, remedy=remedy) from error
    if not prompts:
        raise DataError("prompts are wanted, one a line, got none", file=path)
    return tuple(prompts.values())
