"""Which episodes are drawn for, and files of generated pictures."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from recsim_gen.artifacts.drawn_images import (
    list_in_manifests,
    missing,
    place_of,
    provenances,
    read_provenance,
    sweep,
    write_image,
)
from recsim_gen.artifacts.trained_generators import chosen_episodes, generator_name
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import Catalog, Dataset, Episode, Interactions
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.datasets.manifests import Provenance, read_manifest

USERS = ["12/3", "..", "a b", "ü%2F"]
ITEMS = ["x.y", "../z", "%", "i0", "i1"]


def world(present: list[bool] | None = None, copies: int = 1) -> Dataset:
    """Four users with awkward names, each with one test item (rows 0 to 3) and a history of row 4."""
    images = None
    if present is not None:
        images = SimpleNamespace(present=np.array(present), read=None, fingerprint="f")
    user, item = np.repeat(range(4), 2), np.array([k for u in range(4) for k in (4, u)])
    split = np.tile(["train", "test"], 4)
    chosen = Interactions(user, item, np.zeros(8), np.ones(8), split, USERS, 5)
    episodes = tuple(Episode(f"{u}#{k}", u, USERS[u], (4,), u) for k in range(copies) for u in range(4))
    return Dataset("w", Catalog(ITEMS, ITEMS, ITEMS, ITEMS, images), chosen, episodes, {})


GENERATOR = SimpleNamespace(name="g", fingerprint="f0")
BLACK = np.zeros((3, 4, 4), dtype=np.float32)


def test_fewer_episodes_are_among_more_and_keep_their_order():
    episodes = [Episode(str(k), 0, USERS[0], (1,), 2) for k in range(50)]
    dataset = replace(world(), episodes=tuple(episodes))
    few, more = (chosen_episodes(dataset, count)[0] for count in (5, 20))
    assert len(few) == 5
    assert set(few) < set(more) < set(episodes)
    assert list(more) == [e for e in episodes if e in more]
    assert more != tuple(episodes[:20])
    assert chosen_episodes(dataset)[0] == chosen_episodes(dataset, 99)[0] == tuple(episodes)
    with pytest.raises(SettingError, match=r"0 \(all\) or more, got -1"):
        chosen_episodes(dataset, -1)


def test_references_without_picture_are_left_out_and_counted():
    episodes, lacking = chosen_episodes(world([True, False, True, False, True]))
    assert [e.reference for e in episodes] == [0, 2]
    assert lacking == 2
    assert chosen_episodes(world(None))[1] == 0
    assert chosen_episodes(world([False] * 5))[1] == 0


def test_any_id_makes_a_file_that_judge_finds_again(tmp_path):
    dataset = world()
    planned = provenances(dataset, dataset.episodes, GENERATOR, n=1, stream=0)
    for made in planned:
        path = write_image(tmp_path / place_of(made), BLACK, made)
        assert tmp_path in path.resolve().parents
        assert read_provenance(path) == made
    named = read_images(tmp_path / "seed0", dataset)  # as where somebody else made them
    assert sorted(zip(named.user.tolist(), named.item.tolist(), strict=True)) == [(k, k) for k in range(4)]
    list_in_manifests(tmp_path)
    listed = read_images(tmp_path / "seed0", dataset)
    assert (listed.user == named.user).all()
    assert (listed.item == named.item).all()
    assert listed.reader.fingerprint == named.reader.fingerprint


def test_a_manifest_says_of_each_image_what_it_was_made_from(tmp_path):
    dataset = world()
    planned = provenances(dataset, dataset.episodes, GENERATOR, n=2, stream=7)
    for made in planned:
        write_image(tmp_path / place_of(made), BLACK, made)
    list_in_manifests(tmp_path)
    for seed in (0, 1):
        manifest = read_manifest(tmp_path / f"seed{seed}" / "manifest.json")
        of_seed = {made for made in planned if made.seed == seed}
        assert set(manifest.images.values()) == of_seed
        for file, made in manifest.images.items():
            assert read_provenance(manifest.folder / file) == made
    assert json.loads((tmp_path / "seed1" / "manifest.json").read_text())["images"][0] == {
        "file": "%2E%2E/%2E%2E%2Fz.png",
        "generator": "g",
        "fingerprint": "f0",
        "episode": "1#0",
        "user": "..",
        "item": "../z",
        "seed": 1,
        "stream": 7,
    }


def test_pixels_are_rounded_and_bytes_depend_on_nothing_else(tmp_path):
    pixels = np.random.default_rng(0).random((3, 5, 7)).astype(np.float32)
    made = Provenance("g", "f", "ä#0", "u", "i", 0, 7)
    one, other = (write_image(tmp_path / name, pixels, made) for name in ("a.png", "b.png"))
    assert one.read_bytes() == other.read_bytes()
    with Image.open(one) as image:
        assert image.size == (7, 5)
        assert np.abs(np.asarray(image) / 255 - pixels.transpose(1, 2, 0)).max() <= 0.5 / 255 + 1e-6


def test_what_is_there_is_not_wanted_again(tmp_path):
    dataset = world()
    wanted = provenances(dataset, dataset.episodes, GENERATOR, n=2, stream=0)
    assert len(wanted) == 8
    first, *rest = wanted
    folder = tmp_path / "pictures"
    there = write_image(folder / place_of(first), BLACK, first)
    todo = missing(folder, wanted)
    assert [made for files in todo.values() for made in files.values()] == rest
    assert all(path == folder / place_of(made) for files in todo.values() for path, made in files.items())
    others = [replace(first, fingerprint="f1"), replace(first, stream=1), replace(first, generator="h")]
    for other in (*others, replace(first, item="i0")):
        write_image(there, BLACK, other)
        with pytest.raises(DataError, match=r"made by (g|h) with other settings or data"):
            missing(folder, wanted)
    there.write_bytes(b"no picture")
    with pytest.raises(DataError, match="made by another program"):
        missing(folder, wanted)


def test_a_user_with_a_reference_twice_is_told():
    dataset = world(copies=2)
    with pytest.raises(DataError, match="episodes 0#0 and 0#1 have one user and one reference"):
        provenances(dataset, dataset.episodes, GENERATOR, n=1, stream=0)


def test_only_half_written_files_are_swept(tmp_path):
    made = Provenance("g", "f", "e", "u", "i", 0, 0)
    whole = write_image(tmp_path / place_of(made), BLACK, made)
    (whole.parent / ".i.png.12345678.part").write_bytes(b"half")
    sweep(tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [whole]


def test_a_checkpoint_cannot_choose_what_is_imported(tmp_path):
    (tmp_path / "config.json").write_text('{"generator": "os:system"}')
    with pytest.raises(DataError, match="unknown generator 'os:system'"):
        generator_name(tmp_path)
