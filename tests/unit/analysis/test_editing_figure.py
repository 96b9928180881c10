"""The figure of edits: a panel for each two measures, equal bytes for equal numbers."""

from __future__ import annotations

import pandas as pd
import pytest
from PIL import Image

from analysis.editing_figure import editing_curves
from recsim_gen.core.errors import DataError

HOW = {
    "title": "t",
    "caption": "c",
    "won": {"delta_r": "ΔR", "oracle_utility": "true liking"},
    "kept": {"ssim": "SSIM", "st_lpips": "ST-LPIPS"},
    "lines": {"edit": {"edit0.2": "0.2", "edit0.6": "0.6"}},
    "lower_is_kept": ["st_lpips"],
}


def table(more: float = 0.0) -> pd.DataFrame:
    rows = [
        (variant, metric, k + more, k + more - 0.1, k + more + 0.1)
        for k, variant in enumerate(("original", "edit0.2", "edit0.6", "sd"))
        for metric in ("delta_r", "oracle_utility", "ssim", "st_lpips")
    ]
    return pd.DataFrame(rows, columns=["variant", "metric", "value", "low", "high"])


def test_equal_numbers_give_equal_files(tmp_path):
    made = [editing_curves(table(), tmp_path / name, **HOW) for name in ("1", "2")]
    assert [path.suffix for path in made[0]] == [".png", ".svg"]
    assert [path.read_bytes() for path in made[0]] == [path.read_bytes() for path in made[1]]
    with Image.open(made[0][0]) as image:
        assert image.size[0] > image.size[1]
    other = editing_curves(table(0.5), tmp_path / "3", **HOW)
    assert other[1].read_bytes() != made[0][1].read_bytes()


def test_what_lacks_is_told(tmp_path):
    with pytest.raises(DataError, match="a panel needs rows of cps, got none"):
        editing_curves(table(), tmp_path / "x", **{**HOW, "won": {"cps": "CPS"}})
    with pytest.raises(DataError, match=r"the line edit needs rows of edit0\.9, got none"):
        editing_curves(table(), tmp_path / "x", **{**HOW, "lines": {"edit": {"edit0.9": "0.9"}}})
