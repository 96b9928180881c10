"""Figures: what is drawn is what was found, in files that do not change by themselves."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from analysis.figures import _chosen, _draw, grouped_bars
from recsim_gen.core.errors import DataError
from recsim_gen.core.results import Results

VALUES = {"ret": 0.14, "exp_ret": 0.055, "random": 0.045, "recent": 0.08, "full": 0.063, "ret_wrong": 0.04}


def some_results(**more) -> Results:
    results = Results("validate_assumptions", {})
    for variant, value in VALUES.items():
        for metric, factor in {"recall@10": 1, "ndcg@10": 0.6}.items():
            v = value * factor
            results.row(
                variant=variant, metric=metric, value=v, low=v - 0.018, high=v + 0.021, n=1800, **more
            )
    return results


def figure(results, metrics=None, **names):
    return _draw(_chosen(results, metrics), names, "Title", "Recall@10 and NDCG@10")


def test_png_and_svg_are_written(tmp_path):
    paths = grouped_bars(some_results(), tmp_path / "new" / "bars.v1", title="T", ylabel="Y")
    assert [p.name for p in paths] == ["bars.v1.png", "bars.v1.svg"]
    with Image.open(paths[0]) as image:
        assert image.width > 1000
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    assert ET.parse(paths[1]).getroot().tag.endswith("svg")


def test_equal_numbers_give_equal_bytes(tmp_path):
    first = grouped_bars(some_results(), tmp_path / "a", title="T", ylabel="Y")
    second = grouped_bars(some_results(), tmp_path / "b", title="T", ylabel="Y")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_bars_and_intervals_are_the_numbers():
    (axes,) = figure(some_results()).axes
    bars = {
        c.get_label(): [b.get_height() for b in c]
        for c in axes.containers
        if c.get_label() in ("recall@10", "ndcg@10")
    }
    assert bars["recall@10"] == pytest.approx(list(VALUES.values()))
    assert bars["ndcg@10"] == pytest.approx([0.6 * v for v in VALUES.values()])
    ends = axes.collections[0].get_segments()
    drawn = np.array([segment[:, 1] for segment in ends])
    assert drawn == pytest.approx(np.array([(v - 0.018, v + 0.021) for v in VALUES.values()]))


def test_text_says_what_is_seen():
    fig = figure(some_results(), ret="Retrieved")
    (axes,) = fig.axes
    assert [t.get_text() for t in axes.get_xticklabels()][:2] == ["Retrieved", "exp_ret"]
    assert axes.get_ylabel() == "Recall@10 and NDCG@10"
    assert axes.get_title(loc="left") == "Title"
    assert "95% intervals; n = 1800" in fig.get_supxlabel()


def test_a_missing_number_leaves_a_gap():
    results = some_results()
    results.row(variant="full", metric="hit@10", value=math.nan)
    results.row(variant="ret", metric="hit@10", value=0.2)
    (axes,) = figure(results, ["hit@10", "recall@10"]).axes
    bars = next(c for c in axes.containers if c.get_label() == "hit@10")
    drawn = [b.get_height() for b in bars if not math.isnan(b.get_height())]
    assert drawn == [0.2]


def test_what_cannot_be_drawn_is_said(tmp_path):
    with pytest.raises(DataError, match=r"Did you mean 'recall@10'\?"):
        grouped_bars(some_results(), tmp_path / "x", title="T", ylabel="Y", metrics=["recall@1"])
    with pytest.raises(DataError, match="needs rows"):
        grouped_bars(Results("c", {}), tmp_path / "x", title="T", ylabel="Y")
    results = some_results(judge="micro")
    results.row(variant="ret", metric="recall@10", value=0.1, judge="vbpr")
    with pytest.raises(DataError, match="one judge"):
        grouped_bars(results, tmp_path / "x", title="T", ylabel="Y")
    assert not list(tmp_path.iterdir())
