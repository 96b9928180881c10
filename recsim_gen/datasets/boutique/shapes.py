"""The twelve silhouettes of Boutique, one function each, in units of a 100×100 sheet (y down)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recsim_gen.datasets.boutique.canvas import Canvas

Point = tuple[float, float]


def _points(*points: Point) -> np.ndarray:
    return np.array(points, dtype=float)


def _smooth(*points: Point, rounds: int = 3) -> np.ndarray:
    """Return a closed curve near ``points`` by Chaikin's corner cutting; a doubled point keeps a corner."""
    p = _points(*points)
    for _ in range(rounds):
        q = np.roll(p, -1, axis=0)
        p = np.stack([0.75 * p + 0.25 * q, 0.25 * p + 0.75 * q], axis=1).reshape(-1, 2)
    return p


def _mirror(*half: Point) -> list[Point]:
    """Return a closed outline: a right half, top to bottom, and its mirror image at x = 50."""
    return [*half, *[(100 - x, y) for x, y in reversed(half)]]


def _arc(centre: Point, radii: Point, start: float, end: float) -> np.ndarray:
    """Return points of an elliptic arc, degrees clockwise from the right."""
    angle = np.deg2rad(np.linspace(start, end, 40))
    return np.array(centre) + np.stack([radii[0] * np.cos(angle), radii[1] * np.sin(angle)], axis=1)


def _box(left: float, top: float, right: float, bottom: float, radius: float = 3) -> np.ndarray:
    """Return a rectangle with round corners."""
    corners = [
        (right - radius, bottom - radius, 0),
        (left + radius, bottom - radius, 90),
        (left + radius, top + radius, 180),
        (right - radius, top + radius, 270),
    ]
    return np.concatenate([_arc((x, y), (radius, radius), a, a + 90) for x, y, a in corners])


def _t_shirt(c: Canvas) -> None:
    neck = _arc((50, 16), (13, 12), 0, 180)
    right = [(63, 16), (76, 20), (94, 40), (82, 52), (74, 45), (74, 88)]
    left = [(100 - x, y) for x, y in reversed(right)]
    c.fill(np.concatenate([_points(*right, *left), neck[::-1]]))
    c.stroke(neck, "second", 4.5, outline=True)
    for x in (0, 1):
        hem = _points((93, 41), (82.5, 51))
        c.stroke(np.abs([100 * x, 0] - hem), "second", 3.5)
        c.stroke(np.abs([100 * x, 0] - _points((74, 45), (73, 36))), "ink", 1.4)


def _dress(c: Canvas) -> None:
    neck = _arc((50, 12), (9, 15), 0, 180)
    right = [(59, 12), (66, 9), (67, 24), (64, 33), (61, 45), (70, 64), (86, 86), (69, 91), (50, 92.5)]
    left = [(100 - x, y) for x, y in reversed(right[:-1])]
    c.fill(np.concatenate([_points(*right, *left), neck[::-1]]))
    for x in (40, 60):
        c.stroke(_points((x, 56), (x + 1.4 * (x - 50) / 2, 82)), "ink", 1.3)
    c.fill(_points((38.5, 42), (61.5, 42), (63, 49), (37, 49)), "second")
    c.stroke(neck, "second", 3)


def _trousers(c: Canvas) -> None:
    c.fill(_points((29, 9), (71, 9), (78, 91), (56, 91), (50, 40), (44, 91), (22, 91)))
    c.stroke(_points((50, 18), (50, 38)), "ink", 1.5)
    for x in (0, 1):
        c.stroke(np.abs([100 * x, 0] - _arc((72, 17), (11, 12), 95, 180)), "ink", 1.4)
        c.stroke(np.abs([100 * x, 0] - _points((57.5, 88.5), (76, 88.5))), "second", 3.5)
    c.fill(_points((29, 9), (71, 9), (71.6, 17), (28.4, 17)), "second")


def _jacket(c: Canvas) -> None:
    for x in (0, 1):
        sleeve = _smooth(
            (70, 17), (70, 17), (82, 24), (90, 48), (94, 78), (94, 78), (79, 81), (79, 81), (70, 44)
        )
        c.fill(np.abs([100 * x, 0] - sleeve))
        c.stroke(np.abs([100 * x, 0] - _points((80.5, 76.5), (92, 74.5))), "second", 4.5)
    c.fill(_points((37, 13), (63, 13), (74, 19), (73, 88), (27, 88), (26, 19)))
    c.fill(_points((42, 12), (58, 12), (50, 38)), "ink")
    for x in (0, 1):
        lapel = _points((57, 10), (65, 13), (69, 27), (61, 29), (50, 46), (50, 40))
        c.fill(np.abs([100 * x, 0] - lapel), "second")
        c.stroke(np.abs([100 * x, 0] - _points((56.5, 68), (68, 65))), "ink", 2)
    c.stroke(_points((50, 44), (50, 88)), "ink", 1.8)
    for y in (55, 66, 77):
        c.fill(_arc((54, y), (2.2, 2.2), 0, 360), "second", outline=True)


def _bag(c: Canvas) -> None:
    c.stroke(_arc((50, 42), (21, 30), 180, 360), "main", 5.5, outline=True)
    c.fill(_smooth(*_mirror((50, 39), (82, 39), (82, 39), (92, 86), (88, 89), (50, 89))))
    c.stroke(_points((18, 47), (82, 47)), "second", 4)
    c.fill(_box(43, 43, 57, 57, 4), "second")
    c.fill(_arc((50, 51), (2, 2), 0, 360), "ink", outline=False)


