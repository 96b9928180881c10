"""Prompt templates with title, caption and category of an item."""

from __future__ import annotations

from string import Formatter

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Catalog

FIELDS = ("caption", "title", "category")


def check_template(template: str, *more: str, needs: tuple[str, ...] = ()) -> None:
    """Raise SettingError for a field outside ``FIELDS`` and ``more``, or a missing one of ``needs``."""
    try:
        named = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise SettingError(f"prompt {template!r} is no template ({error})") from error
    fields = (*FIELDS, *more)
    for name in sorted(named - set(fields)):
        raise SettingError(f"prompt {template!r}: unknown field {name!r}.{did_you_mean(name, fields)}")
    for name in needs:
        if name not in named:
            raise SettingError(f"prompt {template!r} must hold {{{name}}}")


def prompt_of(catalog: Catalog, row: int, template: str, **more: str) -> str:
    """Return the template filled for an item, with ``more`` as further fields.

    The title replaces a blank caption, as everywhere in this library. Raises DataError if a field of the
    template is blank.
    """
    caption, title = str(catalog.captions[row]).strip(), str(catalog.titles[row]).strip()
    texts = {"caption": caption or title, "title": title, "category": str(catalog.categories[row]).strip()}
    for name in FIELDS:
        if not texts[name] and f"{{{name}}}" in template:
            lacks = "caption and title" if name == "caption" else name
            raise DataError(
                f"item {str(catalog.item_ids[row])!r} has no {lacks} for the prompt {template!r}",
                remedy="Caption the pictures (python -m recsim_gen.caption) or set another prompt",
            )
    return template.format(**texts, **more)
