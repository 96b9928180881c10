"""JSON that was downloaded: what is refused, in which words, and that nothing else comes out."""

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.json_files import Fields, read_json


def refusal(path, **limits):
    with pytest.raises(DataError) as caught:
        read_json(path, **limits)
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1, "b": 2, "a": 3}',
         "f.json: cannot be read as JSON (the key 'a' stands twice in one object)"),
        (b'[{"a": NaN}]', "f.json: cannot be read as JSON (NaN is no number of JSON)"),
        (b'[1,\n2,\n', "f.json, row 3: cannot be read as JSON (Expecting value, column 1)"),
        (b'["caf\xe9"]', "f.json: UTF-8 text is wanted, got the byte 0xe9 at 5"),
        (b"[" * 200_000, "f.json: nested too deep to be data"),
        (b"9" * 5_000, "f.json: cannot be read as JSON (Exceeds the limit"),
        (b"", "f.json, row 1: cannot be read as JSON (Expecting value, column 1)"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_one_error(tmp_path, content, expected):
    (tmp_path / "f.json").write_bytes(content)
    assert refusal(tmp_path / "f.json").startswith(expected)


def test_a_file_of_five_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "f.json"
    with path.open("wb") as f:
        f.truncate(5 * 2**30)  # sparse: takes no room on the disk
    assert refusal(path) == (
        "f.json: at most 1,024 MiB of JSON are read at once, got 5,120 MiB. "
        "Raise max_megabytes if memory is about five times that, or split the file"
    )
    path.write_text("[" + "1," * 2**20 + "1]")
    assert "got 2 MiB" in refusal(path, max_megabytes=1)
    assert len(read_json(path, max_megabytes=3)) == 2**20 + 1


def test_a_missing_file(tmp_path):
    assert refusal(tmp_path / "f.json").startswith("f.json: cannot be opened (No such file or directory)")


def test_a_mark_of_byte_order_is_no_content(tmp_path):
    (tmp_path / "f.json").write_bytes(b'\xef\xbb\xbf["a"]')
    assert read_json(tmp_path / "f.json") == ["a"]


@pytest.mark.parametrize(
    ("method", "value", "expected"),
    [
        ("identifier", True, "x must be an id (text or a whole number), got True"),
        ("identifier", " ", "x must be an id (text or a whole number), got ' '"),
        ("identifier", [1], "x must be an id (text or a whole number), got list"),
        ("identifier", "a\0", "x holds a character that is no text, got 'a\\x00'"),
        ("text", "\ud800", "x holds a character that is no text, got '\\ud800'"),
        ("text", ["a", 1], "x must be text, got list"),
        ("number", "4", "x must be a number, got '4'"),
        ("count", -1, "x must be a whole number from 0, got -1"),
        ("objects", {"a": 1}, "x must be a list, got dict"),
        ("inner", "a" * 100, "an object is wanted, got 'aaa"),
    ],
)
def test_a_field_of_another_type_is_named(tmp_path, method, value, expected):
    with pytest.raises(DataError) as caught:
        getattr(Fields({"x": value}, tmp_path / "f.json", "record 7"), method)("x")
    assert expected in str(caught.value)
    assert "record 7" in str(caught.value)


def test_what_is_missing_or_null_is_none():
    fields = Fields({"a": None, "n": 0, "w": ["b", "c"], "i": 17}, None, "")
    assert fields.identifier("z", "a") is None
    assert fields.identifier("a", "i") == "17"
    assert (fields.text("a"), fields.text("w")) == ("", "b, c")
    assert (fields.number("a"), fields.number("n"), fields.count("n")) == (None, 0.0, 0)
    assert (fields.objects("a"), fields.inner("a")) == ([], None)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists),
    cut=st.integers(0, 60),
)
def test_a_file_changed_anywhere_is_read_or_refused(tmp_path, value, cut):
    data = json.dumps({"k": value}).encode()
    path = tmp_path / "f.json"
    path.write_bytes(data[:cut] + data[cut + 1 :])
    with suppress(DataError):
        read_json(path)
