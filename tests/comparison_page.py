"""From a run's page in MLflow to its variants side by side, as a reader gets there; and a picture of it.

``python tests/comparison_page.py sqlite:///runs/mlflow.db validate_assumptions mlflow/comparison.png``
makes the README's picture of the latest run of a command.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from browser import Browser

LINK = "Compare the variants side by side"
FIND = f"[...document.querySelectorAll('a')].find(a => a.textContent.includes({json.dumps(LINK)}))"

CLICK = """(() => { const what = %s; const named = e => e.innerText && e.innerText.trim() === what;
const found = what[0] === '[' ? document.querySelector(what)
    : [...document.querySelectorAll('button, [role=button], h2, h3, h4, span')].find(named);
if (found) found.click(); return !!found })()"""
"""A click on the first thing of a selector or of a text, where there is one."""


def open_comparison(browser: Browser, run_page: str, sees: str = "recall_at_10_low") -> str:
    """Click the link in the run's description; give the text of the page it leads to when it has ``sees``."""
    browser.resize(1500, 1300)
    browser.visit(run_page)
    browser.wait(f"!!{FIND}", seconds=120)
    href = browser.js(f"{FIND}.href")
    browser.visit(href)
    browser.wait("location.hash.startsWith('#/compare-runs')")
    browser.wait(f"document.body.innerText.includes({json.dumps(sees)})", seconds=120)
    return str(browser.js("document.body.innerText"))


def picture(store: str, command: str, path: Path) -> None:
    """A screenshot of the comparison of the latest run of a command."""
    from servers import mlflow_server

    from recsim_gen.core.tracked import latest_runs
    from recsim_gen.core.tracking import open_client

    client = open_client(store)
    runs = [client.get_run(run) for run in latest_runs(client)]
    (run,) = (r for r in runs if r.data.tags["mlflow.source.name"] == f"recsim_gen.{command}")
    page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    with tempfile.TemporaryDirectory() as folder, mlflow_server(store, Path(folder)) as address:
        browser = Browser(Path(folder), online=True)
        open_comparison(browser, f"{address}/{page}", sees="_at_10_low")
        for what in ("[aria-label='Close']", "Visualizations", "Parameters"):  # to see the metrics at once
            browser.js(CLICK % json.dumps(what))
            time.sleep(1)
        browser.resize(1560, 950)
        time.sleep(1)
        browser.picture(path)
        browser.close()


if __name__ == "__main__":
    picture(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
