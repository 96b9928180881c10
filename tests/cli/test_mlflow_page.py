"""MLflow's own pages in a real browser: two clicks from a run to its variants side by side."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from browser import Browser
from comparison_page import open_comparison
from servers import mlflow_server, postgres

from rankers.popularity import Popularity
from recsim_gen import report
from recsim_gen.artifacts.serving import log_ranker
from recsim_gen.core.config import run
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.tracking import Tracker
from recsim_gen.testing import worlds

pytestmark = pytest.mark.browser

VARIANTS = {"original": 0.1489, "ragar": 0.1561, "shuffled": 0.1367}


def track(output: Path, uri: str) -> Tracker:
    """An invocation of aux_rec, as the command logs it."""
    results = Results("aux_rec", {"leakage": "strict"}, {"data": "0" * 32})
    for variant, value in VARIANTS.items():
        for metric, factor in (("recall@10", 1.0), ("ndcg@10", 0.5)):
            numbers = {"value": value * factor, "low": value * factor - 0.01, "high": value * factor + 0.01}
            results.row(variant=variant, metric=metric, n=600, **numbers)
    catalog, interactions = worlds.noise()
    ranker = Popularity().fit(catalog, interactions, rng=Rng(0))
    with Tracker("aux_rec", results.config, output=output, uri=uri) as tracker:
        tracker.publish(results, [results.write(output)])
        log_ranker(tracker.child("original"), ranker, catalog, interactions, name="ranker-seed0")
    assert not tracker.store.failed
    return tracker


def sees_the_table(folder: Path, address: str, tracker: Tracker) -> None:
    """From the run's page by its link to the comparison: every variant, every metric, every value."""
    browser = Browser(folder, online=True)
    try:
        page = "/#/" + tracker.page.partition("/#/")[2]
        text = open_comparison(browser, address + page)
    finally:
        browser.close()
    for word in (*VARIANTS, "recall_at_10", "ndcg_at_10", "recall_at_10_low", "recall_at_10_high"):
        assert word in text
    for value in VARIANTS.values():
        assert f"{value:.3f}" in text


def test_the_embedded_store(tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    store = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = track(tmp_path / "aux_rec", store)
    with mlflow_server(store, tmp_path) as address:
        sees_the_table(tmp_path, address, tracker)


def test_a_server_with_postgresql_is_written_read_and_looked_at(tmp_path, monkeypatch, capsys):
    with postgres() as store, mlflow_server(store, tmp_path) as address:
        tracker = track(tmp_path / "aux_rec", address)
        assert run(report.main, [f"--tracking-uri={address}", f"--output={tmp_path}/p.html"]) == 0
        assert "0.1561" in (tmp_path / "p.html").read_text()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        import mlflow
        import pandas as pd

        served = mlflow.pyfunc.load_model(f"runs:/{tracker.child('original').id}/ranker-seed0")
        assert len(served.predict(pd.DataFrame({"user": ["u3"]}), params={"k": 4})["items"][0]) == 4
        sees_the_table(tmp_path, address, tracker)
