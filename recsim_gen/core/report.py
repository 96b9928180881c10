"""Final step of every command: ``results.json``, figures, MLflow and the printed table."""

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
    """Write ``results.json``, draw figures, log both to the tracker and print the table.

    In this order, so that a failing figure or tracker never loses a number.

    Parameters
    ----------
    results
        Results of the command.
    tracker
        Tracker of the run.
    output
        Folder to write into.
    draw
        Creates the figures and returns their paths; the first one is named in the printed output.
    metrics, digits, tall, body, words_first
        As for `print_table`.

    Raises
    ------
    SettingError
        If ``output`` cannot be written; the table is printed in any case.
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
    """Return the paths of the figures; if the disk cannot take them, warn and return none."""
    try:
        return draw()
    except OSError as error:
        warnings.warn(
            f"no figure could be written ({error}); results.json is complete", RecsimWarning, stacklevel=3
        )
        return ()
