"""Ablation figure: variants of one generator that differ in one setting."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.figures import COLOURS, STYLE, save
from analysis.table2 import NAMES
from recsim_gen.core.errors import DataError
from recsim_gen.core.registry import GENERATORS, resolve
from recsim_gen.metrics.presets import plain_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from recsim_gen.core.results import Results

METRICS = ("delta_r[held-out]", "oracle_utility", "category_kept")
OTHERS = "other settings"  # last column: settings that are not numbers, or have one other value
FULL = "as it is"
LETTERS = 15  # of the line below, per inch


def ablated(results: Results, generator: str = "ragar") -> pd.DataFrame:
    """Return the rows over all seeds of ``generator`` and its variants that differ from it in one setting.

    The base is the variant with its name, else the one with the fewest settings. Columns are those of the
    results, ``setting`` ("" for the base) and ``given``, the variant's value (None: the config's own). Empty
    if nothing varies.
    """
    import pandas as pd

    whole = [
        r for r in results.rows if r["seed"] is None and r.get("block") and r.get("generator") == generator
    ]
    of = {row["variant"]: settings_of(row) for row in whole}
    if not of:
        return pd.DataFrame()
    base = generator if generator in of else min(of, key=lambda variant: len(of[variant]))
    differs = {
        variant: [name for name in {**of[base], **settings} if settings.get(name) != of[base].get(name)]
        for variant, settings in of.items()
    }
    kept = [
        {**row, "setting": name, "given": of[row["variant"]].get(name)}
        for row in whole
        for name in ([""] if row["variant"] == base else differs[row["variant"]])
        if row["variant"] == base or len(differs[row["variant"]]) == 1
    ]
    frame = pd.DataFrame(kept)
    return frame if frame["setting"].nunique() > 1 else frame[:0]


def against_base(frame: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Return the rows of `ablated` with intervals of the difference to the base, placed around the values.

    For the parts of one generator, paired differences are informative; intervals of the values mostly reflect
    differences between people. Empty if ``results`` have no comparison with the base (``--baseline``).
    """
    bases = {row["metric"]: row for _, row in frame[frame["setting"] == ""].iterrows()}
    variant = next(iter(bases.values()))["variant"]
    whole = {(r["variant"], r["metric"]): r for r in results.rows if r["seed"] is None}
    rows = []
    for _, row in frame.iterrows():
        base = bases[row["metric"]]
        difference = whole.get((row["variant"], f"{row['metric']}_minus_{variant}"))
        if row["setting"] == "":
            rows.append({**row, "low": row["value"], "high": row["value"]})
        elif difference is not None and difference["low"] is not None:
            rows.append({**row, **{end: base["value"] + difference[end] for end in ("low", "high")}})
    return frame[:0] if len(rows) == len(bases) else frame.__class__(rows)


