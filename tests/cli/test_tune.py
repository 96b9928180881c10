"""``python -m recsim_gen.tune`` as the reader runs it."""

from __future__ import annotations

import json

import pytest
import yaml
from command_line import tracked

from recsim_gen import train_ranker
from recsim_gen.artifacts.tuned_rankers import CHOSEN_BY
from recsim_gen.core import results
from recsim_gen.core.command_line.parsing import parse
from recsim_gen.core.config import run
from recsim_gen.tune import main

SMALL = ["--settings.epochs=1", "--seeds", "0", "3", "--encoders.text=words", "--encoders.image=none"]
SMALL += ["--data-settings.n_items=120", "--data-settings.n_users=60", "--output=out", "--ranker=lightgcn"]
SEARCHED = {"learning_rate", "reg_weight", "n_layers"}


def test_a_search_is_told_kept_and_gone_on_with(apart, capsys):
    assert run(main, [*SMALL, "--trials=3", "--quiet"]) == 0
    assert run(main, [*SMALL, "--trials=5", "--tracking-uri=sqlite:///again.db"]) == 0
    said = capsys.readouterr()
    for number, times in ((0, 0), (2, 0), (3, 1), (4, 1)):  # of the second: those before are not done again
        assert said.err.count(f"trial {number}: learning_rate") == times
    found = results.load(apart / "out")
    valid = {r["variant"]: r for r in found.rows if r["metric"] == f"valid_{CHOSEN_BY}"}
    assert list(valid) == [*(f"trial {k}" for k in range(5)), "as given", "best"]
    assert all(set(json.loads(row["settings"])) == SEARCHED for row in valid.values())
    best = max(range(5), key=lambda k: valid[f"trial {k}"]["value"])
    assert valid["best"]["settings"] == valid[f"trial {best}"]["settings"]
    assert found.verdicts[f"best of 5 trials by validation {CHOSEN_BY}"].startswith(f"trial {best}: ")
    assert any("the test split was asked once, after the search" in note for note in found.notes)
    tested = {r["variant"] for r in found.rows if r["metric"] == "recall@10" and r["seed"] in (0, 3)}
    assert tested == {"as given", "best"}
    assert "On the test split" in said.out
    _, children = tracked(apart / "again.db")
    assert set(children) == set(valid)
    assert all(f"valid_{CHOSEN_BY.replace('@', '_at_')}" in keys for keys in children.values())
    assert "ndcg_at_20_high" in children["best"]


def test_the_best_settings_are_a_file_that_other_commands_take(apart):
    assert run(main, [*SMALL, "--trials=3", "--quiet"]) == 0
    file = apart / "out" / "best.yaml"
    (spec,) = parse(train_ranker.main, ["--config", str(file)]).ranker
    settings = yaml.safe_load(file.read_text())["ranker_settings"]
    assert (spec.name, dict(spec.settings)) == ("lightgcn", settings)
    assert set(settings) == SEARCHED | {"epochs"}
    assert run(train_ranker.main, [*SMALL[1:-2], "--config", str(file), "--output=t", "--quiet"]) == 0
    trained = results.load(apart / "t").fingerprints
    assert trained["lightgcn seed 3"] == results.load(apart / "out").fingerprints["best seed 3"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--trials=1"], "--trials must be 2 or more (the first is the ranker as given), got 1"),
        (["--ranker=popularity"], "popularity has nothing to search"),
        (["--storage=out/search"], "--storage must be a database"),
        (["--settings.n_layer=1"], "unknown setting 'n_layer' of ranker lightgcn. Did you mean 'n_layers'"),
    ],
)
def test_what_cannot_be_done_is_told_before_any_work(argv, message, apart, capsys):
    small = [x for x in SMALL if "popularity" not in argv[0] or "epochs" not in x]
    assert run(main, [*small, *argv]) == 2
    assert message in capsys.readouterr().err
    assert not (apart / "out").exists()
