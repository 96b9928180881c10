"""``python -m recsim_gen.explain`` as the reader runs it."""

from __future__ import annotations

import io
import shutil
from contextlib import redirect_stdout

import pandas as pd
import pytest
import toy_shop
from command_line import tracked

from recsim_gen.core import results
from recsim_gen.core.config import run
from recsim_gen.experiments.explanations.comparison import CONTROLS, METRICS, ORACLE, TRUTH
from recsim_gen.explain import main

METHODS = ("keywords", "counted")
SMALL = ["--data-settings.n_items=100", "--data-settings.n_users=60", "--episodes=16", "--seeds", "0", "1"]
SMALL += ["--methods", "keywords,counted"]


@pytest.fixture(scope="module")
def here(tmp_path_factory, empty_store):
    """A folder with a tracking store, the working directory of all of these."""
    root = tmp_path_factory.mktemp("explain")
    shutil.copy(empty_store, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(root / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        yield root


@pytest.fixture(scope="module")
def printed(here):
    """What one run on a small Boutique prints."""
    with redirect_stdout(io.StringIO()) as out:
        assert run(main, [*SMALL, "--output=out"]) == 0
    return out.getvalue()


@pytest.fixture(scope="module")
def found(here, printed):
    return results.load(here / "out")


def test_methods_stand_beside_somebody_else_s_reasons_controls_and_the_truth(found):
    whole = {(row["variant"], row["metric"]): row for row in found.rows if row["seed"] is None}
    variants = [*METHODS, *(f"{name}_shuffled" for name in METHODS), *CONTROLS, ORACLE]
    for variant in variants:
        for metric in METRICS:
            row = whole[variant, metric]
            silent = whole[variant, "explained"]["value"] == 0 and metric in ("precision", "grounded")
            assert (row["value"] is None) == silent
            assert silent or 0 <= row["value"] <= 1
    assert {variant for variant, metric in whole if metric == "fmr"} == set(variants)
    assert whole[ORACLE, "fmr"]["value"] == 1
    assert whole["random", "explained"]["value"] == 1
    assert whole["counted", "grounded"]["value"] == 1
    row = whole["counted", "precision"]
    assert row["low"] <= row["value"] <= row["high"]
    assert row["n"] <= 16
    assert set(found.fingerprints) == {"data", "models"}
    for name in METHODS:
        assert {f"{name} against {name}_shuffled", f"{name} against first"} <= set(found.verdicts)


def test_table_and_paths_are_printed(printed):
    for word in (*METHODS, "oracle (known truth)", "precision", "usr", "results.json", "mlflow"):
        assert word in printed


def test_every_explanation_is_written_and_some_to_be_read(here, found):
    out = here / "out"
    names = {"results.json", "config.yaml", "explanations.csv", "examples.md", "reasons.png", "reasons.svg"}
    assert {file.name for file in out.iterdir()} == names
    table = pd.read_csv(out / "explanations.csv", keep_default_na=False)
    assert table.groupby(["variant", "seed"]).size().eq(16).all()
    mine = table[table["variant"] == "counted"]
    for named, reason in zip(mine["named"], mine["reason"], strict=True):
        assert named in reason
    page = (out / "examples.md").read_text(encoding="utf-8")
    assert page.count("\n## ") == 8
    assert f"| counted | {mine['caption'].iloc[0]} | {mine['reason'].iloc[0]} |" in page


def test_mlflow_has_a_run_for_each_line_under_equal_keys(here, found):
    status, children = tracked(here / "mlflow.db", "explain")
    assert status == "FINISHED"
    assert {*METHODS, "counted_shuffled", *CONTROLS, ORACLE} <= set(children)
    assert {"fmr", "precision", "usr", "div", "bleu_1", "rouge_l"} <= children["counted"]


def test_a_shop_of_one_s_own_has_all_but_the_truth(here, capsys):
    toy_shop.as_csv(here / "shop", images=False)
    argv = ["--data=csv:shop", "--methods", "counted", "taste", "--history=5", "--attributes=2"]
    assert run(main, [*argv, "--baseline=counted", "--seeds", "0", "--output=own"]) == 0
    found = results.load(here / "own")
    assert ORACLE not in {row["variant"] for row in found.rows}
    mine = [row for row in found.rows if row["variant"] == "counted" and row["seed"] is None]
    numbers = {row["metric"]: row for row in mine}
    for metric in METRICS:
        assert (numbers[metric]["value"] is None) == (metric in TRUTH)
    assert numbers["fmr"]["reason"] == "needs known tastes (--data boutique)"
    assert any("need known tastes" in note for note in found.notes)
    assert any("the embedded models were trained on boutique alone" in note for note in found.notes)
    assert "n/a" in capsys.readouterr().out
    table = pd.read_csv(here / "own" / "explanations.csv")
    assert "fmr" not in table
    assert set(table["item"]) <= {row["id"] for row in toy_shop.items()}
