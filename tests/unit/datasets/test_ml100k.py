"""ml-100k as RecBole ships it."""

import subprocess
import sys

import pytest

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.ml100k import load


@pytest.fixture(scope="module")
def data():
    return load()


@pytest.mark.recbole
def test_the_published_numbers(data):
    assert (len(data.interactions), len(data.catalog)) == (100_000, 1_682)
    people = {name.partition("/")[0] for name in data.interactions.user_ids.tolist()}
    assert len(people) == 943
    assert data.notes == (
        "100,000 ratings by 943 people of 1,682 films; no pictures, text only",
        "4,604 sequences of 20 by floor rule, oldest first: one episode each",
        "7,920 choices of 878 people left over: kept as shorter users, all train, no episode",
    )


@pytest.mark.recbole
def test_text_and_no_picture(data):
    assert data.catalog.images is None
    assert data.encoders == {"text": "minilm"}
    row = data.catalog.row_of["12"]
    assert data.catalog.titles[row] == "Usual Suspects, The (1995)"
    assert data.catalog.captions[row] == "The Usual Suspects (1995): a film of crime and thriller"
    assert data.catalog.categories[row] == "Crime"


@pytest.mark.recbole
def test_a_word_where_the_year_should_be_is_no_year(data):
    catalog = data.catalog
    assert catalog.titles[catalog.row_of["267"]] == "unkonwn"  # as published
    assert catalog.categories[catalog.row_of["267"]] == "no genre"


@pytest.mark.recbole
def test_opening_does_not_import_recbole():
    code = (
        "import sys; from recsim_gen.datasets.ml100k import load; load(); assert 'recbole' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_bad_row_names_the_line(tmp_path):
    (tmp_path / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tComedy\n"
    )
    (tmp_path / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t1\t3\t5\n1\t2\t3\t5\n"
    )
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/ml-100k.inter, row 3: item_id:token '2' is not in ml-100k.item. "
        "Add it to ml-100k.item, or remove its rows here"
    )
