"""Names as people mean them: blanks, byte order marks and Unicode forms make no other item or user."""

import io
import json
import sys
import tarfile
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.images import list_members, open_images
from recsim_gen.datasets.files.json_files import Fields, read_json
from recsim_gen.datasets.files.names import BLANKS, clean_name, likely
from recsim_gen.datasets.files.paths import InsidePaths
from recsim_gen.datasets.files.remarks import remark, remarks
from recsim_gen.datasets.files.tables import read_table
from recsim_gen.datasets.opening import open_data

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\,;\"'"), min_size=1, max_size=8
).filter(clean_name)
AROUND = st.text(st.sampled_from(" \t\u00a0\u3000\ufeff"), max_size=3)


def test_blanks_are_all_that_unicode_knows():
    assert {c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace()} <= set(BLANKS)


@given(NAMES, AROUND, AROUND)
def test_a_name_is_clean_once_and_for_all(name, before, behind):
    clean = clean_name(name)
    assert clean_name(clean) == clean == clean_name(before + unicodedata.normalize("NFD", name) + behind)
    assert unicodedata.is_normalized("NFC", clean)


@settings(max_examples=40, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=5, unique_by=clean_name), AROUND, st.sampled_from(["NFC", "NFD"]))
def test_tables_and_json_read_the_same_names_however_they_are_written(tmp_path_factory, names, around, form):
    folder, clean = tmp_path_factory.mktemp("names"), sorted(map(clean_name, names))
    written = [around + unicodedata.normalize(form, name) + around for name in names]
    (folder / "t.tsv").write_text("\ufeff id \tn\n" + "".join(f'"{w}"\t1\n' for w in written), "utf-8")
    table = read_table(folder / "t.tsv", ids=["id"], numbers=["n"], separator="\t")
    assert sorted(table.keys("id").tolist()) == clean
    (folder / "t.json").write_text(json.dumps(dict.fromkeys(written, "x")), "utf-8-sig")
    fields = Fields.of(read_json(folder / "t.json"), folder / "t.json", "top level")
    assert sorted(fields.texts()) == clean
    assert sorted(fields.as_identifier(key, "key") for key in fields.values) == clean


@settings(max_examples=40, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4, unique_by=clean_name), st.sampled_from(["NFC", "NFD"]))
def test_pictures_are_found_whatever_wrote_their_names(tmp_path_factory, names, form):
    folder = tmp_path_factory.mktemp("pictures")
    with tarfile.open(folder / "p.tar", "w") as archive:
        for name in names:
            data = io.BytesIO()
            Image.new("RGB", (2, 2)).save(data, "PNG")
            entry = tarfile.TarInfo("p/" + unicodedata.normalize(form, "x" + name) + ".png")
            entry.size = len(data.getvalue())
            archive.addfile(entry, io.BytesIO(data.getvalue()))
    ids = np.array([clean_name("x" + name) for name in names])
    assert open_images(folder / "p.tar", ids).present.all()


def test_files_and_folders_are_called_by_clean_names(tmp_path):
    place = tmp_path / unicodedata.normalize("NFD", "Müller") / " é .png"
    place.parent.mkdir()
    Image.new("RGB", (2, 2)).save(place)
    (member,) = list_members(tmp_path)
    assert (member.stem, member.folders, member.file_name) == ("é", ("Müller",), "é .png")
    assert member.read() == place.read_bytes()


def test_a_list_finds_its_picture_in_either_unicode_form(tmp_path):
    names = unicodedata.normalize("NFD", "é.png"), unicodedata.normalize("NFC", "ü.png")
    for name in names:
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    inside = InsidePaths(tmp_path)
    for text in ("é.png", "ü.png"):
        for form in ("NFC", "NFD"):
            assert inside.member(unicodedata.normalize(form, text), "x", file=tmp_path) is not None


def test_ids_that_differ_only_by_blanks_are_one_with_a_remark(tmp_path):
    (tmp_path / "t.csv").write_text("id,n\n a,1\na,2\nb,3\n")
    with remarks() as said:
        table = read_table(tmp_path / "t.csv", ids=["id"], numbers=["n"])
    assert table.frame["id"].tolist() == ["a", "a", "b"]
    assert said == [
        "t.csv: 1 ids of id differ from another only by blanks, a byte order mark or the Unicode form, "
        "such as ' a': read as one"
    ]


def test_a_remark_is_kept_once_and_only_where_somebody_listens():
    remark("lost")
    with remarks() as said:
        remark("a")
        remark("a")
    assert said == ["a"]


