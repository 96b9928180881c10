"""Figure and table of a search of settings, with the validation result of each trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.figures import COLOURS, STYLE, save
from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tried = Sequence[tuple[Mapping[str, Any], float]]
"""Settings and value of each trial; the first is the ranker as given."""

WIDE = 4  # panels per row
RATIO = 20  # ratio of largest to smallest value from which an axis is logarithmic


def search_table(tried: Tried) -> str:
    """Return the trials from best to worst, with their settings."""
    from tabulate import tabulate

    ordered = sorted(enumerate(tried), key=lambda one: -one[1][1])
    names = list(tried[0][0])
    lines = [
        [f"{number} (as given)" if number == 0 else number, f"{value:.4f}", *(settings[n] for n in names)]
        for number, (settings, value) in ordered
    ]
    return str(tabulate(lines, ["trial", "validation", *names], tablefmt="github", disable_numparse=True))


def search_figure(tried: Tried, path: str | Path, *, title: str) -> list[Path]:
    """Draw one panel per setting, with trials as points: its value on the x axis, the result on the y axis.

    The ranker as given is a square, the best a star. Writes PNG and SVG beside ``path`` and returns their
    paths. Raises DataError without trials.
    """
    if not tried:
        raise DataError("a figure needs trials, got none")
    return save(_draw(tried, title), path)


def _draw(tried: Tried, title: str) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    names = list(tried[0][0])
    rows, columns = -(-len(names) // WIDE), min(len(names), WIDE)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * columns + 1.2, 2.6 * rows + 1.1), layout="constrained")
        every = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in every.flat[len(names) :]:
            axes.set_visible(False)
        for axes, name in zip(every.flat, names, strict=False):
            _panel(axes, [settings[name] for settings, _ in tried], [value for _, value in tried])
            axes.set_xlabel(name)
        for axes in every[:, 0]:
            axes.set_ylabel("on validation")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        caption = "Square: the ranker as given; star: the best; darker: later trials."
        figure.supxlabel(caption, fontsize=8.5, color="0.35", x=0.01, ha="left")
    return figure


def _panel(axes: Axes, x: Sequence[Any], y: Sequence[float]) -> None:
    import numpy as np
    from matplotlib.colors import to_rgba
    from matplotlib.ticker import MaxNLocator

    best = int(np.argmax(y))
    shades = [to_rgba(COLOURS[0], shade) for shade in np.linspace(0.35, 1.0, len(x))]
    axes.scatter(x[1:], y[1:], s=22, color=shades[1:], linewidths=0)
    axes.scatter(x[:1], y[:1], s=46, color=COLOURS[5], marker="s", zorder=3)
    axes.scatter([x[best]], [y[best]], s=130, color=COLOURS[1], edgecolor="black", marker="*", zorder=4)
    if min(x) > 0 and max(x) / min(x) >= RATIO:
        axes.set_xscale("log")
    elif all(isinstance(value, int) for value in x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.92")
