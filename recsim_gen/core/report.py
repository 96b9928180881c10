"""How every command ends: ``results.json``, figures, MLflow and the printed table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from recsim_gen.core.errors import RecsimWarning, SettingError
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
    words_first: bool = False,
) -> None:
    """Write ``results.json`` into ``output``, draw, log both to ``tracker``, print the table.

    In this order, so that no figure and no tracker that fails costs a number. ``draw`` makes the
    figures and gives their paths, of which the first is told to the reader; ``metrics``,
    ``digits``, ``tall``, ``body`` and ``words_first`` as in `print_table`. Raises SettingError where
    ``output`` cannot be written, the table printed all the same.
    """
    show = partial(
        print_table, results, metrics=metrics, digits=digits, tall=tall, body=body, words_first=words_first
    )
    try:
        path = results.write(output)
    except OSError as error:
        show()
        raise SettingError(
            f"--output must be a folder to write results.json in, got {output} ({error}). The table above "
            f"is complete: free some space or name another folder, and run again; what was trained is kept"
        ) from error
    figures = _drawn(draw) if draw else ()
    tracker.publish(results, [path, *figures])
    paths: dict[str, str | Path] = {"results": path}
    if figures:
        paths["figure"] = figures[0]
    paths["MLflow"] = ui_command(tracker.uri)
    show(paths=paths)


def _drawn(draw: Callable[[], Sequence[Path]]) -> Sequence[Path]:
    """The figures; a warning and none where the disk takes none."""
    try:
        return draw()
    except OSError as error:
        warnings.warn(
            f"no figure could be written ({error}); results.json is complete", RecsimWarning, stacklevel=3
        )
        return ()
