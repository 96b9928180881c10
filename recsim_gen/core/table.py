"""Results as an aligned text table that is also valid Markdown."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import is_quiet
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.results import ROW_KEYS, Results, plain

if TYPE_CHECKING:
    import pandas as pd


WARNINGS = {"leakage": {"paper": "paper: leaky"}, "variant": {"oracle": "oracle (known truth)"}}
"""Values that a table always shows, even if a column has no other value, and how it writes them."""


def labels(frame: pd.DataFrame) -> list[str]:
    """Return the columns that distinguish rows of one variant, metric and seed: ``scope``, ``judge``, ….

    A column of floats (such as a p-value) is a result, not a label; ``fraction`` is an exception. A column
    that contains one of the `WARNINGS` is always included.
    """
    keys = ["variant", "metric", "seed"]
    more = [c for c in frame.columns if c not in ROW_KEYS and (c == "fraction" or not _results(frame[c]))]
    rows = frame[[*keys, *more]].astype(str).groupby(keys, dropna=False)  # pandas 3 keeps what is missing
    warned = {c for c in more if frame[c].isin(list(WARNINGS.get(c, ()))).any()}
    return [c for c in more if c in warned or (rows[c].nunique(dropna=False) > 1).any()]


def _results(column: pd.Series) -> bool:
    """Return whether a column holds results rather than labels."""
    return all(isinstance(x, float) for x in column)


def _label(column: str, value: Any) -> str:
    """Return the text of a label."""
    return WARNINGS.get(column, {}).get(value, str(value))


def pooled(results: Results) -> pd.DataFrame:
    """Return one row per variant, metric and label: ``value``, ``low``, ``high``, ``n`` over all seeds.

    If the command pooled over seeds itself (``seed`` null), that row is used. Otherwise the value is the mean
    over the seeds, without an interval, since intervals cannot be averaged.
    """
    frame = results.frame()
    keys = ["variant", "metric", *labels(frame)]
    numbers = ["value", "low", "high", "n"]
    frame[numbers] = frame[numbers].astype(float)
    whole = frame["seed"].isna()
    by = [frame[key] for key in keys]
    frame = frame[whole | ~whole.groupby(by, dropna=False).transform("any")]
    several = frame.groupby(keys, dropna=False)["value"].transform("size") > 1
    frame.loc[several, ["low", "high"]] = float("nan")
    groups = frame.groupby(keys, sort=False, dropna=False, as_index=False)
    return groups.agg(value=("value", "mean"), low=("low", "first"), high=("high", "first"), n=("n", "max"))


def common_metrics(results: Results) -> list[str]:
    """Return the metrics that all variants have, in the order of the rows; all metrics if there are none."""
    of: dict[str, set[str]] = {}
    for row in results.rows:
        of.setdefault(row["metric"], set()).add(row["variant"])
    variants = {row["variant"] for row in results.rows}
    return [metric for metric, having in of.items() if having == variants] or list(of)


def by_variant(results: Results, metrics: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Return {variant: {name: value}} of these metrics.

    ``recall@10`` is the value over all seeds, ``recall@10_low`` and ``_high`` its 95% interval,
    ``seed_0/recall@10`` that of one seed; labels come first (``vbpr/delta_r``).
    """
    if not results.rows:
        return {}
    whole = pooled(results)
    whole = whole[whole["metric"].isin(metrics)]
    tell_apart = labels(results.frame())

    def name(row: Mapping[Any, Any]) -> str:
        return "/".join([*(_label(c, row[c]) for c in tell_apart if row.get(c) is not None), row["metric"]])

    values: dict[str, dict[str, float | None]] = {}
    for row in plain(whole.to_dict("records")):
        ends = {f"{name(row)}_{end}": row[end] for end in ("low", "high")}
        values.setdefault(row["variant"], {}).update({name(row): row["value"], **ends})
    for row in results.rows:
        if row["seed"] is not None and row["metric"] in metrics:
            values[row["variant"]][f"seed_{row['seed']}/{name(row)}"] = row["value"]
    return values


