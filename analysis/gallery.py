"""Gallery page of people: the history of each, the reference, and the images drawn for them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.embedding_map import ACROSS, EmbeddingMap
from recsim_gen.core.store import atomic
from recsim_gen.metrics.delta_rank import delta_r

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

LARGEST = 256
"""Most pixels of an image's longer side on the page: larger ones are downscaled."""

EXACT = 96
"""Pixels up to which an image stays a PNG; larger ones are stored as photographs."""

SMALL = 48
"""Side of history images in pixels."""


MAP_HEIGHT = 440
"""Height of the map, whose width is 1000."""


@dataclass(frozen=True)
class Chosen:
    """A history item: its ``picture`` and ``title``, and whether RAGAR ``retrieved`` it."""

    picture: Image.Image | None
    title: str
    retrieved: bool = False


@dataclass(frozen=True)
class Drawn:
    """One generator's image.

    Parameters
    ----------
    generator
        Label of the generator.
    picture
        The image.
    words
        Text that it was drawn from, as far as there is one.
    ranks
        {judge: rank of the item before and after}.
    liking
        True liking of it, if known.
    """

    generator: str
    picture: Image.Image
    words: str = ""
    ranks: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    liking: float | None = None


@dataclass(frozen=True)
class Person:
    """One episode: the person, the reference, and the images; ``liking`` is of the item as it is."""

    name: str
    item: str
    title: str
    caption: str
    category: str
    reference: Image.Image | None
    history: Sequence[Chosen]
    drawn: Sequence[Drawn]
    liking: float | None = None


def gallery(
    people: Sequence[Person], path: str | Path, *, title: str, around: EmbeddingMap | None = None
) -> Path:
    """Write the page: a single file that works offline, in light and dark mode, and on a phone.

    Scripts are only needed for search, categories, sorting, the slider between before and after, and pointing
    at the map.

    Parameters
    ----------
    people
        In the order of the page.
    path
        Path of the page.
    title
        Heading.
    around
        Map of the catalogue, with these people in this order.

    Returns
    -------
    Path
        The path.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = FileSystemLoader(Path(__file__).parent)
    made = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    generators = list(dict.fromkeys(drawn.generator for person in people for drawn in person.drawn))
    judges = list(
        dict.fromkeys(judge for person in people for drawn in person.drawn for judge in drawn.ranks)
    )
    html = made.get_template("gallery.html").render(
        title=title,
        people=[_card(person, _short(judges)) for person in people],
        categories=sorted({person.category for person in people} - {""}),
        orders=_orders(generators, _short(judges), liked=any(person.liking is not None for person in people)),
        known=any(person.liking is not None for person in people),
        map=around and _map(around),
    )
    with atomic(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return Path(path)


def _map(around: EmbeddingMap) -> dict[str, Any]:
    """Return the content of the map for the template, in units of the drawing."""

    def units(places: NDArray[Any]) -> list[tuple[float, float]]:
        return [(round(1000 * x, 1), round(MAP_HEIGHT * (1 - y), 1)) for x, y in places.tolist()]

    return {
        **vars(around),
        "points": units(around.items),
        "drawn": {name: units(places) for name, places in around.drawn.items()},
        "rows": around.rows,
        "across": ACROSS,
        "height": MAP_HEIGHT,
    }


def _orders(generators: Sequence[str], judges: Mapping[str, str], *, liked: bool) -> list[tuple[str, str]]:
    """Return the (key, label) pairs to sort by; the keys are those of `_numbers`."""
    orders = [(f"{g}|{j}", f"ΔR of {g} by {name}") for g in generators for j, name in judges.items()]
    return orders + ([(f"{g}|", f"liking gained by {g}") for g in generators] if liked else [])


def _short(judges: Sequence[str]) -> dict[str, str]:
    """Return {judge: its name without the seed}, if that is unique."""
    names = [judge.rpartition("-seed")[0] or judge for judge in judges]
    return dict(zip(judges, names if len(set(names)) == len(names) else judges, strict=True))


def _card(person: Person, judges: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of one person for the template; ``judges`` {judge: its label}."""
    return {
        "name": person.name,
        "item": person.item,
        "title": person.title or person.item,
        "caption": person.caption,
        "category": person.category,
        "liking": _signed(person.liking),
        "reference": _address(person.reference),
        "history": [(_address(one.picture, SMALL), one.title, one.retrieved) for one in person.history],
        "drawn": [_picture(person, drawn, judges) for drawn in person.drawn],
        "numbers": {key: x for drawn in person.drawn for key, x in _numbers(person, drawn).items()},
    }


def _picture(person: Person, drawn: Drawn, judges: Mapping[str, str]) -> dict[str, Any]:
    numbers = _numbers(person, drawn)
    lines = [
        (judges[judge], f"{before:,.0f} → {after:,.0f}", _tone(numbers[f"{drawn.generator}|{judge}"]))
        for judge, (before, after) in drawn.ranks.items()
    ]
    gained = numbers.get(f"{drawn.generator}|")
    if gained is not None:
        lines.append(("true liking", f"{_signed(drawn.liking)} ({_signed(gained)})", _tone(round(gained, 1))))
    return {
        "generator": drawn.generator,
        "address": _address(drawn.picture),
        "words": drawn.words,
        "lines": lines,
    }


def _numbers(person: Person, drawn: Drawn) -> dict[str, float]:
    """Return the sort keys: ΔR under each judge, and the gain in liking."""
    import numpy as np

    numbers = {
        f"{drawn.generator}|{judge}": float(delta_r(np.array([before]), np.array([after]))[0])
        for judge, (before, after) in drawn.ranks.items()
    }
    if drawn.liking is not None and person.liking is not None:
        numbers[f"{drawn.generator}|"] = drawn.liking - person.liking
    return numbers


def _signed(value: float | None) -> str:
    """Format with one decimal and a sign; zero has no sign, and an unknown value is ""."""
    if value is None:
        return ""
    rounded = round(value, 1) + 0.0
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def _tone(gained: float) -> str:
    return "good" if round(gained, 3) > 0 else "bad" if round(gained, 3) < 0 else "same"


def _address(picture: Image.Image | None, side: int = LARGEST) -> str:
    """Return the image, at most ``side`` pixels long, as a data URI; "" for none."""
    if picture is None:
        return ""
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    exact = small.size == picture.size and max(small.size) <= EXACT
    kind, arguments = ("png", {"optimize": True}) if exact else ("jpeg", {"quality": 90})
    content = io.BytesIO()
    small.save(content, format=kind, **arguments)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
