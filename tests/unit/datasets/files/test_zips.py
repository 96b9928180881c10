"""Pictures in a zip: read as those in a tar, and nothing else of it."""

from __future__ import annotations

import stat
import zipfile

import numpy as np
import pytest
from brought import picture

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files import zips
from recsim_gen.datasets.files.images import open_images

IDS = np.array(["a", "b", "é"])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def packed(tmp_path, members):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def refusal(path):
    with pytest.raises(DataError) as caught:
        open_images(path, IDS)
    return str(caught.value)


def test_pictures_are_read_in_any_order_and_other_files_left(tmp_path):
    path = packed(tmp_path, [("in/a.png", picture(0)), ("readme.txt", b"x" * 1000), ("é.png", picture(2))])
    images = open_images(path, IDS)
    assert images.present.tolist() == [True, False, True]
    assert images.member(2).read() == picture(2)
    assert images.member(0).read() == picture(0)


def test_names_of_old_tools_are_read_as_they_were_meant(tmp_path):
    path = packed(tmp_path, [("é.png", picture(2))])
    data = bytearray(path.read_bytes())
    for start in (b"PK\x03\x04", b"PK\x01\x02"):  # the flag that says UTF-8 is cleared
        at = data.index(start) + (6 if start.endswith(b"\x04") else 8)
        data[at : at + 2] = (int.from_bytes(data[at : at + 2], "little") & ~0x800).to_bytes(2, "little")
    path.write_bytes(data)
    assert open_images(path, IDS).present.tolist() == [False, False, True]


@pytest.mark.parametrize("name", ["../a.png", "/a.png"])
def test_a_name_that_leads_out_is_refused_and_nothing_kept(tmp_path, name):
    path = packed(tmp_path, [("b.png", picture(1)), (name, picture(0))])
    assert "is refused: its name leads out of the archive" in refusal(path)
    assert not list((tmp_path / "cache" / "archives").glob("*"))


def test_links_and_bombs_are_refused(tmp_path, monkeypatch):
    link = zipfile.ZipInfo("a.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "it is neither a plain file nor a folder" in refusal(packed(tmp_path, [(link, b"/etc/passwd")]))
    monkeypatch.setattr(zips, "SMALL", 1000)
    bomb = packed(tmp_path, [("a.png", bytes(10**6))])
    assert "bytes are unpacked from" in refusal(bomb)


def test_a_cut_zip_is_told(tmp_path):
    path = packed(tmp_path, [("a.png", picture(0))])
    path.write_bytes(path.read_bytes()[:-30])
    assert "the archive is cut off or broken" in refusal(path)
    whole = packed(tmp_path, [("a.png", picture(0))]).read_bytes()
    path.write_bytes(whole[:60] + bytes(20) + whole[80:])
    assert "the archive is cut off or broken" in refusal(path)