def table(
    results: Results, *, metrics: Sequence[str] | None = None, digits: int = 3, tall: bool = False
) -> str:
    """Return the results with variants as rows, metrics as columns, and cells like ``0.140 [0.121, 0.160]``.

    Parameters
    ----------
    results
        Results of a command.
    metrics
        Metrics to show, in this order; default: all, in the order of the rows. Rows of other metrics are
        ignored.
    digits
        Digits after the point.
    tall
        Show metrics as rows, without ``n``; for many metrics.

    Raises
    ------
    DataError
        If a metric has no rows.
    """
    from tabulate import tabulate

    if not results.rows:
        return "(no rows)"
    metric_names = list(dict.fromkeys(row["metric"] for row in results.rows))
    for metric in metrics or ():
        if metric not in metric_names:
            raise DataError(f"no rows of metric {metric!r}.{did_you_mean(metric, metric_names)}")
    columns = list(metrics or metric_names)
    frame = pooled(replace(results, rows=[row for row in results.rows if row["metric"] in columns]))
    keys = [c for c in frame.columns if c not in ROW_KEYS or c == "variant"]
    lines = []
    for key, rows in frame.groupby(keys, sort=False, dropna=False):
        cells = {r["metric"]: _cell(r, digits) for r in rows.to_dict("records")}
        n = rows["n"].dropna().unique()
        count = "–".join(f"{x:.0f}" for x in sorted({n.min(), n.max()})) if len(n) else ""
        lines.append([*map(_label, keys, key), *(cells.get(c, "") for c in columns), count])
    lines.insert(0, [*keys, *columns, "n"])
    if tall:
        lines = [list(line) for line in zip(*lines, strict=True)][:-1]
        lines[0][0] = "metric"
    align = ["left", *["right"] * (len(lines[0]) - 1)] if tall else None
    return str(tabulate(lines, headers="firstrow", tablefmt="github", disable_numparse=True, colalign=align))


def print_table(
    results: Results,
    *,
    paths: Mapping[str, str | Path] | None = None,
    metrics: Sequence[str] | None = None,
    digits: int = 3,
    tall: bool = False,
    body: str | None = None,
    words_first: bool = False,
    file: TextIO | None = None,
) -> None:
    """Print the table, the verdicts, the notes and where to find more.

    Under ``--quiet`` only the table and the paths are printed.

    Parameters
    ----------
    results
        Results of a command.
    paths
        {what: path or address} to print at the end.
    metrics, digits, tall
        As for `table`.
    body
        Text to print instead of the table, for commands with a format of their own.
    words_first
        Print verdicts and notes before the table.
    file
        Where to print; default: standard output.
    """
    lines = [table(results, metrics=metrics, digits=digits, tall=tall) if body is None else body]
    if not is_quiet():
        if body is None and any(row["low"] is not None or row["seed"] is not None for row in results.rows):
            lines.insert(0, "Value [95% interval], pooled over seeds.\n")
        words = [
            [f"{name}: {text}" for name, text in results.verdicts.items()],
            [f"Note: {note}" for note in results.notes],
        ]
        if words_first:
            lines = [*words[0], *words[1], "", *lines]
        else:
            lines += [line for block in words if block for line in ("", *block)]
    if paths:
        width = max(map(len, paths))
        lines += ["", *(f"{what:<{width}}  {where}" for what, where in paths.items())]
    (file or sys.stdout).write("\n".join(lines) + "\n")


def _cell(row: Mapping[Any, Any], digits: int) -> str:
    """Return the text of a cell: value and interval."""
    value, low, high = (row[key] for key in ("value", "low", "high"))
    if math.isnan(value):
        return "n/a"
    format_spec = f".{digits}f" if digits else ",.0f"
    interval = "" if math.isnan(low + high) else f" [{low:{format_spec}}, {high:{format_spec}}]"
    return f"{value:{format_spec}}{interval}"
