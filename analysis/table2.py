"""Table 2 from results: metrics by methods, in blocks, with the best and second-best marked.

From Python::

    from analysis.table2 import table2
    from analysis.table2_text import markdown
    from recsim_gen.core.results import load

    print(markdown(table2(load("runs/evaluate"))))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import DataError
from recsim_gen.metrics.presets import plain_name

if TYPE_CHECKING:
    from recsim_gen.core.results import Results

BEST, SECOND = "best", "second"
LEVEL = 0.05
CONTROL = "control"

NAMES = {
    "delta_r": "ΔR",
    "delta_mrr": "ΔMRR",
    "improved": "rank improved",
    "oracle_utility": "oracle utility",
    "verifier": "verifier",
    "cps": "CPS",
    "cpis": "CPIS",
    "lpips_history": "LPIPS, history",
    "ssim_history": "SSIM, history",
    "diversity": "diversity",
    "category_kept": "category kept",
    "cs": "CS",
    "cis": "CIS",
    "lpips": "LPIPS, reference",
    "st_lpips": "ST-LPIPS, reference",
    "st_lpips_history": "ST-LPIPS, history",
    "ssim": "SSIM, reference",
    "cmmd": "CMMD",
    "frechet": "Fréchet distance",
    "hpsv2": "HPSv2",
    "aesthetic": "aesthetic",
}
"""Names of metrics in tables."""

TITLES = {
    "personalisation": "Personalisation: against the person and the history",
    "semantic": "Semantic alignment: against the reference",
    "quality": "Quality: of the picture alone",
}
ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class Cell:
    """A method's value: mean over all seeds, ``sd`` of the seeds' means, 95% interval, ``n`` episodes.

    ``mark`` is ``best``, ``second`` or empty; ``differs`` from the baseline (see `Table2.caption`).
    """

    value: float
    sd: float | None
    low: float | None
    high: float | None
    n: int
    mark: str = ""
    differs: bool = False


@dataclass(frozen=True)
class Line:
    """A metric; ``cells`` by variant, None if a variant has no value. ``reason``: why no variant has one.

    ``reward``: it belongs to the judge whose score methods may have been trained with.
    """

    metric: str
    better: str | None
    unit: str
    cells: Mapping[str, Cell | None]
    reason: str = ""
    reward: bool = False

    @property
    def name(self) -> str:
        """Display name: ``CPS [boutique-clip]`` for ``cps[boutique-clip]``."""
        plain = plain_name(self.metric)
        rest = self.metric.removeprefix(plain)
        return " ".join(filter(None, [NAMES.get(plain, plain), rest, "(reward)" if self.reward else ""]))

    @property
    def arrow(self) -> str:
        """Arrow of the better direction, "" if there is none."""
        return ARROWS.get(self.better or "", "")


@dataclass(frozen=True)
class Table2:
    """``blocks`` {name: lines} over ``variants``, of which ``controls`` are not ranked.

    ``rewards`` {variant: the judge that it learned from}.
    """

    variants: tuple[str, ...]
    controls: tuple[str, ...]
    blocks: Mapping[str, tuple[Line, ...]]
    baseline: str
    seeds: int
    rewards: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Number of episodes of each variant, the maximum over metrics."""
        cells = [(v, c) for lines in self.blocks.values() for x in lines for v, c in x.cells.items() if c]
        return {variant: max((c.n for v, c in cells if v == variant), default=0) for variant in self.variants}

    @property
    def caption(self) -> str:
        """Explanation of the table, as a sequence of sentences."""
        seeds = f"mean ± sd over {self.seeds} seeds" if self.seeds > 1 else "mean of one seed"
        drawn = "people and seeds" if self.seeds > 1 else "people"
        caption = f"n test episodes; {seeds} [95% interval, {drawn} drawn again]. "
        caption += "Best method bold, second underlined"
        caption += f", controls ({', '.join(self.controls)}) not ranked" if self.controls else ""
        agreed = ", all seeds of one sign" if self.seeds > 1 else ""
        text = f"paired; Holm over the methods, each metric by itself, p < {LEVEL}{agreed}"
        caption += f". † differs from {self.baseline} ({text})."
        learned: dict[str, list[str]] = {}
        for variant, judge in self.rewards.items():
            learned.setdefault(judge, []).append(variant)
        by = "; ".join(f"{', '.join(variants)} by {judge}" for judge, variants in learned.items())
        return caption + (f" Learned from a judge: {by}." if by else "")


def table2(results: Results) -> Table2:
    """Return the table of the results of ``evaluate``. Raises DataError for results of another command."""
    if results.command != "evaluate" or not results.rows:
        raise DataError(f"results of evaluate are wanted, got {results.command} ({len(results.rows)} rows)")
    baseline = str(results.config["baseline"])
    whole = [row for row in results.rows if row["seed"] is None and row.get("block")]
    variants = tuple(dict.fromkeys(row["variant"] for row in whole))
    controls = tuple(dict.fromkeys(r["variant"] for r in whole if r.get("role") == CONTROL))
    decided = {(r["variant"], r["metric"]) for r in results.rows if r.get("decided")}
    blocks: dict[str, list[Line]] = {name: [] for name in TITLES}
    for metric in dict.fromkeys(row["metric"] for row in whole):
        of = {row["variant"]: row for row in whole if row["metric"] == metric}
        first = next(iter(of.values()))
        difference = f"{metric}_minus_{baseline}"
        cells = {v: _cell(of.get(v), (v, difference) in decided) for v in variants}
        line = Line(
            metric,
            first["better"],
            first["unit"],
            cells,
            first.get("reason") or "",
            first.get("held_out") is False,
        )
        blocks[first["block"]].append(marked(line, controls))
    seeds = len({row["seed"] for row in results.rows} - {None})
    kept = {name: tuple(lines) for name, lines in blocks.items() if lines}
    rewards = {row["variant"]: row["reward"] for row in whole if row.get("reward")}
    return Table2(variants, controls, kept, baseline, seeds, rewards)


def marked(line: Line, controls: Sequence[str]) -> Line:
    """Mark the best and second-best method by the line's direction; equal values share a mark."""
    values = {v: cell.value for v, cell in line.cells.items() if cell is not None and v not in controls}
    if line.better is None or len(values) < 2:
        return line
    order = sorted(set(values.values()), reverse=line.better == "higher")
    of = dict(zip(order, (BEST, SECOND), strict=False))
    cells = dict(line.cells)
    for variant, value in values.items():
        if (cell := cells[variant]) is not None and value in of:
            cells[variant] = replace(cell, mark=of[value])
    return replace(line, cells=cells)


def _cell(row: Mapping[str, Any] | None, differs: bool) -> Cell | None:
    if row is None or row["value"] is None:
        return None
    return Cell(row["value"], row.get("sd"), row["low"], row["high"], row["n"], differs=differs)


def number(x: float) -> str:
    """Format with three decimals, two from 10 on; values that round to 0 have no sign."""
    text = f"{x:.2f}" if abs(x) >= 10 else f"{x:.3f}"
    return text.lstrip("-") if float(text) == 0 else text


def spread(cell: Cell) -> str:
    """Return `` ± sd``, or "" for a single seed."""
    return "" if cell.sd is None else f" ± {number(cell.sd)}"


def interval(cell: Cell) -> str:
    """Return ``[low, high]``, or "" if it is unknown."""
    return "" if cell.low is None or cell.high is None else f"[{number(cell.low)}, {number(cell.high)}]"
