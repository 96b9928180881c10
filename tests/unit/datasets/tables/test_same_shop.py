"""One shop in every kind of files is one shop: same content, same numbers."""

from __future__ import annotations

import pytest
import toy_shop

from recsim_gen.artifacts.trained_rankers import trained_ranker
from recsim_gen.datasets.opening import open_data
from recsim_gen.datasets.tables.csv_writer import write_csv
from recsim_gen.encoders.features import encode

WRITERS = {
    "recbole": toy_shop.as_recbole,
    "hf": toy_shop.as_parquet,
    "hf saved": toy_shop.as_saved,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def shop(tmp_path):
    return toy_shop.as_csv(tmp_path / "csv" / "shop")


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_same_content(layout, shop, tmp_path):
    folder = WRITERS[layout](tmp_path / layout / "shop")
    assert open_data(f"{layout.split()[0]}:{folder}").fingerprint == open_data(f"csv:{shop}").fingerprint


def test_every_layout_gives_the_same_numbers(shop, tmp_path):
    specs = [
        f"csv:{shop}",
        *(f"{k.split()[0]}:{write(tmp_path / k / 'shop')}" for k, write in WRITERS.items()),
    ]
    scores = []
    for spec in specs:
        data = open_data(spec)
        catalog = encode(data, {"image": "pixels", "text": "words"}, device="cpu")
        ranker = trained_ranker("taste", catalog, data.interactions, seed=0)
        scores.append(ranker.score([episode.user for episode in data.episodes]))
    assert scores[0].std() > 0
    for other in scores[1:]:
        assert (other == scores[0]).all()


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_an_archive_of_the_pictures_is_the_folder(suffix, shop, tmp_path):
    packed = toy_shop.packed(toy_shop.as_csv(tmp_path / "packed"), suffix)
    assert open_data(f"csv:{packed}").fingerprint == open_data(f"csv:{shop}").fingerprint


def test_pictures_in_several_stores_are_joined(shop, tmp_path):
    whole = open_data(f"csv:{shop}").fingerprint
    files = sorted((shop / "images").iterdir())
    (shop / "images_2").mkdir()
    for file in files[::2]:
        file.rename(shop / "images_2" / file.name)
    assert open_data(f"csv:{shop}").fingerprint == whole


def test_a_table_written_by_a_spreadsheet_is_the_same(shop):
    whole = open_data(f"csv:{shop}").fingerprint
    for name, rows in (("items", toy_shop.items()), ("interactions", toy_shop.log())):
        file = toy_shop.write_table(shop / f"{name}.csv", rows, separator=";")
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert open_data(f"csv:{shop}").fingerprint == whole


def test_what_is_written_as_csv_is_read_back(tmp_path):
    boutique = open_data("boutique", n_items=90, n_users=20, split="by-ratio")
    assert write_csv(boutique, tmp_path / "shop") == ()
    again = open_data(f"csv:{tmp_path / 'shop'}")
    assert again.interactions.fingerprint == boutique.interactions.fingerprint
    assert [e.reference for e in again.episodes] == [e.reference for e in boutique.episodes]
    for texts in ("item_ids", "titles", "captions", "categories"):
        assert (getattr(again.catalog, texts) == getattr(boutique.catalog, texts)).all()
    assert again.catalog.images.present.all()
