"""Contact sheets: every picture is there, in its place; bad input leaves no file."""

import numpy as np
import pytest
from PIL import Image
from real_data import ROOT

from analysis.sheets import CAPTION, GAP, HEADING, boutique_sheet, contact_sheet
from recsim_gen.core.errors import SettingError


def test_pictures_stand_row_by_row(tmp_path):
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]
    images = [Image.new("RGB", (16, 16), colour) for colour in colours]
    path = contact_sheet(images, list("abcde"), 3, tmp_path / "new" / "sheet.png", side=40)
    sheet = np.asarray(Image.open(path).convert("RGB"))
    assert sheet.shape[:2] == (2 * (40 + CAPTION + GAP) + GAP, 3 * (40 + GAP) + GAP)
    for k, colour in enumerate(colours):
        y, x = GAP + k // 3 * (40 + CAPTION + GAP) + 20, GAP + k % 3 * (40 + GAP) + 20
        assert tuple(sheet[y, x]) == colour
        below = sheet[y + 21 : y + 20 + CAPTION, x - 20 : x + 20]
        assert below.min() < 128, f"no caption under picture {k}"


def test_headings_push_rows_down_and_marks_frame_a_picture(tmp_path):
    images = [Image.new("RGB", (16, 16), (200, 0, 0)), None, None, Image.new("RGB", (16, 16), (0, 200, 0))]
    path = contact_sheet(
        images,
        ["a", "b", "", "d"],
        2,
        tmp_path / "s.png",
        side=40,
        lines=4,
        headings={1: "below"},
        marked=[3],
    )
    sheet = np.asarray(Image.open(path).convert("RGB"))
    high = 40 + 2 * CAPTION + GAP
    assert sheet.shape[:2] == (2 * high + HEADING + GAP, 2 * (40 + GAP) + GAP)
    second = GAP + high + HEADING
    assert tuple(sheet[GAP + 20, GAP + 20]) == (200, 0, 0)
    assert tuple(sheet[second + 20, 2 * GAP + 60]) == (0, 200, 0)
    between = sheet[GAP + high - GAP : second - 4]
    assert between.min() < 128, "no heading above the second row"
    frame = sheet[second - 3, 2 * GAP + 60]
    assert tuple(frame) != (255, 255, 255)
    assert tuple(sheet[GAP - 3, GAP + 20]) == (255, 255, 255)
    assert sheet[GAP : GAP + 40, 2 * GAP + 40 :].min() < 128, "an absent picture is said to be absent"
    assert (sheet[second : second + 40 + CAPTION, GAP : GAP + 30] == 255).all(), "no label: nothing at all"


def test_tall_pictures_keep_their_proportions(tmp_path):
    path = contact_sheet([Image.new("RGB", (20, 40), (200, 0, 0))], ["tall"], 1, tmp_path / "s.png", side=40)
    row = np.asarray(Image.open(path).convert("RGB"))[GAP + 20]
    assert (row == (200, 0, 0)).all(1).sum() == 20


@pytest.mark.parametrize(("labels", "columns"), [([], 1), (["a", "b"], 1), (["a"], 0)])
def test_bad_input_leaves_no_file(tmp_path, labels, columns):
    with pytest.raises(SettingError):
        contact_sheet([Image.new("RGB", (8, 8))], labels, columns, tmp_path / "s.png")
    assert not list(tmp_path.iterdir())


def test_the_shop_at_a_glance_is_the_picture_in_the_repository(tmp_path):
    drawn, kept = (
        np.asarray(Image.open(path).convert("RGB"), dtype=float)
        for path in (boutique_sheet(tmp_path / "shop.png"), ROOT / "docs" / "pictures" / "boutique.png")
    )
    assert drawn.shape == kept.shape
    assert np.abs(drawn - kept).mean() < 1  # of 255: another Pillow may round otherwise
