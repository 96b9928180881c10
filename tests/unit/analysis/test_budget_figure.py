"""The figure over budgets: one panel a measure, equal bytes for equal numbers."""

from __future__ import annotations

import pandas as pd
import pytest
from PIL import Image

from analysis.budget_figure import budget_curves
from recsim_gen.core.errors import DataError

PANELS = {"liking": "true liking", "delta_r": "ΔR"}


def table() -> pd.DataFrame:
    rows = [
        (method, judged, measure, judged / 1e4, judged / 1e4 - 0.1, judged / 1e4 + 0.1)
        for method in ("best of n", "DPO")
        for judged in (400, 1400, 4400)
        for measure in PANELS
    ]
    return pd.DataFrame(rows, columns=["method", "judged", "measure", "value", "low", "high"])


def test_equal_numbers_give_equal_files(tmp_path):
    made = [budget_curves(table(), tmp_path / n, title="t", caption="c", panels=PANELS) for n in ("1", "2")]
    assert [path.suffix for path in made[0]] == [".png", ".svg"]
    assert [path.read_bytes() for path in made[0]] == [path.read_bytes() for path in made[1]]
    with Image.open(made[0][0]) as image:
        assert image.size[0] > image.size[1]
    other = budget_curves(
        table().assign(value=0.2, low=0.1, high=0.3), tmp_path / "3", title="t", caption="c", panels=PANELS
    )
    assert other[1].read_bytes() != made[0][1].read_bytes()


def test_a_panel_without_rows_is_told(tmp_path):
    with pytest.raises(DataError, match="a panel needs rows of cost, got none"):
        budget_curves(table(), tmp_path / "x", title="t", caption="c", panels={"cost": "cost"})
