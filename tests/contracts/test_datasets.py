"""The dataset contract, for every dataset that can be opened without a download."""

import functools
import json
import pickle

import numpy as np
import pytest
import toy_shop
from PIL import Image

from recsim_gen.datasets.opening import open_data
from recsim_gen.testing.dataset_contract import DatasetContract


@functools.cache
def opened(spec: str, **settings):
    return open_data(spec, **settings)


class TestBoutique(DatasetContract):
    def make(self):
        return opened("boutique")


@pytest.mark.recbole
class TestMl100k(DatasetContract):
    def make(self):
        return opened("ml-100k")


class TestMovieLens(DatasetContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
        self.folder = tmp_path / "ml"
        (self.folder / "posters").mkdir(parents=True)
        films = [f'{m},"Film, The {m} (1999)",Drama|War' for m in range(1, 31)]
        ratings = [f"{u},{m},4.5,{1000 * u + (m * 7) % 30}" for u in (1, 2, 10) for m in range(1, 25)]
        (self.folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]))
        (self.folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *ratings]))
        for m in range(1, 28):
            Image.new("RGB", (8, 12), (m, 2 * m, 3 * m)).save(self.folder / "posters" / f"{m}.png")

    def make(self):
        return open_data(f"movielens:{self.folder}")


class Published(DatasetContract):
    """A folder in a published layout; subclasses give ``spec`` and ``write``."""

    spec = ""

    def write(self, folder):
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
        self.folder = tmp_path / "data"
        self.folder.mkdir()
        self.write(self.folder)

    def make(self):
        return open_data(f"{self.spec}:{self.folder}")


def pictures(folder, names):
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (k % 256, 2 * k % 256, 0)).save(folder / name)


class TestUnified(Published):
    spec = "unified"

    def write(self, folder):
        pictures(folder, [f"40K/i{i}.png" for i in range(30)])

        def item(i):
            return {"item_id": f"i{i}", "caption": f"a boat {i}", "image_path": f"40K/i{i}.png", "score": 4}

        def record(worker, start):
            history = [item(i) for i in range(start, start + 3)]
            ids = {"history_item_ids": [i["item_id"] for i in history], "target_item_id": f"i{start + 3}"}
            return ids | {
                "worker_id": worker,
                "history_items_info": history,
                "target_item_info": item(start + 3),
                "window_position": start,
            }

        for name, worker in (("train", "a"), ("val", "b"), ("test", "c")):
            records = [record(f"{worker}{k}", start) for k in range(2) for start in range(12)]
            (folder / f"{name}.json").write_text(json.dumps(records))


class TestPog(Published):
    spec = "pog"

    def write(self, folder):
        pictures(folder, [f"images/{i:02d}.jpg" for i in range(40)])
        users = [f"u{u},{';'.join(f'{(u + 3 * k) % 40:02d}' for k in range(6))},o1" for u in range(9)]
        (folder / "user_data.txt").write_text("\n".join(users))
        (folder / "item_data.txt").write_text(
            "\n".join(f"{i:02d},1,http://x,Coat {i}, warm" for i in range(40))
        )
        (folder / "outfit_data.txt").write_text("o1,01;02")


class TestSer30k(Published):
    spec = "ser30k"

    def write(self, folder):
        topics = [(f"0{t}-topic", f"{k}.png") for t in range(6) for k in range(6)]
        pictures(folder, [f"Images/{t}/{name}" for t, name in topics])
        place = folder / "Annotations" / "image-level"
        place.mkdir(parents=True)
        entries = [{"topic": t, "file_name": name, "anno": 1, "text": ""} for t, name in topics]
        (place / "train.json").write_text(json.dumps({"annotations": entries}))


class TestFlickrAes(Published):
    spec = "flickr-aes"

    def write(self, folder):
        pictures(folder, [f"40K/p{i}.jpg" for i in range(30)])
        rows = [f"W{w}, p{i}.jpg, {3 + i % 3}" for w in range(4) for i in range(25)]
        ratings = "\n".join(["worker, imagePair, score", *rows])
        (folder / "FLICKR-AES_image_labeled_by_each_worker.csv").write_text(ratings)
        (folder / "FLICKR-AES_image_score.txt").write_text("\n".join(f"p{i}.jpg 0.5" for i in range(30)))


class TestGallery(Published):
    spec = "gallery"

    def write(self, folder):
        pictures(folder, [f"cats/cat{c}/{k}.png" for c in range(5) for k in range(5)])


class TestPmgMovieposter(Published):
    spec = "pmg-movieposter"

    def write(self, folder):
        films = [f'{m},"Film, The {m}",Drama|War' for m in range(1, 31)]
        rated = [f"{u},{m},4.5,{1000 * u + (m * 7) % 30}" for u in (1, 2, 10) for m in range(1, 25)]
        (folder / "info.csv").write_text("\n".join(["id,name,genre", *films]))
        (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rated]))
        captions = {m: ["red", "dark"] if m % 2 else "a ship" for m in range(1, 28)}
        images = {m: np.full((8, 6, 3), m, dtype=np.uint8) for m in range(1, 27)}
        for name in ("target_captions", "style_captions"):
            (folder / f"{name}.pkl").write_bytes(pickle.dumps(captions))
        (folder / "image_data.pkl").write_bytes(pickle.dumps(images))
        (folder / "my_valid_data.txt").write_text("1;2;30,3\n1;2;30,4\n5;6;7,8")


class TestPmgPog(Published):
    spec = "pmg-pog"

    def write(self, folder):
        names = [f"{i:02d}" for i in range(40)]
        pictures(folder, [f"images/{name}.png" for name in names[:35]])
        users = [f"u{u},{';'.join(names[(u + 3 * k) % 40] for k in range(6))},o1" for u in range(9)]
        items = [f'{name},c1,"Coat, warm",' for name in names]
        (folder / "item_data.csv").write_text("\n".join(["item_id,cate_id,title,desc", *items]))
        (folder / "outfit_data.csv").write_text("outfit_id,item_ids\no1,01;02")
        (folder / "user_data.csv").write_text("\n".join(["user_id,item_history,outfit_history", *users]))
        (folder / "captions.json").write_text(json.dumps(dict.fromkeys(names[:30], "a coat")))


class TestPmgSer30k(Published):
    spec = "pmg-ser30k"

    def write(self, folder):
        topics = [(f"0{t}-topic", f"{k}.png") for t in range(6) for k in range(6)]
        pictures(folder, [f"images/{t}/{name}" for t, name in topics])
        (folder / "annotations").mkdir()
        entries = [{"topic": t, "file_name": name, "anno": 1, "text": ""} for t, name in topics]
        (folder / "annotations" / "train.json").write_text(json.dumps({"annotations": entries}))
        (folder / "captions.json").write_text(json.dumps({f"{t}/{n}": "a cat" for t, n in topics}))


class TestCsv(Published):
    spec = "csv"

    def write(self, folder):
        folder.rmdir()
        toy_shop.as_csv(folder)


class TestCsvOfIdsAlone(Published):
    spec = "csv"

    def write(self, folder):
        toy_shop.write_table(folder / "items.csv", [{"id": row["id"]} for row in toy_shop.items()])
        pairs = [{"user": row["user"], "item": row["item"]} for row in toy_shop.log()]
        toy_shop.write_table(folder / "interactions.csv", pairs)


class TestRecbole(Published):
    spec = "recbole"

    def write(self, folder):
        folder.rmdir()
        toy_shop.as_recbole(folder)


class TestParquet(Published):
    spec = "hf"

    def write(self, folder):
        folder.rmdir()
        toy_shop.as_parquet(folder)
