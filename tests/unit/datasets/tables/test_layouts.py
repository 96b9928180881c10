"""What is said of a folder that was given without its layout, and of functions of the reader's own."""

from __future__ import annotations

import pytest
import toy_shop
from brought import picture

from recsim_gen.core.errors import SettingError
from recsim_gen.core.specs import DataSpec
from recsim_gen.datasets.opening import open_data


def refusal(spec, **settings):
    with pytest.raises(SettingError) as caught:
        open_data(spec, **settings)
    return str(caught.value)


def test_a_folder_alone_is_told_the_layouts_that_fit_it(tmp_path):
    shop = toy_shop.as_csv(tmp_path / "shop")
    assert refusal(str(shop)) == (
        f"data must be NAME:DIR, got a folder without a name, '{shop}'. "
        f"interactions.csv and items.csv are there: --data csv:{shop}"
    )
    recbole = toy_shop.as_recbole(tmp_path / "r" / "shop")
    assert refusal(str(recbole)).endswith(f"shop.inter is there: --data recbole:{recbole}")
    tables = toy_shop.as_parquet(tmp_path / "p")
    assert f"--data hf:{tables}" in refusal(str(tables))
    films = tmp_path / "films"
    films.mkdir()
    for name in ("movies.csv", "ratings.csv"):
        (films / name).write_text("")
    assert refusal(str(films)).endswith(f"movies.csv and ratings.csv are there: --data movielens:{films}")


def test_a_folder_of_nothing_known_is_told_what_is_in_it(tmp_path):
    folder = tmp_path / "things"
    folder.mkdir()
    assert "It is empty. Known layouts: csv:DIR, " in refusal(str(folder))
    (folder / "orders.xlsx").write_bytes(picture(0))
    (folder / "products.csv").write_text("id\n")
    assert "There is products.csv and orders.xlsx. Known layouts: csv:DIR, " in refusal(str(folder))


def load(n: int = 90) -> object:
    """Data of one's own function."""
    return open_data("boutique", n_items=n, n_users=9)


def from_folder(path: str, words: str = "") -> object:
    """Data of one's own function and folder."""
    return open_data(f"csv:{path}", words=words)


def nothing() -> object:
    """No data."""
    return 3


def test_a_function_gives_data(tmp_path):
    assert len(open_data(f"{__name__}:load").catalog) == 90
    assert len(open_data(DataSpec(f"{__name__}:load", {"n": 100})).catalog) == 100
    shop = toy_shop.as_csv(tmp_path / "shop")
    assert open_data(f"{__name__}:from_folder:{shop}").fingerprint == open_data(f"csv:{shop}").fingerprint
    assert open_data(f"{__name__}:load", split="by-user").fingerprint != load().fingerprint


def test_a_function_that_is_not_there_or_gives_something_else_is_told():
    assert "has no 'laod'" in refusal(f"{__name__}:laod")
    assert refusal(f"{__name__}:nothing") == f"data '{__name__}:nothing' must give a Dataset, got int"
    assert "needs its folder, got none" in refusal(f"{__name__}:from_folder")
    assert "unknown setting 'm'" in refusal(f"{__name__}:load", m=3)
    assert refusal("no_such_module:load").startswith(
        "unknown data 'no_such_module': there is no layout and no module of this name"
    )
