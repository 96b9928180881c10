"""How every command ends: ``results.json``, figures, MLflow and the printed table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from recsim_gen.core.results import Results
from recsim_gen.core.table import print_table
from recsim_gen.core.tracking import Tracker, ui_command


def report(
    results: Results,
    tracker: Tracker,
    output: str | Path,
    *,
    draw: Callable[[], Sequence[Path]] | None = None,
    metrics: Sequence[str] | None = None,
    digits: int = 3,
    tall: bool = False,
    body: str | None = None,
) -> None:
    """Write ``results.json`` into ``output``, draw, log both to ``tracker``, print the table.

    In this order, so that no figure and no tracker that fails costs a number. ``draw`` makes the
    figures and gives their paths, of which the first is told to the reader; ``metrics``,
    ``digits``, ``tall`` and ``body`` as in `print_table`.
    """
    path = results.write(output)
    figures = draw() if draw else ()
    tracker.publish(results, [path, *figures])
    paths: dict[str, str | Path] = {"results": path}
    if figures:
        paths["figure"] = figures[0]
    paths["MLflow"] = ui_command(tracker.uri)
    print_table(results, metrics=metrics, paths=paths, digits=digits, tall=tall, body=body)
