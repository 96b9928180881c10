"""results.json: its public shape, its round trip, and the table made from it."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
from real_data import ROOT

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import quietly
from recsim_gen.core.results import FILE, KEYS, OPTIONS, ROW_KEYS, Results, load
from recsim_gen.core.table import pooled, print_table, table


@pytest.fixture
def results():
    r = Results("validate_assumptions", {"data": "boutique", "seeds": (0, 1)}, {"data": "abc"})
    for variant, value in {"ret": 0.14, "full": 0.0634}.items():
        for metric in ("recall@10", "ndcg@10"):
            for seed in (0, 1):
                r.row(
                    variant=variant, metric=metric, seed=seed, value=value + seed / 100, low=0, high=1, n=50
                )
            r.row(variant=variant, metric=metric, value=value, low=value - 0.02, high=value + 0.02, n=100)
    r.verdict("retrieved beats full", "holds (difference 0.077)")
    r.note("simulated data")
    return r


def test_document_has_the_public_shape(results, tmp_path):
    document = json.loads(results.write(tmp_path / "new" / "folder").read_text())
    assert tuple(document) == KEYS
    assert document["command"] == "validate_assumptions"
    assert document["config"] == {"data": "boutique", "seeds": [0, 1]}
    assert document["fingerprints"] == {"data": "abc"}
    assert document["seconds"] >= 0
    assert {"python", "torch", "numpy", "mlflow"} <= set(document["versions"])
    assert document["verdicts"] == {"retrieved beats full": "holds (difference 0.077)"}
    assert document["notes"] == ["simulated data"]
    assert all(set(ROW_KEYS) <= set(row) for row in document["rows"])
    assert document["rows"][0] == {
        "variant": "ret", "metric": "recall@10", "seed": 0, "value": 0.14, "low": 0, "high": 1, "n": 50,
    }  # fmt: skip
    assert document["rows"][2]["seed"] is None


def test_git_commit_is_that_of_the_checkout(results):
    root = ROOT
    if not (root / ".git").exists():
        assert results.git_commit is None
        return
    head = subprocess.run(
        ["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert results.git_commit is not None
    assert results.git_commit.removesuffix("-dirty") == head.stdout.strip()


def test_load_gives_back_what_was_written(results, tmp_path):
    path = results.write(tmp_path)
    for again in (load(path), load(tmp_path)):
        assert again.rows == results.rows
        assert again.document() == json.loads(path.read_text())


def test_numbers_that_are_not_finite_become_null(tmp_path):
    r = Results("x", {"output": Path("a/b"), "sizes": np.arange(3), "rate": np.float32(0.5)})
    r.row(
        variant="a", metric="m", value=math.nan, low=-math.inf, high=np.float64(3), n=np.int64(4), p=math.nan
    )
    document = json.loads(r.write(tmp_path).read_text())
    assert document["rows"] == [
        {
            "variant": "a",
            "metric": "m",
            "seed": None,
            "value": None,
            "low": None,
            "high": 3.0,
            "n": 4,
            "p": None,
        }
    ]
    assert document["config"] == {"output": "a/b", "sizes": [0, 1, 2], "rate": 0.5}


def test_what_json_cannot_hold_leaves_the_old_file(results, tmp_path):
    path = results.write(tmp_path)
    old = path.read_text()
    results.config = {"object": object()}
    with pytest.raises(TypeError, match="got object"):
        results.write(tmp_path)
    assert path.read_text() == old
    assert {p.name for p in tmp_path.iterdir()} == {FILE, OPTIONS}


def test_contradictions_are_refused(results):
    with pytest.raises(DataError, match="low <= high"):
        results.row(variant="ret", metric="x", value=1, low=2, high=1)
    with pytest.raises(DataError, match="twice"):
        results.row(variant="ret", metric="recall@10", value=0.5, seed=1)
    results.row(
        variant="ret", metric="recall@10", value=0.5, seed=1, judge="vbpr"
    )  # another judge is another row


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda d: d.pop("rows"), "'rows' must be"),
        (lambda d: d.update(verdicts=[]), "'verdicts' must be"),
        (lambda d: d["rows"][3].pop("low"), "row 4"),
    ],
)
def test_load_names_what_is_wrong(results, tmp_path, change, wanted):
    path = results.write(tmp_path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=wanted) as error:
        load(path)
    assert str(path) in str(error.value)


def test_load_says_when_there_is_nothing_or_no_json(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(DataError, match="must be JSON"):
        load(tmp_path)


def test_table_is_aligned_markdown_pooled_over_seeds(results):
    lines = table(results).splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == [
        "variant",
        "recall@10",
        "ndcg@10",
        "n",
    ]
    assert set(lines[1]) <= set("|-: ")
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "ret", "0.140 [0.120, 0.160]", "0.140 [0.120, 0.160]", "100",
    ]  # fmt: skip
    assert len(set(map(len, lines))) == 1
    assert len(lines) == 4


def test_seeds_that_the_command_did_not_pool_are_averaged_without_interval():
    r = Results("train_ranker", {})
    for seed, value in enumerate((0.1, 0.3)):
        r.row(
            variant="micro",
            metric="recall@10",
            seed=seed,
            value=value,
            low=0,
            high=1,
            n=10,
            epochs=30.0 + seed,
        )
    r.row(variant="bpr", metric="recall@10", seed=0, value=0.1, low=0.05, high=0.2, n=10, epochs=9.0)
    frame = pooled(r).set_index("variant")
    assert frame.loc["micro", "value"] == pytest.approx(0.2)
    assert math.isnan(frame.loc["micro", "low"])
    assert frame.loc["bpr", ["low", "high"]].tolist() == [0.05, 0.2]
    assert "| 0.200 " in table(r)


def test_judges_and_scopes_get_rows_of_their_own():
    r = Results("evaluate", {})
    for judge in ("micro", "vbpr"):
        r.row(variant="oracle", metric="delta_r", value=0.1, n=5, judge=judge, recipe="ours", p=0.01)
    r.row(variant="oracle", metric="ssim", value=math.nan, judge="micro", recipe="pigeon")
    text = table(r, metrics=["ssim", "delta_r"])
    assert text.splitlines()[0].replace(" ", "") == "|variant|judge|ssim|delta_r|n|"
    assert [line.replace(" ", "") for line in text.splitlines()[2:]] == [
        "|oracle(knowntruth)|micro|n/a|0.100|5|",
        "|oracle(knowntruth)|vbpr||0.100|5|",
    ]


def test_many_counts_stand_below_each_other():
    r = Results("c", {})
    for variant, counts in {"here": {"items": 12_345, "people": 7}, "published": {"items": 12_000}}.items():
        for metric, value in counts.items():
            r.row(variant=variant, metric=metric, value=value)
    assert table(r, digits=0, tall=True).splitlines() == [
        "| metric   |   here |   published |",
        "|----------|--------|-------------|",
        "| items    | 12,345 |      12,000 |",
        "| people   |      7 |             |",
    ]
    told = io.StringIO()
    print_table(r, tall=True, file=told)
    assert "interval" not in told.getvalue()


def test_unknown_metric_suggests(results):
    with pytest.raises(DataError, match=r"Did you mean 'recall@10'\?"):
        table(results, metrics=["recal@10"])


def test_quiet_leaves_table_and_paths(results):
    full, quiet = io.StringIO(), io.StringIO()
    print_table(results, paths={"results": "runs/results.json"}, file=full)
    with quietly():
        print_table(results, paths={"results": "runs/results.json"}, file=quiet)
    assert quiet.getvalue() == table(results) + "\n\nresults  runs/results.json\n"
    assert "holds (difference 0.077)" in full.getvalue()
    assert "Note: simulated data" in full.getvalue()
    assert table(results) in full.getvalue()


def test_results_are_a_plain_dataclass():
    assert {f.name for f in dataclasses.fields(Results) if not f.name.startswith("_")} == set(KEYS)