def settings_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a row of ``evaluate``: numbers where they parse, else text."""
    pairs = (part.partition("=") for part in (row.get("settings") or "").split(", ") if part)
    return {name: _number_or_text(text) for name, _, text in pairs}


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def ablation_figure(
    results: Results,
    path: str | Path,
    *,
    generator: str = "ragar",
    metrics: Sequence[str] = METRICS,
    defaults: Mapping[str, Any] | None = None,
    title: str | None = None,
) -> list[Path]:
    """Draw one row of panels per metric, one column per number with several values, and one for the rest.

    Lines are 95% intervals: of the difference to the base if the results have it, else of each value.

    Parameters
    ----------
    results
        Results of ``evaluate``, with variants such as ``k0=ragar:k=0`` besides ``ragar``.
    path
        Path without suffix: ``.png`` and ``.svg`` are added.
    generator
        Generator of the variants.
    metrics
        Metrics to draw; those without rows are left out.
    defaults
        Values of the settings of the base; None: its config's own.
    title
        Title of the figure.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    DataError
        If nothing varies.
    """
    frame = ablated(results, generator)
    if frame.empty:
        raise DataError(f"{generator} and variants of it that differ in one setting are wanted, got none")
    shown = [metric for metric in metrics if frame.loc[frame["metric"] == metric, "value"].notna().any()]
    if not shown:
        raise DataError(f"none of the metrics {', '.join(metrics)} has a number")
    if defaults is None:
        defaults = vars(resolve(generator, GENERATORS, "generator").config_class())
    base = frame[frame["setting"] == ""].to_dict("records")[0]
    defaults = {**defaults, **settings_of({str(key): value for key, value in base.items()})}
    words, paired = title or f"What is each part of {generator} worth?", against_base(frame, results)
    if len(paired):
        return save(_draw(paired, shown, defaults, words, paired=True), path)
    return save(_draw(frame, shown, defaults, words), path)


def _draw(
    frame: pd.DataFrame,
    metrics: Sequence[str],
    defaults: Mapping[str, Any],
    title: str,
    *,
    paired: bool = False,
) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    settings = [name for name in dict.fromkeys(frame["setting"]) if name]
    numeric = [name for name in settings if _is_number(defaults.get(name)) and _several(frame, name)]
    columns = [*numeric, *([OTHERS] if len(numeric) < len(settings) else [])]
    with matplotlib.rc_context(STYLE):
        size = (max(6.4, 3.1 * len(columns)), 2.3 * len(metrics) + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(metrics), len(columns), sharey="row", sharex="col", squeeze=False)
        for i, metric in enumerate(metrics):
            rows = frame[frame["metric"] == metric]
            base = rows[rows["setting"] == ""].iloc[0]
            for k, column in enumerate(columns):
                axes = panels[i, k]
                if column == OTHERS:
                    _named(axes, base, rows[~rows["setting"].isin([*numeric, ""])])
                else:
                    mine = rows[rows["setting"] == column]
                    _numbers(axes, base, mine, defaults[column])
                axes.grid(axis="y", color="0.9")
                if paired:
                    axes.axhline(base["value"], color="0.5", linewidth=1, linestyle="--")
            plain = plain_name(metric)
            if base["unit"] == "share":
                panels[i, 0].set_ylim(0, 1.05)
            panels[i, 0].set_ylabel(f"{NAMES.get(plain, plain)} {metric.removeprefix(plain)}".strip())
        for k, column in enumerate(columns):
            panels[-1, k].set_xlabel("" if column == OTHERS else column)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        lines = f"of the difference to it, paired; {FULL}: dashed" if paired else "of each"
        caption = (
            f"Filled: {FULL}. Mean over all seeds, {int(frame['n'].max()):,} episodes. Lines: 95% intervals "
        )
        caption = textwrap.fill(f"{caption}{lines}.", int(LETTERS * figure.get_figwidth()))
        figure.supxlabel(caption, fontsize=8.5, color="0.35", x=0.01, ha="left")
    return figure


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _several(frame: pd.DataFrame, setting: str) -> bool:
    return frame.loc[frame["setting"] == setting, "given"].nunique() > 1


def _numbers(axes: Axes, base: pd.Series, rows: pd.DataFrame, default: float) -> None:
    """Plot against the setting's value, including the default."""
    points = sorted(
        [(default, base), *((row["given"], row) for _, row in rows.iterrows())], key=lambda p: p[0]
    )
    axes.plot([x for x, _ in points], [row["value"] for _, row in points], color="0.6", linewidth=1)
    for x, row in points:
        _point(axes, x, row, full=row is base)
    axes.set_xticks([x for x, _ in points])


def _named(axes: Axes, base: pd.Series, rows: pd.DataFrame) -> None:
    """Plot side by side, by name."""
    points = [(FULL, base)]
    points += [(f"{row['setting']}\n{row['given']}", row) for _, row in rows.iterrows()]
    for x, (_, row) in enumerate(points):
        _point(axes, x, row, full=row is base)
    axes.set_xticks(range(len(points)), [name for name, _ in points], fontsize=8)
    axes.margins(x=0.15)


def _point(axes: Axes, x: float, row: pd.Series, *, full: bool) -> None:
    colour = COLOURS[0]
    ends = [[max(row["value"] - row["low"], 0)], [max(row["high"] - row["value"], 0)]]
    face = colour if full else "white"
    axes.errorbar(
        x, row["value"], yerr=ends, fmt="o", color=colour, markerfacecolor=face, capsize=3, linewidth=1.1
    )
