"""Explanations as Markdown: some choices, their histories, and each method's explanation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.store import atomic

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.experiments.explanations.shop import Shop

SHOWN = 8
"""Most choices on a page."""

LATEST = 6
"""Most history items to list."""


def explanation_sheet(values: pd.DataFrame, shop: Shop, path: str | Path) -> Path:
    """Write the first choices with captions and reasons of every row's first seed; return the path."""
    catalog, parts = shop.dataset.catalog, ["# Why would they like it?\n"]
    first = values.groupby("variant", sort=False)["seed"].transform("min") == values["seed"]
    for episode in shop.dataset.episodes[:SHOWN]:
        before = "; ".join(_cell(catalog.titles[row]) for row in episode.history[-LATEST:])
        parts.append(f"## {shop.text(episode.reference)}\n")
        parts.append(f"Chosen before, the last of {len(episode.history)}: {before}\n")
        parts.append("| | caption | reason |\n|---|---|---|")
        rows = values[first & (values["episode"] == episode.id)]
        parts += [
            f"| {variant} | {_cell(caption)} | {_cell(reason)} |"
            for variant, caption, reason in zip(rows["variant"], rows["caption"], rows["reason"], strict=True)
        ]
        parts.append("")
    with atomic(Path(path)) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
    return Path(path)


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")
