"""Atomic files: RecBole itself reads them, and what it reads is what was written."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from real_data import REAL

from recsim_gen.core.errors import SettingError
from recsim_gen.core.types import SPLITS
from recsim_gen.datasets.movielens import load
from recsim_gen.datasets.opening import open_data
from recsim_gen.datasets.recbole_writer import write_recbole


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def shop():
    made = open_data("boutique", n_items=90, n_users=15)
    titles = made.catalog.titles.astype(object)
    titles[3] = 'A "quoted"\ttitle\nof two lines'
    titles[4:8] = ['"Live from Turin (2001)', 'Say "When" (1990)', '"', "O'Hara's Inn"]
    x = np.random.default_rng(0).standard_normal((90, 5)).astype(np.float32)
    catalog = replace(made.catalog, titles=titles.astype(str), features={"image": x})
    return replace(made, catalog=catalog)


def table(folder, kind):
    return pd.read_csv(folder / f"{folder.name}.{kind}", sep="\t", dtype=str, keep_default_na=False)


def same(data, folder):
    """Rows and items of the files are those of the data."""
    chosen, catalog = data.interactions, data.catalog
    items = table(folder, "item")
    assert items["item_id:token"].tolist() == catalog.item_ids.tolist()
    assert items["caption:token_seq"].tolist() == [" ".join(c.split()) for c in catalog.captions.tolist()]
    parts = {"inter": slice(None), **{f"{s}.inter": chosen.split == s for s in SPLITS}}
    for kind, rows in parts.items():
        written = table(folder, kind)
        assert written["user_id:token"].tolist() == chosen.user_ids[chosen.user][rows].tolist()
        assert written["item_id:token"].tolist() == catalog.item_ids[chosen.item][rows].tolist()
        assert written["rating:float"].astype(float).tolist() == chosen.weight[rows].tolist()
        assert written["timestamp:float"].astype(float).tolist() == chosen.time[rows].tolist()


def test_what_is_written_is_read_back(shop, tmp_path):
    write_recbole(shop, tmp_path / "shop")
    same(shop, tmp_path / "shop")
    assert table(tmp_path / "shop", "item")["title:token_seq"][3] == 'A "quoted" title of two lines'
    x = np.load(tmp_path / "shop" / "shop.image.npy", allow_pickle=False)
    assert (x == shop.catalog.features["image"]).all()
    assert (
        "shop.image.npy (90, 5): row k is item k of the item file."
        in (tmp_path / "shop/README.md").read_text()
    )


@pytest.mark.recbole
def test_recbole_reads_it_with_the_same_split(shop, tmp_path):
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation

    from rankers.recbole.guard import guarded

    write_recbole(shop, tmp_path / "shop")
    settings = {
        "data_path": str(tmp_path),
        "benchmark_filename": list(SPLITS),
        "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id", "title"]},
        "eval_args": {"group_by": "user", "order": "RO", "mode": "full"},
        "checkpoint_dir": str(tmp_path / "saved"),
        "use_gpu": False,
        "show_progress": False,
    }
    with guarded(0):
        config = Config(model="BPR", dataset="shop", config_dict=settings)
        dataset = create_dataset(config)
        train, valid, test = data_preparation(config, dataset)
    chosen = shop.interactions
    for split, loader in zip(SPLITS, (train, valid, test), strict=True):
        assert len(loader._dataset) == (chosen.split == split).sum()
    read = dataset.inter_feat
    users = dataset.id2token("user_id", read["user_id"].numpy())
    items = dataset.id2token("item_id", read["item_id"].numpy())
    assert len(dataset.item_feat) == 1 + len(shop.catalog)  # with its row of padding
    row = dataset.token2id("item_id", shop.catalog.item_ids[3:8])
    words = [dataset.id2token("title", dataset.item_feat["title"][k].numpy()) for k in row]
    read_titles = [" ".join(word for word in title if word != "[PAD]") for title in words]
    assert read_titles == [" ".join(title.split()) for title in shop.catalog.titles[3:8].tolist()]
    assert set(zip(users, items, strict=True)) == set(
        zip(chosen.user_ids[chosen.user], shop.catalog.item_ids[chosen.item], strict=True)
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [("a\tb", "an id must hold no tab or line break, got"), ("NA", "RecBole reads the id 'NA' as missing")],
)
def test_an_id_that_recbole_would_not_read_leaves_nothing(shop, tmp_path, name, told):
    ids = shop.catalog.item_ids.astype(object)
    ids[5] = name
    broken = replace(shop, catalog=replace(shop.catalog, item_ids=ids.astype(str)))
    with pytest.raises(SettingError, match=told):
        write_recbole(broken, tmp_path / "shop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_movielens_goes_through(tmp_path):
    if not (REAL / "movielens").is_dir():
        pytest.skip(f"no real data at {REAL} (RECSIM_REAL_DATA)")
    data = load(REAL / "movielens")
    write_recbole(data, tmp_path / "ml")
    same(data, tmp_path / "ml")