def _hat(c: Canvas) -> None:
    c.fill(_arc((50, 66), (45, 15), 0, 360))
    crown = _smooth((24, 66), (24, 66), (28, 26), (36, 15), (50, 22), (64, 15), (72, 26), (76, 66), (76, 66))
    bottom = _arc((50, 65), (25.5, 8), 0, 180)
    c.fill(np.concatenate([bottom, crown[(crown[:, 1] < 65)]]))
    c.fill(np.concatenate([bottom, _arc((50, 55), (24.5, 8), 180, 0)]), "second")


def _sneaker(c: Canvas) -> None:
    c.fill(
        _smooth(
            (8, 74), (8, 74), (9, 48), (10, 28), (10, 28), (20, 30), (30, 38), (38, 34), (44, 22), (44, 22),
            (52, 26), (58, 40), (70, 50), (88, 54), (95, 66), (94, 74), (94, 74),
        )
    )  # fmt: skip
    toe = _smooth((76, 74), (76, 74), (77, 58), (84, 53), (92, 56), (96, 68), (94, 74), (94, 74))
    c.fill(toe, "main")
    c.fill(_box(6, 72, 96, 81, 4), "second")
    for t in (0.0, 1.0, 2.0, 3.0):
        c.stroke(_points((45 + 6 * t, 43 + 4.6 * t), (52 + 5.6 * t, 32 + 5.2 * t)), "second", 3, outline=True)
    c.stroke(_points((10, 34), (21, 36), (31, 43), (38, 40)), "ink", 1.5)


def _umbrella(c: Canvas) -> None:
    c.stroke(_points((50, 8), (50, 14)), "second", 3, outline=True)
    c.stroke(
        np.concatenate([_points((50, 40), (50, 80)), _arc((57, 82), (7, 9), 180, 0)]),
        "second",
        4,
        outline=True,
    )
    scallops = [_arc((50 + x, 55), (10.75, 6), 0, -180) for x in (32.25, 10.75, -10.75, -32.25)]
    c.fill(np.concatenate([_arc((50, 55), (43, 43), 180, 360), *scallops]))
    c.stroke(_points((50, 12), (50, 54)), "ink", 1.4)
    for end in (180, 360):
        c.stroke(_arc((50, 55), (21.5, 43), 270, end), "ink", 1.4)


def _lamp(c: Canvas) -> None:
    c.stroke(_points((50, 50), (50, 84)), "second", 5, outline=True)
    c.fill(_smooth(*_mirror((50, 78), (62, 80), (74, 90), (74, 90), (50, 91))), "main")
    c.fill(_points((35, 10), (65, 10), (85, 55), (15, 55)))
    c.stroke(_points((36.5, 11.5), (63.5, 11.5)), "second", 3)
    c.stroke(_points((17, 53.5), (83, 53.5)), "second", 3)


def _mug(c: Canvas) -> None:
    c.stroke(_arc((68, 53), (20, 18), -80, 80), "main", 7.5, outline=True)
    rim = _arc((40, 24), (30, 9), 0, 360)
    bottom = [_arc((62, 80), (8, 8), 0, 80), _arc((18, 80), (8, 8), 100, 180)]
    c.fill(np.concatenate([_points((10, 24), (70, 24)), *bottom]))
    c.fill(rim, "main")
    c.fill(_arc((40, 24.5), (24, 5.8), 0, 360), "second")


def _armchair(c: Canvas) -> None:
    for x in (0, 1):
        c.fill(np.abs([100 * x, 0] - _points((74, 80), (85, 80), (83, 95), (77, 95))), "second")
    c.fill(_box(19, 8, 81, 70, 14))
    c.fill(_box(20, 66, 80, 85, 3))
    c.fill(_box(22, 52, 78, 67, 6))
    c.fill(_box(24, 67, 76, 73, 2), "second")
    for x in (0, 1):
        c.fill(np.abs([100 * x, 0] - _box(74, 40, 93, 85, 8)))


def _cushion(c: Canvas) -> None:
    corners = _points((14, 16), (87, 14), (86, 86), (13, 87))
    share = np.linspace(0, 1, 24)
    sag = (1 - 0.13 * np.sin(np.pi * share) ** 0.8)[:, None]
    following = np.roll(corners, -1, axis=0)
    sides = [50 + (np.linspace(a, b, 24) - 50) * sag for a, b in zip(corners, following, strict=True)]
    for corner in corners:
        c.stroke(np.stack([corner, 50 + (corner - 50) * 1.1]), "second", 4.5, outline=True)
    c.fill(np.concatenate(sides))
    for side in sides:
        c.stroke(side, "second", 2.2, outline=True)
    for side in sides:  # filled again without outline, so that the corners join
        c.stroke(side, "second", 2.2)


SHAPES: Mapping[str, Callable[[Canvas], None]] = MappingProxyType(
    {
        "T-shirt": _t_shirt,
        "dress": _dress,
        "trousers": _trousers,
        "jacket": _jacket,
        "bag": _bag,
        "hat": _hat,
        "sneaker": _sneaker,
        "umbrella": _umbrella,
        "lamp": _lamp,
        "mug": _mug,
        "armchair": _armchair,
        "cushion": _cushion,
    }
)
"""{category: function that draws it onto a canvas}."""
