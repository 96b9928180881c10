"""Trade-off of editing, gain against preservation: methods as points, a method's strengths as a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.figures import COLOURS, STYLE, save
from analysis.simulation_figures import MARKERS
from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIGHT = "0.75"  # grey level of intervals


def editing_curves(
    table: pd.DataFrame,
    path: str | Path,
    *,
    title: str,
    caption: str,
    won: Mapping[str, str],
    kept: Mapping[str, str],
    lines: Mapping[str, Mapping[str, str]],
    lower_is_kept: Sequence[str] = (),
) -> list[Path]:
    """Draw a panel for each measure of gain (y axis) and of preservation (x axis).

    Parameters
    ----------
    table
        ``variant``, ``metric``, ``value``, ``low`` and ``high``, from `core.table.pooled`.
    path
        Path without suffix, for PNG and SVG.
    title, caption
        Texts above and below.
    won, kept
        {metric: label of its axis}, of gain and of preservation.
    lines
        {name: {variant: label of its point}}: variants that are connected, in this order; every other variant
        is a separate point.
    lower_is_kept
        Metrics of ``kept`` where lower is better preserved; their axis is inverted.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    DataError
        If a metric has no rows, or a line lacks its variants.
    """
    wide = table.pivot(index="variant", columns="metric", values=["value", "low", "high"])
    for metric in (*won, *kept):
        if metric not in wide["value"]:
            raise DataError(f"a panel needs rows of {metric}, got none")
    for name, variants in lines.items():
        if lacking := [variant for variant in variants if variant not in wide.index]:
            raise DataError(f"the line {name} needs rows of {lacking[0]}, got none")
    wide = wide.reindex([*dict.fromkeys(table["variant"])])  # keep their order instead of sorting
    return save(_draw(wide, title, caption, won, kept, lines, lower_is_kept), path)


def _draw(
    wide: pd.DataFrame,
    title: str,
    caption: str,
    won: Mapping[str, str],
    kept: Mapping[str, str],
    lines: Mapping[str, Mapping[str, str]],
    lower_is_kept: Sequence[str],
) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(won) + 2.0, 3.0 * len(kept) + 0.9), layout="constrained")
        every = figure.subplots(len(kept), len(won), squeeze=False, sharex="row", sharey="col")
        for row, across in zip(every, kept, strict=True):
            for axes, upwards in zip(row, won, strict=True):
                _panel(axes, wide, across, upwards, lines)
                axes.set_xlabel(kept[across])
                axes.set_ylabel(won[upwards])
            if across in lower_is_kept:
                row[0].invert_xaxis()  # also inverts the axes that share it
        handles, labels = every[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside right upper")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.supxlabel(caption, fontsize=8.5, color="0.35", x=0.01, ha="left")
    return figure


def _panel(
    axes: Axes, wide: pd.DataFrame, across: str, upwards: str, lines: Mapping[str, Mapping[str, str]]
) -> None:
    joined = {variant for variants in lines.values() for variant in variants}
    alone = {str(variant): [str(variant)] for variant in wide.index if variant not in joined}
    for k, (name, variants) in enumerate({**{n: [*v] for n, v in lines.items()}, **alone}.items()):
        mine = wide.loc[variants]
        x, y = mine["value", across], mine["value", upwards]
        ends = [[x - mine["low", across], mine["high", across] - x]]
        ends += [[y - mine["low", upwards], mine["high", upwards] - y]]
        axes.errorbar(x, y, xerr=ends[0], yerr=ends[1], fmt="none", ecolor=LIGHT, elinewidth=0.9, zorder=1)
        axes.plot(
            x,
            y,
            label=name,
            color=COLOURS[k % len(COLOURS)],
            marker=MARKERS[k % len(MARKERS)],
            linestyle="-" if len(variants) > 1 else "none",
            linewidth=1.4,
            markersize=5.5,
            zorder=2,
        )
        for variant, text in lines.get(name, {}).items():
            at = (x[variant], y[variant])
            axes.annotate(text, at, xytext=(4, 4), textcoords="offset points", fontsize=8, color="0.3")
    axes.grid(color="0.93")
