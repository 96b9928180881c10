"""What mlflow/ tells readers to do: every search runs, the compose file is pinned and holds no secret."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml
from real_data import ROOT

from recsim_gen.core.results import Results
from recsim_gen.core.tracking import Tracker

FOLDER = ROOT / "mlflow"
LINE = re.compile(r"^\| (?P<what>[^|]+) \| (?P<ticks>`+) ?(?P<search>.+?) ?(?P=ticks) \|$", re.MULTILINE)
SEARCHES = [m["search"] for m in LINE.finditer((FOLDER / "searches.md").read_text(encoding="utf-8"))]
VARIANTS = ("ret", "recent", "micro", "bpr", "ragar", "original", "noise", "trial 3", "best")
CONFIG = {"protocol": "fold-in", "data": "boutique", "scope": "graph", "leakage": ["strict", "paper"]}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, empty_store):
    """A finished invocation with a child for each kind of variant, and one that failed."""
    root = tmp_path_factory.mktemp("searched")
    shutil.copy(empty_store, root / "mlflow.db")
    results = Results("aux_rec", CONFIG, {"data": "FINGERPRINT"}, git_commit="COMMIT")
    for variant in VARIANTS:
        results.row(variant=variant, metric="recall@10", value=0.2, low=0.15, high=0.25)
        results.row(variant=variant, metric="valid_ndcg@20", value=0.2)
        for meaning in ("packaging", "product"):
            results.row(variant=variant, metric="choices", value=0.7, low=0.65, high=0.75, meaning=meaning)
            results.row(variant=variant, metric="returns", value=0.05, low=0.0, high=0.1, meaning=meaning)
    uri = f"sqlite:///{root}/mlflow.db"
    with Tracker("aux_rec", CONFIG, output=root / "x", uri=uri) as tracker:
        tracker.run.set_tags({"mlflow.source.git.commit": "COMMIT"})
        tracker.publish(results)
    with pytest.raises(KeyError), Tracker("aux_rec", CONFIG, output=root / "x", uri=uri):
        raise KeyError
    return tracker


def test_there_are_searches_for_each_table():
    text = (FOLDER / "searches.md").read_text(encoding="utf-8")
    assert len(SEARCHES) == len(re.findall(r"^\| (?!what|-)", text, re.MULTILINE)) >= 15


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_finds_something_and_not_everything(tracked, search):
    client = tracked.store.client
    experiment = client.get_experiment_by_name("aux_rec").experiment_id
    every = client.search_runs([experiment])
    found = client.search_runs([experiment], search.replace("RUN", tracked.run.id))
    assert found
    assert len(found) < len(every) or search.startswith("params")  # which all runs of a command share


def test_the_compose_file_is_pinned_healthy_and_holds_no_secret():
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    services = yaml.safe_load(text)["services"]
    for name, service in services.items():
        image = service.get("image") or re.search(r"FROM (\S+)", service["build"]["dockerfile_inline"])[1]
        tag = image.partition(":")[2]
        assert re.search(r"\d+\.\d+|\d{4}-\d\d-\d\d", tag), f"{name}: {image} is not pinned"
        assert "healthcheck" in service or name == "bucket"
        for key, value in service.get("environment", {}).items():
            secret = re.search("PASSWORD|SECRET|ACCESS_KEY|ROOT_USER", key)
            assert not secret or value.startswith("${"), f"{name}: {key} stands in the file"
    assert all("==" in word for word in re.search(r"pip install --no-cache-dir (.+)", text)[1].split())


def test_every_variable_of_the_compose_file_is_in_the_example():
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    example = (FOLDER / ".env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+)", text)) == set(re.findall(r"^(\w+)=", example, re.MULTILINE))
