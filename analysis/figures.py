"""Common parts of figures: readable without colour, equal bytes for equal numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.results import Results
from recsim_gen.core.store import atomic
from recsim_gen.core.table import labels, pooled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008): distinct with common colour blindness; ordered by lightness contrast.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999")
HATCHES = ("", "//", "..", "xx", "--", "\\\\")  # for printing without colour

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "recsim-gen",  # fixed element ids: equal numbers give equal files
    "svg.fonttype": "path",  # renders equally without the font
}


def grouped_bars(
    results: Results,
    path: str | Path,
    *,
    title: str,
    ylabel: str,
    metrics: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
) -> list[Path]:
    """Draw one group per variant, one bar per metric, with its 95% interval; PNG and SVG.

    Parameters
    ----------
    results
        Rows pooled as in the printed table.
    path
        Path without suffix: ``.png`` (200 dpi) and ``.svg`` are added.
    title, ylabel
        Texts; ``ylabel`` has the quantity and its unit.
    metrics
        Metrics in order; default all. They share an axis, so they should share a unit.
    names
        Names of variants (``{"ret": "Retrieved"}``); default their own.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    DataError
        If a metric has no rows, or rows differ by more than variant and metric, since their bars would
        overlap.
    """
    frame = _chosen(results, metrics)
    return save(_draw(frame, names or {}, title, ylabel), path)


def save(figure: Figure, path: str | Path) -> list[Path]:
    """Write ``path.png`` and ``path.svg`` atomically, without date or version in them."""
    import matplotlib

    paths = []
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": None})):
        target = Path(path).with_name(Path(path).name + suffix)
        with matplotlib.rc_context(STYLE), atomic(target) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=200, metadata=metadata)
        paths.append(target)
    return paths


def _chosen(results: Results, metrics: Sequence[str] | None) -> pd.DataFrame:
    if not results.rows:
        raise DataError("a figure needs rows, got none")
    if several := labels(results.frame()):
        raise DataError(f"a figure shows one {several[0]}, got several", remedy="Keep the rows of one")
    frame = pooled(results)
    present = list(dict.fromkeys(frame["metric"]))
    for metric in metrics or ():
        if metric not in present:
            raise DataError(f"no rows of metric {metric!r}.{did_you_mean(metric, present)}")
    order = {metric: i for i, metric in enumerate(metrics or present)}
    frame = frame[frame["metric"].isin(list(order))]
    return frame.assign(order=frame["metric"].map(order)).sort_values("order", kind="stable")


def _draw(frame: pd.DataFrame, names: Mapping[str, str], title: str, ylabel: str) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    variants = list(dict.fromkeys(frame["variant"]))
    metrics = list(dict.fromkeys(frame["metric"]))
    with matplotlib.rc_context(STYLE):
        width = max(6.4, 0.55 * len(variants) * len(metrics) + 1.5)
        figure = Figure(figsize=(width, 4.2), layout="constrained")
        axes = figure.subplots()
        for i, metric in enumerate(metrics):
            rows = frame[frame["metric"] == metric].set_index("variant").reindex(variants)
            _bars(axes, rows, metric, i, len(metrics))
        axes.set_xticks(range(len(variants)), [names.get(v, v) for v in variants])
        if len(variants) > 8:
            axes.tick_params(axis="x", rotation=30)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.grid(axis="y", color="0.88")
        axes.set_ylabel(ylabel)
        axes.set_title(title, loc="left", pad=26)
        axes.legend(
            frameon=False, ncols=len(metrics), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2
        )
        figure.supxlabel(_caption(frame), fontsize=8.5, color="0.35", x=0.01, ha="left")
    return figure


def _bars(axes: Axes, rows: pd.DataFrame, metric: str, i: int, count: int) -> None:
    width = 0.8 / count
    x = np.arange(len(rows)) + (i - (count - 1) / 2) * width
    value = rows["value"].to_numpy(float)
    style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "hatch": HATCHES[i % len(HATCHES)]}
    axes.bar(x, value, 0.94 * width, label=metric, edgecolor="white", **style)
    # By rounding, a bootstrap interval may exclude the value; negative lengths cannot be drawn.
    ends = np.stack([value - rows["low"].to_numpy(float), rows["high"].to_numpy(float) - value]).clip(min=0)
    drawn = np.isfinite(ends).all(0)
    axes.errorbar(
        x[drawn], value[drawn], yerr=ends[:, drawn], fmt="none", ecolor="0.15", capsize=3, linewidth=1.1
    )


def _caption(frame: pd.DataFrame) -> str:
    """Return the caption: the meaning of bars and lines, and the number of rows."""
    counts = sorted({int(n) for n in frame["n"].dropna()})
    n = (
        ""
        if not counts
        else f"; n = {'–'.join(str(c) for c in dict.fromkeys((counts[0], counts[-1])))} per bar"
    )
    intervals = "lines: 95% intervals" if frame["low"].notna().any() else "no intervals"
    return f"Bars: value over all seeds; {intervals}{n}."
