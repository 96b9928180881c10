"""One page of results: the latest run of each command, read back from MLflow."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from recsim_gen.core.config import run
from recsim_gen.core.options import RunOptions


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """Options of report.

    Parameters
    ----------
    runs
        Ids of the runs to show; default the latest finished one of each command.
    title
        Heading of the page.
    output
        The page.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db in the page's folder.
    quiet
        Print the path only.
    """

    runs: tuple[str, ...] = ()
    title: str = "recsim-gen: what was found"
    output: Path = Path("runs/report.html")


def main(options: Options) -> None:
    """Write a self-contained HTML page: tables, verdicts, figures, sheets, settings, versions.

    A single file that opens offline, prints, and is readable on a phone, for example for a paper's appendix.
    """
    import tempfile

    from analysis.page import page
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.progress import bar, say
    from recsim_gen.core.store import atomic
    from recsim_gen.core.tracked import latest_runs, read_run
    from recsim_gen.core.tracking import open_client
    from recsim_gen.core.tracking_names import default_uri, sqlite_file

    output = options.output
    uri = options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or default_uri(output)
    store = sqlite_file(uri)
    if store is not None and not store.is_file():  # MLflow would create it
        raise SettingError(
            f"a store of runs is wanted, there is no {store}: give --tracking-uri, or run a command"
        )
    client = open_client(uri)
    ids = options.runs or latest_runs(client)
    with tempfile.TemporaryDirectory() as folder:
        runs = [read_run(client, run_id, folder) for run_id in bar(ids, "runs")]
    with atomic(output) as temporary:
        temporary.write_text(page(runs, options.title), encoding="utf-8")
    say(f"{', '.join(one.command for one in runs)}: {output.stat().st_size / 2**20:.1f} MiB")
    sys.stdout.write(f"page  {output}\n")


if __name__ == "__main__":
    raise SystemExit(run(main))