def test_a_column_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("id,n, n\na,1,2\n")
    with pytest.raises(DataError, match="column 'n' stands twice in the header"):
        read_table(tmp_path / "t.csv", ids=["id"], numbers=["n"])


def test_columns_without_a_name_are_left_out(tmp_path):
    (tmp_path / "t.csv").write_text(",,id\n0,x,a\n1,y,b\n")
    assert read_table(tmp_path / "t.csv", ids=["id"]).keys("id").tolist() == ["a", "b"]


def movielens(folder, *, user="{}", item="{}", film="{}"):
    """Four people with six of nine films; ids of ratings.csv and movies.csv as the patterns say."""
    folder.mkdir(parents=True)
    films = [f"{film.format(m)},Film {m},Drama" for m in range(1, 10)]
    rated = [
        f"{user.format(u)},{item.format(1 + (u + k) % 9)},4.0,{1000 * k}" for u in range(4) for k in range(6)
    ]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]) + "\n", "utf-8")
    (folder / "ratings.csv").write_text(
        "\n".join(["userId,movieId,rating,timestamp", *rated]) + "\n", "utf-8"
    )
    return open_data(f"movielens:{folder}", sequence_length=6)


@pytest.mark.parametrize("pattern", ["{} ", " {}", "\ufeff{}", "\u3000{}", '"{} "'])
def test_blanks_in_one_file_change_no_number(tmp_path, pattern):
    clean = movielens(tmp_path / "clean")
    for which in ("user", "item", "film"):
        assert movielens(tmp_path / which, **{which: pattern}).fingerprint == clean.fingerprint


def test_ids_written_in_two_ways_are_told(tmp_path):
    folder = tmp_path / "ml"
    movielens(folder)
    text = (folder / "ratings.csv").read_text().splitlines()
    text[1] = text[1].replace("0,", "0 ,", 1)
    (folder / "ratings.csv").write_text("\n".join(text))
    data = open_data(f"movielens:{folder}", sequence_length=6)
    assert len(np.unique(data.people)) == 4
    assert any("ids of userId differ from another only by blanks" in note for note in data.notes)


def pog(folder, *, mark=b"", blank="", ends="\n"):
    """Twenty users of forty items, as raw POG is written."""
    folder.mkdir()
    ids = [f"{k:032x}" for k in range(40)]
    lines = {
        "item_data.txt": [f"{i},{k % 5},http://x/{i}.jpg,skirt {k}" for k, i in enumerate(ids)],
        "user_data.txt": [
            f"u{u}," + ";".join(blank + ids[(7 * u + 3 * k) % 40] for k in range(12)) + f",o{u % 3}"
            for u in range(20)
        ],
        "outfit_data.txt": [f"o{o}," + ";".join(ids[o + 13 * k] for k in range(3)) for o in range(3)],
    }
    for name, rows in lines.items():
        (folder / name).write_bytes(mark + ends.join([*rows, ""]).encode())
    return open_data(f"pog:{folder}", reference="outfit", sequence_length=10)


@pytest.mark.parametrize("how", [{"mark": b"\xef\xbb\xbf"}, {"blank": " "}, {"ends": "\r\n"}])
def test_raw_pog_loses_no_record_to_what_a_program_adds(tmp_path, how):
    plain, awkward = pog(tmp_path / "plain"), pog(tmp_path / "awkward", **how)
    assert len(plain.episodes) == 20
    assert awkward.fingerprint == plain.fingerprint
    assert awkward.notes == plain.notes


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=8, unique=True), st.integers(1, 4))
def test_ids_that_lost_their_zeros_are_recognised(numbers, zeros):
    short = [str(n) for n in numbers]
    long = ["0" * zeros + name for name in short]
    for unknown, known in ((long, short), (short, long)):
        said = likely(unknown, known)
        assert said.startswith(
            f"; {len(numbers):,} of them differ only by zeros in front: {unknown[0]!r} here,"
        )


@pytest.mark.parametrize(
    ("unknown", "known", "what"),
    [(["7.0"], ["7"], "a .0 behind"), (["Mug"], ["mug"], "capitals"), (["cup"], ["mug"], "")],
)
def test_other_ways_to_write_an_id_are_recognised_and_other_ids_are_not(unknown, known, what):
    said = likely(unknown, known)
    assert (f"1 of them differ only by {what}: " in said) if what else said == ""
