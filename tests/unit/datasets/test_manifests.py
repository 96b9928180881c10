"""Images that a manifest lists: whose they are is read, never guessed, and what does not fit is refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import brought
import numpy as np
import pytest

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Dataset, Episode
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.datasets.manifests import FILE, Manifest, Provenance, read_manifest
from recsim_gen.testing import worlds


def world() -> Dataset:
    """Items i0…i4 and users u0 and u1, whose test references are i2 and i4."""
    choices = [[0, 1, 2], [3, 1, 4]]
    catalog, chosen = worlds.catalog({"image": np.eye(5)}), worlds.interactions(choices, 5)
    episodes = [Episode(f"u{u}#0", u, f"u{u}", tuple(c[:-1]), c[-1]) for u, c in enumerate(choices)]
    return Dataset("world", catalog, chosen, tuple(episodes), {"image": "pixels"})


def made(user: str, item: str) -> Provenance:
    return Provenance("sd", "f", f"{user}#0", user, item, 0, 3)


def listed(folder: Path, images: dict[str, Provenance]) -> Manifest:
    """These images of random pixels, and the manifest that lists them."""
    brought.folder(folder, list(images))
    manifest = Manifest(folder / FILE, images)
    manifest.write()
    return manifest


def test_what_is_written_is_read(tmp_path):
    manifest = listed(tmp_path, {"a.png": made("ü/1", "..")})
    assert read_manifest(tmp_path / FILE) == manifest
    assert manifest.folder == tmp_path


def test_the_manifest_says_whose_an_image_is_and_names_do_not(tmp_path):
    manifest = listed(tmp_path, {"i0.png": made("u1", "i4"), "u1/i4.png": made("u0", "i2")})
    for images in (read_images(tmp_path, world()), read_images(manifest, world())):
        assert images.user.tolist() == [1, 0]
        assert images.item.tolist() == [4, 2]
        assert not images.notes
    assert images.reader.read(0).size == (16, 16)


def test_an_image_that_is_not_listed_is_refused(tmp_path):
    listed(tmp_path, {"u0/i2.png": made("u0", "i2")})
    brought.folder(tmp_path, ["u1/i4.png"])
    with pytest.raises(DataError, match=r"i4\.png: one of the 1 images that manifest\.json lists is wanted"):
        read_images(tmp_path, world())
    (tmp_path / FILE).unlink()
    assert len(read_images(tmp_path, world())) == 2


def test_images_that_were_taken_away_are_told(tmp_path):
    manifest = listed(tmp_path, {"u0/i2.png": made("u0", "i2"), "u1/i4.png": made("u1", "i4")})
    (tmp_path / "u0" / "i2.png").unlink()
    for images in (read_images(tmp_path, world()), read_images(manifest, world())):
        assert images.item.tolist() == [4]
        assert images.notes == ("1 of 2 images that were generated are not there",)
    (tmp_path / "u1" / "i4.png").unlink()
    for place in (tmp_path, manifest):
        with pytest.raises(DataError, match="are wanted"):
            read_images(place, world())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"user": "u9"}, "unknown user 'u9'"),
        ({"item": "i9"}, "unknown item 'i9'"),
    ],
)
def test_ids_of_other_data_are_told(tmp_path, wrong, message):
    listed(tmp_path, {"u0/i2.png": replace(made("u0", "i2"), **wrong)})
    with pytest.raises(DataError, match=message):
        read_images(tmp_path, world())


def test_two_images_of_one_user_and_item_are_told(tmp_path):
    listed(tmp_path, {"a.png": made("u0", "i2"), "b.png": made("u0", "i2")})
    with pytest.raises(DataError, match="one picture for item 'u0/i2' is wanted"):
        read_images(tmp_path, world())


@pytest.mark.parametrize("name", ["/etc/x.png", "../x.png", "u0/../../x.png"])
def test_a_list_cannot_name_what_is_outside(tmp_path, name):
    listed(tmp_path, {"x.png": made("u0", "i2")})
    content = (tmp_path / FILE).read_text().replace("x.png", name)
    (tmp_path / FILE).write_text(content)
    with pytest.raises(DataError, match="is not inside its folder"):
        read_images(tmp_path, world())


def test_a_folder_that_is_a_link_is_not_entered(tmp_path):
    brought.folder(tmp_path / "secret", ["x.png"])
    listed(tmp_path / "images", {"u0/i2.png": made("u0", "i2")})
    os.symlink(tmp_path / "secret", tmp_path / "images" / "u1")
    content = {"u0/i2.png": made("u0", "i2"), "u1/x.png": made("u1", "i4")}
    Manifest(tmp_path / "images" / FILE, content).write()
    assert read_images(tmp_path / "images", world()).item.tolist() == [2]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format": 2, "images": []}',
        '{"format": 1, "images": [{"file": "a.png"}]}',
        '{"format": 1, "images": 3}',
    ],
)
def test_what_is_no_manifest_is_told(tmp_path, content):
    brought.folder(tmp_path, ["a.png"])
    (tmp_path / FILE).write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json: a list of generated images is wanted.*Delete it"):
        read_images(tmp_path, world())


def test_values_of_the_wrong_type_are_told(tmp_path):
    manifest = listed(tmp_path, {"a.png": made("u0", "i2")})
    content = json.loads(manifest.path.read_text())
    content["images"][0]["seed"] = "0"
    manifest.path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"seed of 'a\.png' is '0'"):
        read_manifest(manifest.path)
