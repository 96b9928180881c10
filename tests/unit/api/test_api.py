"""One import: light, whole, and each function the same as the command of its name."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from real_data import ROOT

import recsim_gen.api as rs
from recsim_gen.core.errors import DataError, SettingError

SHOP = {"n_items": 120, "n_users": 60}


@pytest.fixture(scope="module")
def data():
    return rs.load_data("boutique", **SHOP)


@pytest.fixture(scope="module")
def taste(data):
    return rs.train_ranker("taste", data)


def test_importing_it_loads_nothing_and_every_name_is_there():
    code = (
        "import sys, recsim_gen.api as rs\n"
        "assert not {'torch', 'pandas', 'mlflow'} & set(sys.modules)\n"
        "print(*[name for name in rs.__all__ if getattr(rs, name) is None], len(rs.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == [str(len(rs.__all__))]


def test_the_python_of_the_readme_runs(capsys):
    (block,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    exec(compile(block, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "recall@10" in said
    assert "| images" in said
    assert "swap test (taste): sees" in said


def test_lists_leave_out_what_people_have(data, taste):
    chosen = data.dataset.interactions
    users = chosen.user_ids[[3, 1, 3]]
    lists = rs.recommend(taste, data, users, k=5)
    assert lists["user"].tolist() == np.repeat(users, 5).tolist()
    assert lists["place"].tolist() == [1, 2, 3, 4, 5] * 3
    assert lists["item"].tolist()[:5] == lists["item"].tolist()[10:]
    had = {(u, i) for u, i in zip(*chosen.only("train", "valid"), strict=True)}
    rows = zip(data.users(lists["user"]), data.items(lists["item"]), strict=True)
    assert not {(u, i) for u, i in rows} & had
    best = lists.groupby(lists.index // 5)["score"]
    assert best.apply(lambda scores: scores.is_monotonic_decreasing).all()


def test_rank_metrics_are_of_what_comes_next(data, taste):
    values = rs.rank_metrics(taste, data, ks=(20,))
    popular = rs.rank_metrics(rs.train_ranker("popularity", data), data, ks=(20,))
    assert set(values) == {"recall@20", "ndcg@20", "ndcg_retrieved@20"}
    assert values["recall@20"] > popular["recall@20"]


def test_an_items_own_picture_changes_nothing_and_a_liked_one_does(data, taste):
    images, items = data.catalog.images, data.catalog.item_ids[:4]
    users = [data.dataset.interactions.user_ids[0]] * 4
    same = rs.substitute(taste, data, users, items, [images.read(row) for row in range(4)])
    assert same.rank == pytest.approx(same.original_rank)
    best = data.items(rs.recommend(taste, data, users[:1], k=1)["item"])[0]
    worst = data.catalog.item_ids[
        np.flatnonzero(data.catalog.categories == data.catalog.categories[best])[-1:]
    ]
    moved = rs.substitute(taste, data, users[:1], worst, [images.read(int(best))])
    assert moved.score[0] > moved.original_score[0]


def test_pictures_are_judged_as_they_were_drawn(data, taste):
    pictures = rs.generate("oracle", data, episodes=12)
    assert len(pictures) == 12
    judgement = rs.judge(data, [taste], pictures)
    assert "| images" in str(judgement)
    assert "identity (taste): holds" in str(judgement)


def test_an_unknown_id_option_or_count_is_told(data, taste):
    with pytest.raises(DataError, match="unknown user 'nobody': give ids as the data has them"):
        data.users(["nobody"])
    with pytest.raises(SettingError, match="k must be 1 to the catalogue's 120 items, got 0"):
        rs.recommend(taste, data, [], k=0)
    with pytest.raises(SettingError, match="users, items and images must be equally many, got 1, 0 and 0"):
        rs.substitute(taste, data, ["u"], [], [])
    with pytest.raises(SettingError, match=r"unknown option 'retrained'\. Did you mean 'retrain'"):
        rs.evaluate(data, ["sd"], retrained=False)
    with pytest.raises(SettingError, match="--seeds: give each value once, got 0 twice"):
        rs.simulate(data, ["aa"], seeds=(0, 0))


def test_experiments_are_the_commands(data, tmp_path):
    results = rs.simulate(data, ["aa"], rounds=1, seeds=(0,), trials=2, output=tmp_path / "simulate")
    assert {row["variant"] for row in results.rows} == {"original", "aa"}
    assert (tmp_path / "simulate" / "results.json").exists()
    scored = rs.evaluate(
        data,
        ["original,oracle"],
        judges=["taste-seed0"],
        metrics=["delta_r"],
        episodes=10,
        output=tmp_path / "evaluate",
    )
    assert rs.table(scored, metrics=["delta_r[taste-seed0]"]).splitlines()[2].startswith("| placebo")
    whole = [row for row in scored.rows if row["metric"] == "delta_r[taste-seed0]" and row["seed"] is None]
    moved = {row["variant"]: row["value"] for row in whole}
    assert moved["original"] == 0
    assert moved["oracle"] != 0
