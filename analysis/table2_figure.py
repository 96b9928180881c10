"""Table 2 as an image: two blocks, with bold and underlined values, for pages without LaTeX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.figures import STYLE
from analysis.table2 import BEST, CONTROL, SECOND, TITLES, Cell, Table2, interval, number, spread
from recsim_gen.core.store import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, HIGH, NAME = (
    1.42,
    0.42,
    2.75,
)  # inches: width of a column, height of a line, minimal width of the column of names
LETTER = 0.082  # inches per letter of a name
_GREY, _RULE = "0.42", "0.15"


def picture(table: Table2, path: str | Path) -> Path:
    """Write ``path.png`` (200 dpi) atomically; return its path.

    Columns of controls are grey; a metric without any value shows the reason in its line.
    """
    import matplotlib

    target = Path(path).with_name(Path(path).name + ".png")
    with matplotlib.rc_context(STYLE), atomic(target) as temporary:
        _draw(table).savefig(temporary, format="png", dpi=200, metadata={"Software": None})
    return target


def _draw(table: Table2) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = sum(1 + len(block) for block in table.blocks.values())
    bottom = 0.1 + HIGH * (lines + 2)
    names = max(NAME, LETTER * max(len(line.name) + 4 for block in table.blocks.values() for line in block))
    wide, high = names + WIDE * len(table.variants) + 0.2, bottom + 0.65
    figure = Figure(figsize=(wide, high))
    FigureCanvasAgg(figure)  # underlines need the extent of rendered text
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, wide), ylim=(high, 0))
    axes.axis("off")
    for k, variant in enumerate(table.variants):
        if variant in table.controls:
            left = names + WIDE * k
            axes.fill_between([left, left + WIDE], 0.1, bottom, color="0.955", linewidth=0)
    y = 0.1
    _rule(axes, y, wide, 1.4)
    for k, variant in enumerate(table.variants):
        x, control = names + WIDE * (k + 0.5), variant in table.controls
        axes.text(x, y + (0.32 if control else 0.5) * HIGH, variant, ha="center", va="center", fontsize=10)
        if control:
            axes.text(x, y + 0.72 * HIGH, CONTROL, ha="center", va="center", fontsize=7, color=_GREY)
    y += HIGH
    for block, block_lines in table.blocks.items():
        _rule(axes, y, wide, 0.8)
        axes.text(0.12, y + HIGH / 2, TITLES[block], style="italic", va="center", fontsize=10)
        y += HIGH
        for line in block_lines:
            axes.text(0.22, y + HIGH / 2, f"{line.name} {line.arrow}", va="center", fontsize=9.5)
            if line.reason:
                axes.text(names + 0.12, y + HIGH / 2, "unavailable", va="center", fontsize=9, color=_GREY)
            for k, variant in enumerate(table.variants):
                _cell(axes, line.cells.get(variant), names + WIDE * (k + 0.5), y)
            y += HIGH
    _rule(axes, y, wide, 0.8)
    axes.text(0.22, y + HIGH / 2, "n", va="center", fontsize=9.5)
    for k, variant in enumerate(table.variants):
        n = f"{table.counts[variant]:,}"
        axes.text(names + WIDE * (k + 0.5), y + HIGH / 2, n, ha="center", va="center", fontsize=9.5)
    y += HIGH
    _rule(axes, y, wide, 1.4)
    axes.text(0.12, y + 0.1, _wrapped(table.caption, wide), va="top", fontsize=8, color=_GREY)
    return figure


def _cell(axes: Axes, cell: Cell | None, x: float, y: float) -> None:
    """Draw value and spread, with the interval below in small type."""
    if cell is None:
        return
    weight: Any = "bold" if cell.mark == BEST else "normal"
    text = number(cell.value) + ("†" if cell.differs else "")
    above = y + (0.34 if interval(cell) else 0.5) * HIGH
    value = axes.text(
        x, above, text, ha="right" if cell.sd is not None else "center", va="center", weight=weight
    )
    value.set_fontsize(9.5)
    if cell.sd is not None:
        axes.text(x, above, spread(cell), ha="left", va="center", fontsize=7.5, color=_GREY)
    axes.text(x, y + 0.74 * HIGH, interval(cell), ha="center", va="center", fontsize=7, color=_GREY)
    if cell.mark == SECOND:
        box = value.get_window_extent().transformed(axes.transData.inverted())
        axes.plot([box.x0, box.x1], [above + 0.085, above + 0.085], color="black", linewidth=0.8)


def _rule(axes: Axes, y: float, wide: float, width: float) -> None:
    axes.plot([0.08, wide - 0.08], [y, y], color=_RULE, linewidth=width)


def _wrapped(text: str, wide: float) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, int(wide * 17)))
