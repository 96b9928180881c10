"""Table 2 as text: Markdown, LaTeX (booktabs) and CSV; published numbers in separate tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.published import PublishedTable, of_blocks
from analysis.table2 import BEST, SECOND, TITLES, Cell, Line, Table2, interval, number, spread
from recsim_gen.core.store import atomic

if TYPE_CHECKING:
    import pandas as pd

BESIDE = "Published numbers, to be read beside ours: other data, backbones and recipes. They do not compare."
_TEX = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "Δ": r"$\Delta$",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "<": r"$<$",
    ">": r"$>$",
}


def markdown(table: Table2) -> str:
    """Return a Markdown table for each block, with metrics as rows and methods as columns."""
    from tabulate import tabulate

    parts = []
    for block, lines in table.blocks.items():
        head = ["metric", *(f"*{v}*" if v in table.controls else v for v in table.variants)]
        body = [[f"{x.name} {x.arrow}".strip(), *_cells(x, table.variants)] for x in lines if not x.reason]
        if body:
            body.append(["n", *(f"{table.counts[v]:,}" for v in table.variants)])
            text = tabulate(body, head, tablefmt="github", disable_numparse=True)
            parts.append(f"**{TITLES[block]}**\n\n{text}\n")
        parts += [f"{x.name}: {x.reason}\n" for x in lines if x.reason]
    return "\n".join([*parts, table.caption]) + "\n"


def _cells(line: Line, variants: Sequence[str]) -> list[str]:
    return [_markdown_cell(line.cells.get(v)) for v in variants]


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    value = {BEST: "**{}**", SECOND: "<ins>{}</ins>"}.get(cell.mark, "{}").format(number(cell.value))
    return f"{value}{'†' if cell.differs else ''}{spread(cell)} {interval(cell)}".rstrip()


def published_markdown(tables: Sequence[PublishedTable], blocks: Sequence[str] = tuple(TITLES)) -> str:
    """Return the published tables that have one of these blocks, each under its source."""
    from tabulate import tabulate

    parts = [f"**{BESIDE}**\n"]
    for table in of_blocks(tables, blocks):
        head = ["data", "method", *(m.name + _arrow(m.higher_is_better) for m in table.metrics)]
        text = tabulate(_printed(table), head, tablefmt="github", disable_numparse=True)
        parts.append(f"{table.source} ({table.scale})\n\n{text}\n")
    return "\n".join(parts)


def _arrow(higher_is_better: bool | None) -> str:
    return {True: " ↑", False: " ↓", None: ""}[higher_is_better]


def _printed(table: PublishedTable) -> list[list[str]]:
    """Return the rows of a published table; values of a column have equally many decimals."""
    columns = [
        [x for row in table.rows for x in (row.values[k], row.sds[k]) if x is not None]
        for k in range(len(table.metrics))
    ]
    digits = [max(len(f"{x:g}".partition(".")[2]) for x in column) for column in columns]

    def cell(value: float | None, sd: float | None, places: int) -> str:
        spread_ = "" if sd is None else f" ± {sd:.{places}f}"
        return "–" if value is None else f"{value:.{places}f}{spread_}"

    return [[row.dataset, row.method, *map(cell, row.values, row.sds, digits)] for row in table.rows]


def latex(table: Table2, published: Sequence[PublishedTable] = ()) -> str:
    r"""Return a ``table`` environment for ``\usepackage{booktabs,graphicx}``.

    Published tables have their own.
    """
    columns, width = "l" + "c" * len(table.variants), 1 + len(table.variants)
    rows = [" & ".join(["", *(escaped(v) for v in table.variants)]) + r" \\"]
    for block, lines in table.blocks.items():
        rows += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escaped(TITLES[block])}}}}} \\"]
        for x in lines:
            name = escaped(f"{x.name} {x.arrow}".strip())
            cells = [_latex_cell(x.cells.get(v)) for v in table.variants]
            if x.reason:
                cells = [rf"\multicolumn{{{width - 1}}}{{l}}{{unavailable}}"]
            rows.append(" & ".join([name, *cells]) + r" \\")
    rows += [r"\midrule", " & ".join(["n", *(f"{table.counts[v]:,}" for v in table.variants)]) + r" \\"]
    parts = [_environment(columns, rows, escaped(table.caption), "table2")]
    for t in of_blocks(published, list(TITLES)):
        head = ["data", "method", *(m.name + _arrow(m.higher_is_better) for m in t.metrics)]
        body = [" & ".join(map(escaped, line)) + r" \\" for line in (head, *_printed(t))]
        caption = escaped(f"{BESIDE} {t.source} ({t.scale}).")
        parts.append(
            _environment("ll" + "c" * len(t.metrics), [body[0], r"\midrule", *body[1:]], caption, t.id)
        )
    return "\n".join(parts)


def _environment(columns: str, rows: Sequence[str], caption: str, label: str) -> str:
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(cell: Cell | None) -> str:
    r"""Return value and spread above the interval, by ``\shortstack``, which needs no package."""
    if cell is None:
        return "--"
    value = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"}.get(cell.mark, "{}").format(
        number(cell.value)
    )
    above = value + escaped(("†" if cell.differs else "") + spread(cell))
    return rf"\shortstack{{{above}\\{{\scriptsize {interval(cell)}}}}}" if interval(cell) else above


def escaped(text: str) -> str:
    """Escape text for LaTeX."""
    return re.sub("[" + re.escape("".join(_TEX)) + "]", lambda match: _TEX[match[0]], text)


def frame(table: Table2) -> pd.DataFrame:
    """Return one row per block, metric and variant: direction, unit, the fields of `Cell`, reason."""
    import pandas as pd

    lines = [
        {
            "block": block,
            "metric": x.metric,
            "better": x.better,
            "unit": x.unit,
            "variant": variant,
            **{name: getattr(cell, name, None) for name in Cell.__annotations__},
            "reason": x.reason,
        }
        for block, lines in table.blocks.items()
        for x in lines
        for variant, cell in x.cells.items()
    ]
    return pd.DataFrame(lines)


def write_tables(table: Table2, path: str | Path, *, published: Sequence[PublishedTable] = ()) -> list[Path]:
    """Write ``path.png``, ``.md``, ``.tex`` and ``.csv``, each atomically; return their paths.

    Published tables follow ours in Markdown and LaTeX, and are not in the other formats.
    """
    from analysis.table2_figure import picture

    text = markdown(table) + ("\n" + published_markdown(published) if published else "")
    texts = {".md": text, ".tex": latex(table, published), ".csv": frame(table).to_csv(index=False)}
    paths = [picture(table, path)]
    for suffix, content in texts.items():
        target = Path(path).with_name(Path(path).name + suffix)
        with atomic(target) as temporary:
            temporary.write_text(content, encoding="utf-8")
        paths.append(target)
    return paths
