"""Training curves for the page: a panel for each metric, a line for each seed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsim_gen.core.tracked import Curve

MOST = 200
"""Most points of a line on the page; of longer ones every k-th and the last are drawn."""

_SEED = re.compile(r"(?:^|/)(seed_\d+)")


def trainings(curves: Sequence[Curve], command: str) -> list[dict[str, Any]]:
    """Return the content of each training for the template.

    Each has ``name`` (its variant; the command if it has no other training), ``lines`` (the seeds) and
    ``panels``, one for each metric and part of the training, with a line for each seed.
    """
    names = list(dict.fromkeys(curve.run for curve in curves))
    return [_training(name or command, [curve for curve in curves if curve.run == name]) for name in names]


def _training(name: str, curves: Sequence[Curve]) -> dict[str, Any]:
    lines = list(dict.fromkeys(_line(curve) for curve in curves))
    by_panel: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        by_panel.setdefault((_part(curve), curve.metric), []).append(curve)
    panels = [_panel(_title(part, metric, name), of, lines) for (part, metric), of in by_panel.items()]
    return {"name": name, "lines": [line.replace("_", " ") for line in lines], "panels": panels}


def _title(part: str, metric: str, name: str) -> str:
    """Return a title that can be wrapped; the part is left out if it equals the training's name."""
    return f"{'' if part == name else part} {metric}".replace("_", " ").strip()


def _line(curve: Curve) -> str:
    """Return the name of a line: the seed."""
    match = _SEED.search(curve.training)
    return match[1] if match else ""


def _part(curve: Curve) -> str:
    """Return the part of a panel: the part of the training, or the share of items replaced."""
    return _SEED.sub("", curve.training).strip("/")


def _panel(title: str, curves: Sequence[Curve], lines: Sequence[str]) -> dict[str, Any]:
    values = [value for curve in curves for _, value in curve.points]
    steps = [step for curve in curves for step, _ in curve.points]
    low, high, first, last = min(values), max(values), min(steps), max(steps)

    def place(step: int, value: float) -> str:
        across = 100 * (step - first) / (last - first) if last > first else 50
        up = 100 * (value - low) / (high - low) if high > low else 50
        return f"{across:.1f},{100 - up:.1f}"

    ends = [curve.points[-1][1] for curve in curves]
    return {
        "title": title,
        "last": _number(sum(ends) / len(ends)),
        "low": _number(low),
        "high": _number(high),
        "steps": f"{first:,} to {last:,}",
        "lines": [
            {
                "name": _line(curve).replace("_", " ") or title,
                "colour": lines.index(_line(curve)),
                "points": " ".join(place(*point) for point in _drawn(curve.points)),
            }
            for curve in curves
        ],
    }


def _drawn(points: Sequence[tuple[int, float]]) -> Iterable[tuple[int, float]]:
    """Thin out the points; a single one becomes a short line."""
    if len(points) == 1:
        return [points[0], points[0]]
    every = -(-len(points) // MOST)
    return [*points[:-1:every], points[-1]]


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
