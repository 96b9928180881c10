"""What methods are shown of a gallery is never among what is to be found."""

import brought
import numpy as np
import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.gallery import load
from recsim_gen.experiments.subjects.splitting import all_subjects, split_subjects


@pytest.fixture
def gallery(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    places = [f"{group}/{name}/{k}.png" for group in ("bag", "hat") for name in "ab" for k in range(4)]
    return load(brought.folder(tmp_path / "g", {p: brought.picture(n) for n, p in enumerate(places)}))


def test_shown_and_left_share_no_picture(gallery):
    subjects, left = split_subjects(gallery, 3, "", Rng(0))
    assert [(s.name, s.noun, len(s)) for s in subjects] == [
        ("a (bag)", "bag", 3),
        ("b (bag)", "bag", 3),
        ("a (hat)", "hat", 3),
        ("b (hat)", "hat", 3),
    ]
    shown = {image.tobytes() for s in subjects for image in s.images}
    kept = {gallery.catalog.images.read(row).tobytes() for row in left}
    assert (len(shown), len(kept)) == (12, 4)
    assert not shown & kept
    again, other = (split_subjects(gallery, 3, "", Rng(seed))[1] for seed in (0, 3))
    assert np.array_equal(left, again)
    assert not np.array_equal(left, other)


def test_a_noun_stands_for_the_group(gallery):
    assert {s.noun for s in split_subjects(gallery, 1, "thing", Rng(0))[0]} == {"thing"}
    assert {len(s) for s in all_subjects(gallery)} == {4}


def test_too_few_pictures_are_told(gallery):
    with pytest.raises(
        DataError, match=r"identity 'a \(bag\)' must have 4 pictures to be shown and 1 or more"
    ):
        split_subjects(gallery, 4, "", Rng(0))


def test_without_groups_a_noun_is_wanted(tmp_path):
    places = [f"{name}/{k}.png" for name in "ab" for k in range(3)]
    flat = load(brought.folder(tmp_path / "flat", {p: brought.picture(n) for n, p in enumerate(places)}))
    with pytest.raises(SettingError, match="give --noun"):
        split_subjects(flat, 1, "", Rng(0))
