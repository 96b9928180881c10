"""Measures of several methods by the number of images judged in training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.figures import COLOURS, STYLE, save
from analysis.simulation_figures import LINES, MARKERS
from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

APART = 0.012  # horizontal offset of lines, as a share of the axis, so that intervals do not overlap


def budget_curves(
    table: pd.DataFrame, path: str | Path, *, title: str, caption: str, panels: Mapping[str, str]
) -> list[Path]:
    """Draw one panel per measure, the number of judged images on the x axis, a line per method.

    ``table`` has ``method``, ``judged`` (images, above 0), ``measure``, ``value``, ``low`` and ``high``;
    ``panels`` {measure: title of its panel}. Writes PNG and SVG beside ``path`` and returns their paths.
    Raises DataError for a panel without rows.
    """
    for measure in panels:
        if not (table["measure"] == measure).any():
            raise DataError(f"a panel needs rows of {measure}, got none")
    return save(_draw(table, title, caption, panels), path)


def _draw(table: pd.DataFrame, title: str, caption: str, panels: Mapping[str, str]) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * len(panels) + 1.9, 4.0), layout="constrained")
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (measure, name) in zip(every, panels.items(), strict=True):
            _panel(axes, table[table["measure"] == measure])
            axes.set_title(name, fontsize=10)
            axes.set_xlabel("judged pictures")
        handles, labels = every[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside right upper")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.supxlabel(caption, fontsize=8.5, color="0.35", x=0.01, ha="left")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    widest = rows["judged"].max()
    methods = list(rows.sort_values("judged", kind="stable").groupby("method", sort=False))
    for k, (method, mine) in enumerate(methods):
        x = mine["judged"] + APART * widest * (k - (len(methods) - 1) / 2)
        ends = [mine["value"] - mine["low"], mine["high"] - mine["value"]]
        axes.errorbar(
            x,
            mine["value"],
            yerr=ends,
            label=method,
            color=COLOURS[k % len(COLOURS)],
            marker=MARKERS[k % len(MARKERS)],
            linestyle=LINES[k % len(LINES)],
            markersize=4,
            linewidth=1.4,
            elinewidth=1,
            capsize=2.5,
        )
    axes.axhline(0, color="0.5", linewidth=0.8, linestyle="--")
    axes.grid(axis="y", color="0.9")
