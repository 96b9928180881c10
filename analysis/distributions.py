"""Distributions of ΔR: images and controls, one panel per judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures import STYLE, save
from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# variant: colour (Okabe & Ito), line, width; distinct in grey, too. "own" is always 0 and not drawn.
LINES = {
    "images": ("#0072B2", "-", 2.4),
    "placebo": ("#009E73", "--", 1.6),
    "noise": ("#D55E00", ":", 2.0),
    "shuffled": ("#7F7F7F", "-.", 1.4),
}
COLUMNS = 3
LINEAR = 0.1  # |ΔR| below which the axis is linear; logarithmic beyond, since the left tail is long


def distributions(samples: pd.DataFrame, path: str | Path, *, title: str) -> list[Path]:
    """Draw the share of pairs whose ΔR is at most x, for each variant; PNG and SVG.

    A line further to the right is better.

    Parameters
    ----------
    samples
        Columns ``judge``, ``variant``, ``delta_r``: one row per pair (`judging.Judgement.samples`).
    path
        Path without suffix.
    title
        Title above the panels.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    DataError
        If there is nothing to draw.
    """
    drawn = samples[samples["variant"].isin(list(LINES))]
    if drawn.empty:
        raise DataError(f"samples must have variants of {', '.join(LINES)}, got none")
    return save(_draw(drawn, title), path)


def _draw(samples: pd.DataFrame, title: str) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    judges = list(dict.fromkeys(samples["judge"]))
    columns = min(COLUMNS, len(judges))
    rows = -(-len(judges) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(6.4, 4.2 * columns), 3.6 * rows + 0.9), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, judge in zip(panels, judges, strict=False):
            _panel(panel, samples[samples["judge"] == judge], judge)
        for panel in panels[len(judges) :]:
            panel.set_visible(False)
        for panel in panels[max(0, len(judges) - columns) : len(judges)]:  # last row: show the axis
            panel.tick_params(labelbottom=True)
        for panel in panels[: len(judges) : columns]:
            panel.set_ylabel("share of pairs with ΔR ≤ x")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        pairs = samples.groupby(["judge", "variant"]).size()
        counts = "–".join(f"{n:,}" for n in dict.fromkeys((pairs.min(), pairs.max())))
        caption = (
            f"x: ΔR = (old rank − new rank) / (1 + old rank), linear within ±{LINEAR}, logarithmic beyond; "
            f"right of 0: the item rose.\nIn brackets: mean. Pairs of user and item per line: {counts}."
        )
        figure.supxlabel(caption, fontsize=8.5, color="0.35", x=0.01, ha="left")
    return figure


def _panel(axes: Axes, samples: pd.DataFrame, judge: str) -> None:
    axes.set_xscale("symlog", linthresh=LINEAR)
    for variant, (colour, line, width) in LINES.items():
        values = np.sort(samples.loc[samples["variant"] == variant, "delta_r"].to_numpy(float))
        if len(values):
            share = np.arange(1, len(values) + 1) / len(values)
            label = f"{variant} ({values.mean():+.2f})"
            x, y = np.r_[values[0], values], np.r_[0, share]
            axes.step(x, y, where="post", color=colour, linestyle=line, linewidth=width, label=label)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(color="0.9")
    axes.set_title(judge, fontsize=10, fontweight="normal")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")
