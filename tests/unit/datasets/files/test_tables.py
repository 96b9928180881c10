"""Tables: what is read, and one error with file, row and remedy for what cannot be."""

import numpy as np
import pytest

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.tables import natural_places, read_table

COLUMNS = {"ids": ["user", "item"], "numbers": ["rating"], "texts": ["title"]}
HEADER = "user,item,rating,title\n"


def read(tmp_path, text, **options):
    file = tmp_path / "choices.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(file, **{**COLUMNS, **options})


def refusal(tmp_path, text, act=lambda table: None, **options):
    """The message, less the folder."""
    with pytest.raises(DataError) as caught:
        act(read(tmp_path, text, **options))
    assert caught.value.remedy
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_columns_keep_ids_as_text_and_quotes_as_text(tmp_path):
    table = read(tmp_path, HEADER + '007,a b,4.5,"One, two"\nNA,c,-1e3, x \n')
    codes, names = table.ids("user")
    assert names[codes].tolist() == ["007", "NA"]
    assert table.numbers("rating").tolist() == [4.5, -1000.0]
    assert table.texts("title").tolist() == ["One, two", "x"]


def test_columns_in_any_order_and_others_left_out(tmp_path):
    table = read(tmp_path, "extra,title,rating,item,user\nx,t,1,i,u\n")
    assert table.frame.columns.tolist() == ["user", "item", "rating", "title"]


def test_a_mark_of_spreadsheets_and_windows_lines_are_read(tmp_path):
    table = read(tmp_path, b"\xef\xbb\xbf" + (HEADER + "u,i,1,t\n").replace("\n", "\r\n").encode())
    assert table.texts("title").tolist() == ["t"]


def test_tabs_with_quotes_as_letters(tmp_path):
    table = read(tmp_path, 'user\titem\trating\ttitle\nu\ti\t3\t"Rome\n', separator="\t", quoted=False)
    assert table.texts("title").tolist() == ['"Rome']


def test_ids_are_ordered_as_numbers_are():
    ids = np.array(["10", "9", "100", "b", "1"])
    assert ids[np.argsort(natural_places(ids))].tolist() == ["1", "9", "b", "10", "100"]


def test_missing_column(tmp_path):
    assert refusal(tmp_path, "user,item,ratings,title\nu,i,1,t\n") == (
        "choices.csv, row 1: columns user, item, rating, title are wanted, 'rating' is missing; "
        "got user, item, ratings, title. Correct the header line. Did you mean 'ratings'?"
    )


@pytest.mark.parametrize("value", ["", "NaN", "four", "inf", "4,5"])
def test_a_value_that_is_no_number(tmp_path, value):
    text = HEADER + f'u,i,1,t\n\nu,j,"{value}",t\n'
    assert refusal(tmp_path, text) == (
        f"choices.csv, row 4: rating must be a finite number, got {value!r}. "
        "Fetch the file as published, or correct that row"
    )


def test_the_row_is_the_line_of_the_file_where_a_text_has_lines(tmp_path):
    text = HEADER + 'u,i,1,"two\nlines"\nu,j,x,t\n'
    assert "choices.csv, row 4: rating must be a finite number, got 'x'" in refusal(tmp_path, text)


def test_more_rows_like_it_are_counted(tmp_path):
    text = HEADER + "u,i,x,t\nu,j,1,t\nu,k,y,t\nu,l,z,t\n"
    assert "row 2: rating must be a finite number, got 'x' (2 more rows like it)." in refusal(tmp_path, text)


def test_empty_id(tmp_path):
    assert refusal(tmp_path, HEADER + "u,i,1,t\n  ,i,1,t\n") == (
        "choices.csv, row 3: user must be an id, got an empty one. "
        "Fetch the file as published, or correct that row"
    )


def test_duplicate_key(tmp_path):
    text = HEADER + "u,i,1,t\nu,j,1,t\nv,i,1,t\nu,j,2,t\n"
    assert refusal(tmp_path, text, lambda t: t.refuse_duplicates("user", "item")) == (
        "choices.csv, row 5: (user, item) = ('u', 'j') stands a second time; first in row 3. "
        "Keep one of the two rows"
    )


def test_unknown_id(tmp_path):
    text = HEADER + "u,i,1,t\nu,j,1,t\n"
    assert refusal(tmp_path, text, lambda t: t.rows_of("item", np.array(["k", "i"]), "items.csv")) == (
        "choices.csv, row 3: item 'j' is not in items.csv. Add it to items.csv, or remove its rows here"
    )


def test_known_ids_are_found(tmp_path):
    table = read(tmp_path, HEADER + "u,i,1,t\nu,j,1,t\nv,i,1,t\n")
    assert table.rows_of("item", np.array(["k", "j", "i"]), "items.csv").tolist() == [2, 1, 2]


@pytest.mark.parametrize(("first", "row"), [("u,i,1,t,9\nu,i,1,t\n", 2), ("u,i,1,t\nu,j,1,t,9\n", 3)])
def test_a_row_with_too_many_fields(tmp_path, first, row):
    assert refusal(tmp_path, HEADER + first) == (
        f"choices.csv, row {row}: 4 fields are wanted, as in the header, got 5. "
        "Put text that holds ',' in quotes"
    )


def test_a_row_with_too_few_fields(tmp_path):
    assert "row 3: rating must be a finite number, got ''" in refusal(tmp_path, HEADER + "u,i,1,t\nu,j\n")


def test_a_quote_that_never_ends(tmp_path):
    assert refusal(tmp_path, HEADER + 'u,i,1,"t\nu,j,1,t\n').startswith(
        "choices.csv: cannot be read as a table (Error tokenizing data. C error: EOF inside string"
    )


def test_empty_file(tmp_path):
    assert refusal(tmp_path, "") == "choices.csv: a header line is wanted, the file is empty. Fetch it again"


def test_header_alone(tmp_path):
    assert (
        refusal(tmp_path, HEADER) == "choices.csv: rows are wanted below the header, got none. Is it cut off?"
    )


@pytest.mark.parametrize("before", ["", "u,k,1,t\n" * 40_000])
def test_another_encoding(tmp_path, before):
    text = (HEADER + before).encode() + "u,i,1,caf\u00e9\n".encode("latin-1")
    row = 2 + before.count("\n")
    assert refusal(tmp_path, text) == (
        f"choices.csv, row {row}: UTF-8 text is wanted, got the byte 0xe9. "
        "Convert it, e.g. iconv -f LATIN1 -t UTF-8"
    )


def test_a_table_as_spreadsheets_write_unicode(tmp_path):
    assert refusal(tmp_path, (HEADER + "u,i,1,t\n").encode("utf-16")) == (
        "choices.csv, row 1: UTF-8 text is wanted, got the byte 0xff. "
        "Convert it, e.g. iconv -f UTF-16 -t UTF-8"
    )


def test_missing_file(tmp_path):
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "no.csv", ids=["a"])
    assert str(caught.value) == (
        f"{tmp_path}/no.csv: cannot be opened (No such file or directory). "
        f"Does {tmp_path} hold the data as published?"
    )


def test_a_text_out_of_proportion(tmp_path):
    assert "row 2: title is longer than 10,000 characters" in refusal(
        tmp_path, HEADER + f"u,i,1,{'t' * 10_001}\n"
    )
