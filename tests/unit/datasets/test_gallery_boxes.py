"""Bounding boxes of a gallery's CSV: the picture is what lies inside, and a box that cannot be is told."""

import numpy as np
import pytest
from PIL import Image

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.gallery import load


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def gallery(folder, *boxes, column="bbox"):
    """Pictures of 20 × 10 pixels, black, with a white field at (4, 2) of 6 × 5 pixels."""
    folder.mkdir(exist_ok=True)
    pixels = np.zeros((10, 20, 3), dtype=np.uint8)
    pixels[2:7, 4:10] = 255
    lines = [f"file,identity,{column}"]
    for k, box in enumerate(boxes):
        Image.fromarray(pixels).save(folder / f"{k}.png")
        lines.append(f'{k}.png,{"ann" if k % 2 else "bob"},"{box}"')
    (folder / "list.csv").write_text("\n".join(lines))
    return load(folder / "list.csv")


def test_the_picture_is_what_lies_inside_its_box(tmp_path):
    found = gallery(tmp_path, "[4, 2, 6, 5]", "4 2 6.0 5", "", "[15, 5, 100, 100]")
    sizes = [found.catalog.images.read(row).size for row in range(4)]
    assert sizes == [(6, 5), (6, 5), (20, 10), (5, 5)]
    assert np.asarray(found.catalog.images.read(0)).min() == 255
    assert "3 pictures are what lies inside their box (column bbox)" in found.notes


def test_another_box_is_another_picture(tmp_path):
    prints = [
        gallery(tmp_path, box, "").catalog.images.fingerprint
        for box in ("[4, 2, 6, 5]", "[4, 2, 6, 6]", "", "[4, 2, 6, 5]")
    ]
    assert len(set(prints)) == 3
    assert prints[0] == prints[3]


@pytest.mark.parametrize("box", ["[4, 2, 6]", "[4, 2, 0, 5]", "[4, 2, six, 5]", "[4, 2, inf, 5]"])
def test_what_is_no_box_is_told(tmp_path, box):
    with pytest.raises(DataError, match=r"list\.csv, row 3: a box \[x, y, width, height\] of positive size"):
        gallery(tmp_path, "", box)


def test_a_box_outside_of_its_picture_is_told(tmp_path):
    found = gallery(tmp_path, "", "[30, 2, 6, 5]")
    with pytest.raises(DataError, match=r"1\.png: the box .* lies outside of the picture, 20 × 10 pixels"):
        found.catalog.images.read(1)


def test_boxes_in_another_form_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"boxes are read from one column, bbox.*got a column x_min"):
        gallery(tmp_path, "4", "5", column="x_min")
