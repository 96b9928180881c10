"""HTML page of tracked runs: tables, verdicts, figures, and provenance."""

from __future__ import annotations

import base64
import importlib
import math
import pkgutil
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import recsim_gen
from analysis.curves import trainings
from recsim_gen.core.results import ROW_KEYS
from recsim_gen.core.table import common_metrics, pooled
from recsim_gen.core.tracking_names import flat

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracked import TrackedRun

ORDER = ("validate_assumptions", "train_ranker", "known_world", "judge", "evaluate", "simulate", "aux_rec")
"""Order of commands on the page; others follow."""

WIDEST = 6
"""Most metrics as columns; if there are more, they are rows, unless there are more variants."""

FEW = 6
"""Verdicts shown initially; further ones are folded."""

FIRST_WORDS = {
    "bad": ("does not", "fail", "refuse", "blind", "hurts"),
    "good": ("holds", "pass", "ok", "uses", "agree", "helps"),
}

MARKS = {("leakage", "paper"): "paper (leaky)", ("variant", "oracle"): "oracle (known truth)"}
"""Label values to highlight, and how they are written."""

LARGEST_SVG = 400_000
"""Largest SVG in bytes; a larger one is shown as PNG if that was logged, too."""

ROUNDING = 1e-12
"""Smallest number that is shown; one below it is 0 but for rounding."""

KINDS = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_PASSWORD = re.compile(r"(://[^:/@\s]+):[^@/\s]+@")


def page(runs: Sequence[TrackedRun], title: str) -> str:
    """Return the page: no script, no external resources, light and dark mode, printable, fit for phones.

    Passwords in addresses among the settings are hidden.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = FileSystemLoader(Path(__file__).parent)
    made = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    order = {command: place for place, command in enumerate(ORDER)}
    ordered = sorted(runs, key=lambda run: (order.get(run.command, len(ORDER)), run.started))
    return made.get_template("page.html").render(title=title, runs=[_section(run) for run in ordered])


def _section(run: TrackedRun) -> dict[str, Any]:
    """Return the content of one run for the template."""
    results = run.results
    main = common_metrics(results)
    return {
        "id": run.id,
        "command": run.command,
        "question": _question(run.command),
        "started": f"{run.started:%Y-%m-%d %H:%M} UTC",
        "minutes": None if results.seconds is None else f"{results.seconds / 60:.1f}",
        "table": _table(results, main),
        "more": _more(results, main),
        "folded": len(results.verdicts) > FEW,
        "verdicts": [(name, text, _kind(text)) for name, text in results.verdicts.items()],
        "notes": results.notes,
        "figures": _figures(run),
        "trainings": trainings(run.curves, run.command),
        "texts": [(n, c.decode("utf-8", "replace")) for n, c in run.files if n.lower().endswith(".md")],
        "others": run.others,
        "config": [(key, _PASSWORD.sub(r"\1:***@", value)) for key, value in flat(results.config)],
        "fingerprints": list(results.fingerprints.items()),
        "commit": results.git_commit or "unknown",
        "versions": list(results.versions.items()),
    }


def _question(command: str) -> str:
    """Return the first line of the command's module, if it exists in this release."""
    if command not in {module.name for module in pkgutil.iter_modules(recsim_gen.__path__)}:
        return ""
    doc = importlib.import_module(f"recsim_gen.{command}").__doc__ or ""
    return doc.strip().partition("\n")[0]


def _kind(verdict: str) -> str:
    """Return the colour class of a verdict: good, bad or open, by its first words."""
    first = re.split(r"[:(;,]", verdict.lower())[0].strip()
    return next((kind for kind, words in FIRST_WORDS.items() if first.startswith(words)), "open")


def _table(results: Results, metrics: Sequence[str]) -> dict[str, Any] | None:
    """Return headers and rows of the metrics that all variants have; None without rows."""
    if not results.rows:
        return None
    frame = pooled(results)
    frame = frame[frame["metric"].isin(metrics)]
    keys = [c for c in frame.columns if c == "variant" or c not in ROW_KEYS]
    names, lines = [], []
    for key, rows in frame.groupby(keys, sort=False, dropna=False):
        cells = {row["metric"]: _cell(row) for row in rows.to_dict("records")}
        labels = (MARKS.get((c, str(k)), k) for c, k in zip(keys, key, strict=True))
        names.append(" · ".join(str(k) for k in labels if not _missing(k)))
        lines.append([cells.get(metric, ("", "")) for metric in metrics])
    if len(metrics) <= max(WIDEST, len(lines)):
        return {"corner": " · ".join(keys), "heads": metrics, "lines": list(zip(names, lines, strict=True))}
    turned = zip(metrics, map(list, zip(*lines, strict=True)), strict=True)
    return {"corner": "metric", "heads": names, "lines": list(turned)}


def _cell(row: dict[Any, Any]) -> tuple[str, str]:
    """Return value and interval."""
    low, high = row["low"], row["high"]
    interval = "" if math.isnan(low + high) else f"{_number(low)} … {_number(high)}"
    return _number(row["value"]), interval


def _missing(x: Any) -> bool:
    return x is None or (isinstance(x, float) and math.isnan(x))


def _number(x: Any) -> str:
    if _missing(x):
        return "n/a"
    if not isinstance(x, float):
        return str(x)
    if abs(x) < ROUNDING:
        return "0"
    if x.is_integer() and abs(x) != 1:
        return f"{x:,.0f}"
    if abs(x) < 1e-4:
        return f"{x:.1e}".replace("-", "−")
    return (f"{x:,.1f}" if abs(x) >= 100 else f"{x:.4f}" if abs(x) < 1 else f"{x:.3f}").replace("-", "−")


def _more(results: Results, shown: Sequence[str]) -> dict[str, Any] | None:
    """Return values over all seeds of metrics that only some variants have, such as differences."""
    frame = results.frame()
    frame = frame[frame["seed"].isna() & ~frame["metric"].isin(shown)].drop(columns="seed")
    frame = frame.dropna(axis="columns", how="all")
    if frame.empty:
        return None
    return {"heads": list(frame.columns), "lines": [_texts(row) for row in frame.itertuples(index=False)]}


def _texts(row: tuple[Any, ...]) -> list[str]:
    return ["" if _missing(x) else _number(x) for x in row]


def _figures(run: TrackedRun) -> list[tuple[str, str]]:
    """Return (name, data URI) of each figure, once if it was logged as SVG and PNG."""
    forms: dict[str, dict[str, bytes]] = {}
    for name, content in run.files:
        path = PurePosixPath(name)
        if path.suffix.lower() in KINDS:
            forms.setdefault(str(path.with_suffix("")), {})[path.suffix.lower()] = content
    return [(stem, _address(of)) for stem, of in forms.items()]


def _address(forms: dict[str, bytes]) -> str:
    """Return the best of its forms as a data URI: a small SVG, else PNG."""
    worth = {suffix: 1 if suffix != ".svg" else 2 * (len(x) > LARGEST_SVG) for suffix, x in forms.items()}
    best = min(forms, key=worth.__getitem__)
    return f"data:{KINDS[best]};base64,{base64.b64encode(forms[best]).decode()}"
