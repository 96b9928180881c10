"""Captions of a catalogue: each picture is asked about once, whatever happens; files that hold them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.store import cache_dir
from recsim_gen.core.types import Episode
from recsim_gen.datasets.files.caption_files import read_captions, with_captions, write_captions
from recsim_gen.datasets.opening import open_data
from recsim_gen.models.captioning import caption_images, history_styles
from recsim_gen.models.family import open_family
from recsim_gen.testing import tiny_models

SMALL = {"n_items": 80, "n_users": 12}
AWKWARD = 'striped, "blue"\u2028 夏; shirt'


@pytest.fixture(scope="module", params=["blip2", "qwen"])
def captioner(request, tmp_path_factory):
    """A tiny model of either class; counts what it is asked."""
    folder = getattr(tiny_models, f"save_{request.param}")(tmp_path_factory.mktemp("model"))
    return open_family("paper").with_models(captioner=str(folder)).captioner(torch_dtype=torch.float32)


class Watched:
    """A captioner that counts the pictures it is asked about, and is killed after some batches."""

    def __init__(self, captioner, batches: int = 10**9):
        self.captioner, self.left, self.asked = captioner, batches, 0
        self.fingerprint = captioner.fingerprint

    def caption(self, images, prompt, **options):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        self.asked += len(images)
        return self.captioner.caption(images, prompt, **options)


class SomePictures:
    """The first ``n`` pictures of another reader; ``without`` have none, ``twin`` looks as another."""

    def __init__(self, images, n, without=(), twin=None):
        self.images, self.twin = images, twin or {}
        self.present = ~np.isin(np.arange(n), without)

    def read(self, row):
        return self.images.read(self.twin.get(row, row))


@pytest.fixture
def shop(apart):
    return open_data("boutique", **SMALL)


def test_a_killed_run_goes_on_where_it_was(captioner, shop, monkeypatch, tmp_path):
    images = SomePictures(shop.catalog.images, 20, without=[3])
    how = {"max_tokens": 6, "batch_size": 4}
    killed = Watched(captioner, batches=2)
    with pytest.raises(KeyboardInterrupt):
        caption_images(images, killed, "What?", **how)
    (kept,) = (cache_dir() / "captions").rglob("*.jsonl")
    with kept.open("a") as f:
        f.write('{"cut off": "in the mid')  # as a kill in the midst of writing leaves it
    again = Watched(captioner)
    captions = caption_images(images, again, "What?", **how)
    assert (killed.asked, again.asked) == (8, 11)
    third = Watched(captioner)
    assert caption_images(images, third, "What?", **how) == captions
    assert third.asked == 0
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "other"))
    assert caption_images(images, captioner, "What?", max_tokens=6, batch_size=7) == captions  # undisturbed
    assert list(captions) == [r for r in range(20) if r != 3]


def test_only_new_pictures_are_asked_about(captioner, shop):
    images = shop.catalog.images
    first = Watched(captioner)
    before = caption_images(SomePictures(images, 6), first, "What?", max_tokens=4)
    grown = Watched(captioner)
    after = caption_images(SomePictures(images, 9, twin={8: 1}), grown, "What?", max_tokens=4)
    assert (first.asked, grown.asked) == (6, 2)
    assert {row: after[row] for row in before} == before
    assert after[8] == after[1]
    other = Watched(captioner)
    caption_images(SomePictures(images, 6), other, "Which style?", max_tokens=4)
    caption_images(SomePictures(images, 6), other, "What?", max_tokens=5)
    assert other.asked == 12


def test_a_history_tells_each_style_once_oldest_first():
    episodes = [Episode("a", 0, "0", (4, 2, 4, 1, 3), 9), Episode("b", 1, "1", (7,), 9)]
    assert history_styles(episodes, {1: "dark", 2: "bright", 3: "bright", 4: "dark red"}) == {
        "a": "dark red; bright; dark",
        "b": "",
    }


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_files_give_back_what_was_written(suffix, tmp_path):
    captions = {
        "target": {"007": AWKWARD, "7": ""},
        "style": {"7": "dark"},
        "history": {"u/1#0": "dark; red"},
    }
    write_captions(tmp_path / f"c{suffix}", captions)
    assert read_captions(tmp_path / f"c{suffix}") == captions


def test_data_is_opened_with_captions(shop, tmp_path):
    ids = shop.catalog.item_ids.tolist()
    write_captions(tmp_path / "c.csv", {"target": {ids[2]: AWKWARD, ids[5]: " "}, "style": {ids[0]: "dark"}})
    data = open_data("boutique", captions=str(tmp_path / "c.csv"), **SMALL)
    expected = shop.catalog.captions.astype(object)
    expected[2] = AWKWARD
    assert data.catalog.captions.tolist() == expected.tolist()
    assert data.fingerprint != shop.fingerprint
    assert type(data) is type(shop)  # Boutique keeps what it knows of tastes
    assert data.notes[-1] == "captions of 1 of 80 items from c.csv"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "c.csv",
            "kind,id,caption\ntarget,1,a\ntarget,1,b\n",
            "(kind, id) = ('target', '1') stands a second",
        ),
        (
            "c.csv",
            "kind,id,caption\ntraget,1,a\n",
            "kind must be one of target, style, history, got 'traget'",
        ),
        ("c.csv", "kind,item,caption\ntarget,1,a\n", "'id' is missing"),
        ("c.json", '{"target": {"1": "a", "1": "b"}}', "the key '1' stands twice"),
        ("c.json", '{"target": ["a"]}', "an object is wanted"),
        ("c.json", '{"target": {"1": 3}}', "1 must be text, got 3"),
        ("c.json", '{"target": {"nobody": "a"}}', "item 'nobody' is not in boutique"),
    ],
)
def test_a_wrong_file_is_told(name, text, message, shop, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        with_captions(shop, tmp_path / name)
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_of_another_kind_is_told(tmp_path):
    with pytest.raises(SettingError, match=r"FILE.csv or FILE.json, got 'c.txt'"):
        write_captions("c.txt", {})
