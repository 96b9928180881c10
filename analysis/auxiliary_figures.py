"""Effect of replaced images on recommendation: bars, or curves over the share of replaced items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.figures import COLOURS, STYLE, save
from recsim_gen.core.errors import DataError
from recsim_gen.core.results import Results
from recsim_gen.core.table import WARNINGS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MARKERS = "osD^vPX*<>"
LINES = ("-", "--", ":", "-.")
SPREAD = 0.012  # horizontal offset of variants, as a share of the axis, so that intervals do not overlap


def fraction_curves(
    results: Results, path: str | Path, *, title: str, metrics: Sequence[str] = ("recall@10", "ndcg@10")
) -> list[Path]:
    """Draw the difference to the original images by the share replaced.

    One column per metric, one row per policy. Reads the rows ``<metric>_minus_original`` over all seeds, with
    their ``leakage`` and ``fraction``; every curve starts at 0. For a single fraction, each variant is a bar.
    Writes PNG and SVG beside ``path`` and returns their paths. Raises DataError if there are no such rows.
    """
    frame = results.frame()
    differences = [f"{metric}_minus_original" for metric in metrics]
    frame = frame[frame["seed"].isna() & frame["metric"].isin(differences)]
    if frame.empty:
        raise DataError(f"a curve needs rows of {' or '.join(differences)}, got none")
    return save(_draw(frame, differences, title), path)


def _draw(frame: pd.DataFrame, metrics: Sequence[str], title: str) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    policies = list(dict.fromkeys(frame["leakage"]))
    variants = list(dict.fromkeys(frame["variant"]))
    alone = frame["fraction"].nunique() == 1
    draw = _bars if alone else _lines
    with matplotlib.rc_context(STYLE):
        size = (4.4 * len(metrics) + 1.8, 3.4 * len(policies) + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(policies), len(metrics), squeeze=False, sharex=True, sharey="col")
        for line, policy in zip(panels, policies, strict=True):
            for axes, metric in zip(line, metrics, strict=True):
                rows = frame[(frame["leakage"] == policy) & (frame["metric"] == metric)]
                draw(axes, rows, variants)
                axes.axhline(0, color="black", linewidth=0.8)
                axes.grid(axis="y", color="0.9")
                axes.set_title(
                    metric.removesuffix("_minus_original") + f", {WARNINGS['leakage'].get(policy, policy)}",
                    fontsize=10,
                )
                if not alone:
                    axes.set_xlabel("share of the items replaced")
            line[0].set_ylabel("difference to the original pictures")
        if not alone:
            handles, labels = panels[0, 0].get_legend_handles_labels()
            figure.legend(handles, labels, frameon=False, loc="outside right upper")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        caption = "Lines: 95% intervals over all seeds; above 0: better than with the items' own pictures."
        figure.supxlabel(caption, fontsize=8.5, color="0.35", x=0.01, ha="left")
    return figure


def _bars(axes: Axes, rows: pd.DataFrame, variants: Sequence[str]) -> None:
    mine = rows.set_index("variant").reindex(list(variants))
    x, value = range(len(variants)), mine["value"].to_numpy(float)
    axes.bar(x, value, 0.7, color=COLOURS[4])
    axes.errorbar(x, value, yerr=_ends(mine), fmt="none", ecolor="0.15", capsize=3, linewidth=1.1)
    axes.set_xticks(x, variants, rotation=30, ha="right")


def _lines(axes: Axes, rows: pd.DataFrame, variants: Sequence[str]) -> None:
    for k, variant in enumerate(variants):
        mine = rows[rows["variant"] == variant].sort_values("fraction")
        if mine.empty:
            continue
        value = mine["value"].to_numpy(float)
        colour = COLOURS[k % len(COLOURS)]
        style: dict[str, Any] = {"color": colour, "marker": MARKERS[k % len(MARKERS)], "markersize": 4}
        x = mine["fraction"].to_numpy(float)
        apart = x + SPREAD * (k - (len(variants) - 1) / 2)
        line = LINES[k % len(LINES)]
        axes.plot([0, *apart], [0, *value], linestyle=line, linewidth=1.4, label=variant, **style)
        axes.errorbar(apart, value, yerr=_ends(mine), fmt="none", ecolor=colour, capsize=2.5, linewidth=1)


def _ends(rows: pd.DataFrame) -> NDArray[Any]:
    """Return the lengths of intervals below and above the value, clipped at 0 for rounding errors."""
    value = rows["value"].to_numpy(float)
    return np.stack([value - rows["low"].to_numpy(float), rows["high"].to_numpy(float) - value]).clip(min=0)
