"""Features of a catalogue: complete, kept by content, resumed after a kill."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Catalog, Dataset, Interactions
from recsim_gen.core.vectors import MappedRows
from recsim_gen.encoders import features
from recsim_gen.encoders.features import encode, without_image

HERE = __name__


class Pictures:
    """Pictures of one colour each; ``absent`` rows have none."""

    def __init__(self, values, absent=()):
        self.values, self.reads = list(values), []
        self.present = ~np.isin(np.arange(len(self.values)), absent)

    @property
    def fingerprint(self):
        return fingerprint(self.values, self.present)

    def read(self, row):
        assert self.present[row]
        self.reads.append(row)
        return Image.new("RGB", (8, 8), (self.values[row], 10, 10))


class Counting:
    """An encoder that notes what it was asked, and can be killed."""

    fingerprint = "counting"
    seen: ClassVar[list] = []
    dies_after: ClassVar[float] = np.inf

    def __init__(self, device="cpu"):
        pass

    def _noted(self, values):
        if len(Counting.seen) >= Counting.dies_after:
            raise KeyboardInterrupt
        Counting.seen.extend(values)
        return values

    def encode_texts(self, texts):
        self._noted(texts)
        return np.array([[len(t), ord(t[0])] for t in texts], dtype=np.float32)

    def encode_images(self, images):
        return np.array(
            [[v, v * 2] for v in self._noted([i.getpixel((0, 0))[0] for i in images])], np.float64
        )


class Broken(Counting):
    fingerprint = "broken"

    def encode_texts(self, texts):
        return np.full((len(texts), 3), np.nan, dtype=np.float32)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path))
    monkeypatch.setattr(features, "SHARD", 4)
    monkeypatch.setattr(Counting, "seen", [])
    monkeypatch.setattr(Counting, "dies_after", np.inf)
    return tmp_path


def dataset(n=10, *, absent=(), captions=None, titles=None, values=None) -> Dataset:
    names = np.array([f"item {i}" for i in range(n)])
    catalog = Catalog(
        item_ids=names,
        titles=names if titles is None else titles,
        captions=[f"{chr(97 + i)} caption" for i in range(n)] if captions is None else captions,
        categories=["x"] * n,
        images=Pictures(range(n) if values is None else values, absent),
    )
    one = np.zeros(1)
    choices = Interactions([0], [0], one, one, ["train"], ["u"], n)
    counting = f"{HERE}:Counting"
    return Dataset("tiny", catalog, choices, (), {"text": counting, "image": counting})


def test_each_row_gets_its_own_features():
    catalog = encode(dataset(), batch_size=3)
    np.testing.assert_array_equal(catalog.features["image"], [[v, 2 * v] for v in range(10)])
    np.testing.assert_array_equal(catalog.features["text"][:, 1], np.arange(97, 107))
    assert catalog.features["image"].dtype == np.float32


def test_second_run_encodes_nothing():
    data = dataset()
    first = encode(data)
    Counting.seen.clear()
    data.catalog.images.reads.clear()
    second = encode(data)
    assert Counting.seen == []
    assert data.catalog.images.reads == []
    np.testing.assert_array_equal(first.features["image"], second.features["image"])


def test_changed_content_is_encoded_anew():
    encode(dataset())
    Counting.seen.clear()
    changed = encode(dataset(captions=[*"abcdefghi", "new"], values=[*range(9), 200]))
    np.testing.assert_array_equal(changed.features["image"][9], [200, 400])
    assert changed.features["text"][9, 0] == 3


def test_text_shards_of_equal_content_are_shared():
    encode(dataset(), {"text": f"{HERE}:Counting"})
    Counting.seen.clear()
    captions = [f"{chr(97 + i)} caption" for i in range(9)] + ["changed"]
    encode(dataset(captions=captions), {"text": f"{HERE}:Counting"})
    assert Counting.seen == ["i caption", "changed"]


@pytest.mark.parametrize("modality", ["text", "image"])
def test_a_killed_run_goes_on_where_it_was(monkeypatch, modality):
    spec = {modality: f"{HERE}:Counting"}
    monkeypatch.setattr(Counting, "dies_after", 6)
    with pytest.raises(KeyboardInterrupt):
        encode(dataset(), spec, batch_size=2)
    monkeypatch.setattr(Counting, "dies_after", np.inf)
    Counting.seen.clear()
    resumed = encode(dataset(), spec, batch_size=2).features[modality]
    assert len(Counting.seen) == 6  # 10 items less the whole shard of 4
    whole = Counting()
    wanted = (
        whole.encode_texts(dataset().catalog.captions.tolist())
        if modality == "text"
        else np.array([[v, 2 * v] for v in range(10)])
    )
    np.testing.assert_array_equal(resumed, wanted)


def test_pictures_are_read_batch_by_batch(monkeypatch):
    monkeypatch.setattr(Counting, "dies_after", 0)
    data = dataset()
    with pytest.raises(KeyboardInterrupt):
        encode(data, {"image": f"{HERE}:Counting"}, batch_size=3)
    assert data.catalog.images.reads == [0, 1, 2]


def test_items_without_picture_get_the_mean_and_are_named():
    data = dataset(absent=(0, 7))
    catalog = encode(data)
    others = [1, 2, 3, 4, 5, 6, 8, 9]
    np.testing.assert_allclose(catalog.features["image"][[0, 7], 0], np.mean(others))
    np.testing.assert_array_equal(catalog.features["image"][others, 0], others)
    assert without_image(catalog) == "2 items without picture: mean image feature"
    assert without_image(dataset().catalog) is None


def test_blank_caption_falls_back_on_the_title():
    captions = ["a", " ", *"cdefghij"]
    catalog = encode(dataset(captions=captions, titles=[f"Title {i}" for i in range(10)]))
    assert catalog.features["text"][1].tolist() == [len("Title 1"), ord("T")]


def test_item_without_any_text_is_named():
    captions, titles = ["a", " ", *"cdefghij"], ["t", "", *"tttttttt"]
    with pytest.raises(DataError, match="item 'item 1' has neither caption nor title"):
        encode(dataset(captions=captions, titles=titles))


@pytest.mark.parametrize("absent", [None, range(10)], ids=["no reader", "no picture"])
def test_catalogue_without_pictures_is_refused(absent):
    data = dataset(absent=absent or ())
    if absent is None:
        data = dataclasses.replace(data, catalog=dataclasses.replace(data.catalog, images=None))
    with pytest.raises(DataError, match=r"the catalogue has none\. Leave out the modality 'image'"):
        encode(data)


def test_features_that_are_no_numbers_are_not_kept(own_cache):
    with pytest.raises(DataError, match="with NaN or infinity"):
        encode(dataset(), {"text": f"{HERE}:Broken"})
    assert [p for p in own_cache.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        ({"images": "pixels"}, "unknown modality 'images'. Did you mean 'image'"),
        ({"image": "words"}, "modality 'image' wants an encoder of images, got 'words'"),
        ({"text": "pixels"}, "modality 'text' wants an encoder of texts, got 'pixels'"),
    ],
)
def test_wrong_encoders_are_refused(encoders, message):
    with pytest.raises(SettingError, match=message):
        encode(dataset(), encoders)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batch_size_does_not_matter(batch_size, own_cache, monkeypatch):
    real = {"text": "words", "image": "pixels"}
    catalog = encode(dataset(), real, batch_size=batch_size)
    monkeypatch.setenv("RECSIM_CACHE", str(own_cache / "other"))
    wanted = encode(dataset(), real, batch_size=10)
    for modality in real:
        np.testing.assert_allclose(catalog.features[modality], wanted.features[modality], atol=1e-5)


def test_of_many_items_features_stay_in_a_file_and_are_those_in_memory():
    data = dataset(10, absent=(0, 4, 9))
    memory, mapped = encode(data, mapped_from=0), encode(data, mapped_from=10)
    Counting.seen.clear()
    assert encode(data, mapped_from=10).fingerprint == mapped.fingerprint != memory.fingerprint
    assert Counting.seen == []
    for modality, x in memory.features.items():
        assert isinstance(mapped.features[modality], MappedRows)
        np.testing.assert_allclose(mapped.features[modality][:], x, rtol=1e-3)
    assert isinstance(encode(data, mapped_from=11).features["image"], np.ndarray)
