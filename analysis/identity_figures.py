"""Figures of identity: mAP with chance and ceiling, by gallery size, and retrieved images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures import COLOURS, HATCHES, STYLE, save
from recsim_gen.core.errors import DataError
from recsim_gen.core.results import Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = {
    "map_by_images": "pictures per identity",
    "map_by_identities": "identities in the gallery",
    "cmc": "first pictures found, its own among them",
}
CHANCE = {
    "map_by_images": "chance_by_images",
    "map_by_identities": "chance_by_identities",
    "cmc": "cmc_chance",
}
MARKERS = ("o", "s", "^", "D", "v", "P")
CEILING = "0.55"  # grey level: real images are not a method
_CAPTION = (
    "Bars and lines: mean average precision, 95% intervals by identity. Dashed: chance, by gallery size.\n"
    "Diamonds: mean cosine to real pictures of the identity, which can be high where identity is lost. "
    "Grey: real pictures\nas queries, the most that the encoder can find."
)


def identity_figure(results: Results, path: str | Path, *, title: str, ceiling: str = "real") -> list[Path]:
    """Draw a row of panels per encoder: mAP by group, and by gallery size if measured; PNG and SVG.

    ``results`` of the command ``identity``; ``path`` without suffix; ``ceiling`` is the variant drawn in
    grey. Raises DataError if there is no mAP.
    """
    frame = results.frame()
    if not (frame["metric"] == "map").any():
        raise DataError("a figure of identity needs rows of metric 'map', got none")
    return save(_draw(frame, title, ceiling), path)


def _draw(frame: pd.DataFrame, title: str, ceiling: str) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    drawn = _with_cmc(frame[frame["variant"] != "random"])
    bars = drawn[drawn["metric"] == "map"]
    encoders = list(dict.fromkeys(bars["encoder"]))
    variants = list(dict.fromkeys(bars["variant"]))
    colour = {v: COLOURS[k % len(COLOURS)] for k, v in enumerate(v for v in variants if v != ceiling)}
    colour[ceiling] = CEILING
    curves = [name for name in CURVES if (drawn["metric"] == name).any()]
    groups = len(set(bars["group"]))
    widths = [max(4.2, 0.42 * groups * len(variants) + 1.6), *[3.6] * len(curves)]
    with matplotlib.rc_context(STYLE):
        size = (max(6.4, sum(widths)), 3.3 * len(encoders) + 1.2)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(encoders), len(widths), squeeze=False, sharey=True, width_ratios=widths)
        for row, encoder in zip(panels, encoders, strict=True):
            rows = drawn[drawn["encoder"] == encoder]
            _bars(row[0], rows, variants, colour)
            row[0].set_ylabel(f"mAP by {encoder}")
            for panel, name in zip(row[1:], curves, strict=True):
                _curve(panel, rows, name, colour)
        legend = panels[0][0].legend(
            frameon=False, ncols=len(variants), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2
        )
        legend.set_in_layout(False)  # it may be wider than its panel
        panels[0][0].set_title(" ")  # room for it
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.supxlabel(_CAPTION, fontsize=8.5, color="0.35", x=0.01, ha="left")
    return figure


def _with_cmc(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, and those of rank1, rank5… again as one curve."""
    import pandas as pd

    ranks = frame["metric"].str.extract(r"^rank(?P<size>\d+)(?P<chance>_chance)?$")
    there = ranks["size"].notna() & (frame["group"] == "overall")
    if not there.any():
        return frame
    names = np.where(ranks["chance"].isna(), "cmc", "cmc_chance")[there]
    curve = frame[there].assign(metric=names, size=ranks.loc[there, "size"].astype(float))
    return pd.concat([frame, curve], ignore_index=True)


def _bars(axes: Axes, rows: pd.DataFrame, variants: list[str], colour: dict[str, str]) -> None:
    groups = list(dict.fromkeys(rows.loc[rows["metric"] == "map", "group"]))
    width = 0.8 / len(variants)
    marks = rows[rows["metric"].isin(["similarity", "chance"])]
    of = marks.set_index(["metric", "variant", "group"])["value"].astype(float).to_dict()
    for k, variant in enumerate(variants):
        x = np.arange(len(groups)) + (k - (len(variants) - 1) / 2) * width
        table = rows[(rows["metric"] == "map") & (rows["variant"] == variant)].set_index("group")
        table = table.reindex(groups)
        value, low, high = (table[c].to_numpy(float) for c in ("value", "low", "high"))
        hatch = HATCHES[k % len(HATCHES)]
        axes.bar(x, value, 0.92 * width, color=colour[variant], hatch=hatch, edgecolor="white", label=variant)
        finite = np.isfinite(low) & np.isfinite(high)
        ends = np.stack([value - low, high - value]).clip(min=0)[:, finite]
        axes.errorbar(
            x[finite], value[finite], yerr=ends, fmt="none", ecolor="0.15", capsize=3, linewidth=1.1
        )
        similarity = [of.get(("similarity", variant, group), np.nan) for group in groups]
        chance = [of.get(("chance", variant, group), np.nan) for group in groups]
        axes.plot(x, similarity, "D", color="white", markeredgecolor="0.15", markersize=4.5)
        axes.hlines(chance, x - width / 2, x + width / 2, color="black", linestyle="--", linewidth=1.2)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.02)
    axes.grid(axis="y", color="0.9")
    axes.axhline(0, color="black", linewidth=0.8)


def _curve(axes: Axes, rows: pd.DataFrame, name: str, colour: dict[str, str]) -> None:
    chance: pd.DataFrame | None = None
    for k, (variant, line) in enumerate(rows[rows["metric"] == name].groupby("variant", sort=False)):
        ordered = line.sort_values("size")
        size, value, low, high = (ordered[c].to_numpy(float) for c in ("size", "value", "low", "high"))
        shade = colour[str(variant)]
        axes.plot(size, value, marker=MARKERS[k % len(MARKERS)], markersize=4.5, color=shade)
        axes.fill_between(size, low, high, color=shade, alpha=0.15, linewidth=0)
        same = rows[(rows["metric"] == CHANCE[name]) & (rows["variant"] == variant)]
        chance = same.sort_values("size") if chance is None else chance
    if chance is not None:
        axes.plot(chance["size"], chance["value"], color="black", linestyle="--", linewidth=1.2)
        axes.set_xticks(chance["size"].to_numpy(float), [f"{x:.0f}" for x in chance["size"]])
    axes.set_xlabel(CURVES[name])
    axes.grid(color="0.92")
