"""The figure over rounds: one panel a measure, equal bytes for equal numbers."""

from __future__ import annotations

import pandas as pd
import pytest
from PIL import Image

from analysis.simulation_figures import round_curves
from recsim_gen.core.errors import DataError


def table() -> pd.DataFrame:
    rows = [
        (arm, "product", t, metric, 0.5 + 0.01 * t, 0.4, 0.6)
        for arm in ("original", "oracle")
        for t in (1, 2, 3)
        for metric in ("choices", "gini")
    ]
    return pd.DataFrame(rows, columns=["variant", "meaning", "round", "metric", "value", "low", "high"])


def test_equal_numbers_give_equal_files(tmp_path):
    panels = {"choices a visit": ("product", "choices"), "inequality": ("product", "gini")}
    one = round_curves(table(), tmp_path / "one", title="t", panels=panels)
    two = round_curves(table(), tmp_path / "two", title="t", panels=panels)
    assert [path.suffix for path in one] == [".png", ".svg"]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    with Image.open(one[0]) as image:
        assert image.size[0] > image.size[1]


def test_a_single_round_without_intervals_is_drawn(tmp_path):
    one = table().query("round == 1").assign(low=float("nan"), high=float("nan"))
    assert round_curves(one, tmp_path / "x", title="t", panels={"c": ("product", "choices")})


def test_a_panel_without_rows_is_told(tmp_path):
    with pytest.raises(DataError, match="a panel needs rows of choices under packaging, got none"):
        round_curves(table(), tmp_path / "x", title="t", panels={"c": ("packaging", "choices")})
