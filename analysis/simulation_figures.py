"""Figure of the simulated shop: measures of each arm, round by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.figures import COLOURS, STYLE, save
from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*<>"
LINES = ("-", "--", ":", "-.")
SPREAD = 0.05  # horizontal offset of arms, in rounds, so that intervals do not overlap
COLUMNS = 3


def round_curves(
    table: pd.DataFrame, path: str | Path, *, title: str, panels: Mapping[str, tuple[str, str]]
) -> list[Path]:
    """Draw one panel per measure, with rounds on the x axis and a line with 95% intervals for each arm.

    ``table`` has ``variant``, ``meaning``, ``round``, ``metric``, ``value``, ``low`` and ``high``; ``panels``
    {title of the panel: (meaning, metric)}. Writes PNG and SVG beside ``path`` and returns their paths.
    Raises DataError for a panel without rows.
    """
    shown = {}
    for name, (meaning, metric) in panels.items():
        rows = table[(table["meaning"] == meaning) & (table["metric"] == metric)]
        if rows.empty:
            raise DataError(f"a panel needs rows of {metric} under {meaning}, got none")
        shown[name] = rows
    return save(_draw(shown, title), path)


def _draw(shown: Mapping[str, pd.DataFrame], title: str) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    arms = list(dict.fromkeys(next(iter(shown.values()))["variant"]))
    columns = min(COLUMNS, len(shown))
    lines = -(-len(shown) // columns)
    with matplotlib.rc_context(STYLE):
        size = (3.7 * columns + 1.8, 3.1 * lines + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes, (name, rows) in zip(panels, shown.items(), strict=False):
            _panel(axes, rows, arms)
            axes.set_title(name, fontsize=10)
            axes.set_xlabel("round")
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside right upper")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        caption = "Lines: 95% intervals over people and seeds."
        figure.supxlabel(caption, fontsize=8.5, color="0.35", x=0.01, ha="left")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, arms: Sequence[str]) -> None:
    for k, arm in enumerate(arms):
        mine = rows[rows["variant"] == arm].sort_values("round")
        value, colour = mine["value"].to_numpy(float), COLOURS[k % len(COLOURS)]
        ends = [value - mine["low"].to_numpy(float), mine["high"].to_numpy(float) - value]
        x = mine["round"].to_numpy(float) + SPREAD * (k - (len(arms) - 1) / 2)
        style: dict[str, Any] = {"color": colour, "marker": MARKERS[k % len(MARKERS)], "markersize": 4}
        axes.plot(x, value, linestyle=LINES[k % len(LINES)], linewidth=1.4, label=arm, **style)
        axes.errorbar(x, value, yerr=ends, fmt="none", ecolor=colour, capsize=2.5, linewidth=1)
    axes.set_xticks(sorted(rows["round"].unique().tolist()))
    axes.grid(axis="y", color="0.9")
