"""Copies are found whatever their bytes and size, and what was drawn anew is none."""

from __future__ import annotations

import io

import brought
import numpy as np
import pytest
from PIL import Image

from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.boutique import world as boutique
from recsim_gen.metrics.copies import CopyFinder, Thumbnails


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        shop = boutique.load(n_items=150, n_users=12)
        yield shop, CopyFinder.of(shop.catalog.images)


def as_jpeg(picture: Image.Image, quality: int = 85) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(
    "changed",
    [lambda p: p, as_jpeg, lambda p: p.resize((128, 128)), lambda p: p.resize((50, 50))],
    ids=["the same", "jpeg", "larger", "smaller"],
)
def test_every_copy_is_found_and_whose_it_is(shop, changed):
    world, finder = shop
    rows = np.arange(0, 150, 3)
    pictures = [changed(world.catalog.images.read(row)) for row in rows.tolist()]
    x = Thumbnails().encode_images(pictures)
    own = finder.find(x, rows)
    assert own.count == len(rows)
    assert own.own.all()
    others = finder.find(x, np.roll(rows, 1))  # shown as another item
    assert (others.row == rows).all()
    assert not others.own.any()


def test_the_same_looks_drawn_again_are_no_copies(shop):
    """The oracle's ceiling of likeness: same category, colours and pattern, another drawing."""
    from generators.shop import drawn, known_world

    dataset, finder = shop
    world = known_world(dataset.catalog)
    rows = range(0, 150, 2)
    pixels = [drawn(world.attributes(row), Rng(1).for_(row)).permute(1, 2, 0).numpy() for row in rows]
    again = [Image.fromarray(np.rint(255 * x).astype(np.uint8)) for x in pixels]
    assert finder.find(Thumbnails().encode_images(again), np.array(rows)).count <= 1
    assert finder.alike < 0.02
    assert 0 < finder.limit < 0.05


def test_an_item_without_picture_has_no_copy_of_its_own(shop, tmp_path):
    world, _ = shop
    ids = world.catalog.item_ids[:6]
    for row in (0, 2, 5):
        world.catalog.images.read(row).save(tmp_path / f"{ids[row]}.png")
    from recsim_gen.datasets.files.images import open_images

    finder = CopyFinder.of(open_images(tmp_path, ids))
    x = Thumbnails().encode_images([world.catalog.images.read(row) for row in (0, 2, 5, 3)])
    assert finder.find(x, np.array([1, 2, 4, 3])).row.tolist() == [0, 2, 5, -1]
    assert finder.find(x, np.array([1, 2, 4, 3])).own.tolist() == [False, True, False, False]
    brought.folder(tmp_path / "one", ["x.png"])
    assert CopyFinder.of(open_images(tmp_path / "one", np.array(["x"]))) is None


def test_copies_inside_form_groups(shop, tmp_path):
    world, _ = shop
    from recsim_gen.datasets.files.images import open_images

    read = world.catalog.images.read
    for name, picture in {
        "a": read(0),
        "b": as_jpeg(read(0)),
        "c": read(1),
        "d": read(2),
        "e": read(1),
    }.items():
        picture.save(tmp_path / f"{name}.png")
    group = CopyFinder.of(open_images(tmp_path, np.array(list("abcde")))).groups()
    assert group[0] == group[1]
    assert group[2] == group[4]
    assert len(set(group.tolist())) == 3
