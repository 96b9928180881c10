"""Images from anywhere: which names are understood, who is asked, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import brought
import numpy as np
import pytest

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Dataset, Episode
from recsim_gen.datasets.image_sets import ANY, read_images
from recsim_gen.testing import worlds


def world(user_ids: list[str] | None = None) -> Dataset:
    """Items i0…i9; users u0…u3, whose test references are i4, i9, i4 and i0."""
    choices = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [5, 6, 0, 1, 4], [9, 8, 7, 6, 0]]
    catalog, chosen = worlds.catalog({"image": np.eye(10)}), worlds.interactions(choices, 10)
    if user_ids:
        chosen = replace(chosen, user_ids=np.array(user_ids))
    ids = chosen.user_ids.tolist()
    episodes = [Episode(f"{ids[u]}#0", u, ids[u], tuple(c[:-1]), c[-1]) for u, c in enumerate(choices)]
    return Dataset("world", catalog, chosen, tuple(episodes), {"image": "pixels"})


def test_an_items_image_is_asked_of_everyone_whose_reference_it_is(tmp_path):
    data = world()
    images = read_images(brought.folder(tmp_path / "x", ["i9.png", "i4.jpg", "i7.webp"]), data)
    assert images.item.tolist() == [4, 7, 9]  # by name
    assert (images.user == ANY).all()
    user, item, which = images.pairs(data)
    assert user.tolist() == [0, 2, 1]
    assert item.tolist() == [4, 4, 9]
    assert which.tolist() == [0, 0, 2]  # one picture for both users; i7 is nobody's reference
    user, item, which = images.pairs(data, ["u3", "u1"])
    assert sorted(zip(user.tolist(), item.tolist(), strict=True)) == [
        (u, i) for u in (1, 3) for i in (4, 7, 9)
    ]
    assert (images.item[which] == item).all()


def test_a_users_image_is_asked_of_that_user_alone_whatever_the_item(tmp_path):
    data = world()
    images = read_images(brought.folder(tmp_path / "x", ["u1/i4.png", "u3/i2.png", "i0.png"]), data)
    triples = {tuple(t) for t in np.stack(images.pairs(data)[:2], axis=1).tolist()}
    assert triples == {(1, 4), (3, 2), (3, 0)}
    assert images.find(np.array([1, 2, 3, 3]), np.array([4, 4, 2, 0])).tolist() == [1, -1, 2, 0]


@pytest.mark.parametrize("name", ["12/3/i4.png", "12%2F3/i4.png"])
def test_a_user_id_with_a_slash_is_nested_folders_or_escaped(tmp_path, name):
    data = world(["12/3", "12/4", "5/0", "5/1"])
    for images in (
        read_images(brought.folder(tmp_path / "x", [name]), data),
        read_images(brought.tar(tmp_path / "x.tar", [name]), data),
        read_images(brought.tar(tmp_path / "y.tar", ["pack/" + name]), data),
    ):
        assert (images.user.tolist(), images.item.tolist()) == ([0], [4])


def test_one_folder_around_a_tar_is_left_out_with_a_note(tmp_path):
    data = world()
    images = read_images(brought.tar(tmp_path / "x.tar", ["posters/i4.png", "posters/i9.png"]), data)
    assert images.item.tolist() == [4, 9]
    assert (images.user == ANY).all()
    assert "'posters'" in images.notes[0]
    with pytest.raises(DataError, match="unknown user 'posters'"):  # in a folder it is a user
        read_images(brought.folder(tmp_path / "x", ["posters/i4.png"]), data)
    with pytest.raises(DataError, match="unknown user 'more'"):
        read_images(brought.tar(tmp_path / "y.tar", ["more/i4.png", "u1/i9.png"]), data)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["i4.png", "i99.png"], r"i99.png: unknown item 'i99'; the data has 10, such as 'i0'.*<item id>.png"),
        (["u9/i4.png"], r"u9/i4.png: unknown user 'u9'; the data has 4, such as 'u0'"),
        (["i4.png", "i4.jpg"], r"i4.png: one picture for item 'i4' is wanted, .*i4.jpg is another"),
        (["u1/i4.png", "u1/i4.jpg"], r"one picture for item 'u1/i4' is wanted"),
        ([], r"images \(.*png.*\) are wanted, got none"),
        (["readme.txt"], r"images \(.*png.*\) are wanted, got none"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, names, told):
    with pytest.raises(DataError, match=told):
        read_images(brought.folder(tmp_path / "x", names), world())


def test_where_nobody_is_asked_it_is_told(tmp_path):
    images = read_images(brought.folder(tmp_path / "x", ["i7.png"]), world())
    with pytest.raises(DataError, match="none of the 1 images shows an item that is a test reference"):
        images.pairs(world())
    with pytest.raises(DataError, match="unknown user 'nobody'"):
        images.pairs(world(), ["nobody"])


def test_no_folder_and_names_that_lead_out_are_told(tmp_path):
    with pytest.raises(DataError, match="a folder or tar of pictures is wanted, got nothing"):
        read_images(tmp_path / "nothing", world())
    with pytest.raises(DataError, match="its name leads out of the archive"):
        read_images(brought.tar(tmp_path / "x.tar", ["../i4.png"]), world())
    folder = brought.folder(tmp_path / "x", ["i9.png"])
    (tmp_path / "secret.png").write_bytes(brought.picture(0))
    (folder / "i4.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="link out of its folder"):
        read_images(folder, world())
