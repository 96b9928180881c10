"""Compressed tars: read as plain ones are, unpacked once, and refused before anything is kept."""

import gzip
import io
import os
import random
import tarfile

import numpy as np
import pytest
from PIL import Image

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files import archives
from recsim_gen.datasets.files.images import list_members, open_images

IDS = np.array(["1", "02", "3"])
AGAIN = "Fetch the archive again"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 16, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def packed(tmp_path, members, name="images.tar.gz", mode="w:gz"):
    """A tar of (TarInfo or name, bytes)."""
    with tarfile.open(tmp_path / name, mode) as archive:
        for member, data in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return tmp_path / name


def files(folder):
    return [p for p in folder.rglob("*") if p.is_file()]


def refusal(path, cache):
    """The message; nothing may be kept."""
    before = files(path.parent)
    with pytest.raises(DataError) as caught:
        open_images(path, IDS)
    assert files(cache) == []
    assert files(path.parent) == before
    return str(caught.value)


def test_pictures_in_it_are_read_as_in_a_plain_tar(tmp_path):
    members = [(f"images/{item}.png", picture(k)) for k, item in enumerate(IDS)]
    plain = open_images(packed(tmp_path, members, "images.tar", "w"), IDS)
    inside = open_images(packed(tmp_path, members), IDS)
    assert inside.present.all()
    for row in range(3):
        assert inside.read(row).tobytes() == plain.read(row).tobytes()
    assert inside.fingerprint == plain.fingerprint


def test_it_is_unpacked_once_and_wherever_it_lies(tmp_path, cache, monkeypatch):
    path = packed(tmp_path, [("1.png", picture(1))])
    open_images(path, IDS)
    assert len(files(cache / "archives")) == 1
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "i.tar.gz")
    monkeypatch.setattr(archives, "_unpack", lambda *_: pytest.fail("unpacked again"))
    assert open_images(moved, IDS).read(0).size == (16, 20)


def test_another_content_under_the_same_name_is_unpacked_anew(tmp_path, cache):
    first = open_images(packed(tmp_path, [("1.png", picture(1))]), IDS).fingerprint
    path = packed(tmp_path, [("1.png", picture(2))])
    os.utime(path, ns=(1, 1))
    assert open_images(path, IDS).fingerprint != first
    assert len(files(cache / "archives")) == 2


def test_what_was_cleared_is_unpacked_again(tmp_path, cache):
    path = packed(tmp_path, [("1.png", picture(1))])
    open_images(path, IDS)
    for file in files(cache / "archives"):
        file.unlink()
    assert open_images(path, IDS).read(0).size == (16, 20)


@pytest.mark.parametrize("name", ["../1.png", "/etc/1.png", "a/../../1.png"])
def test_a_name_that_leads_out_is_refused(tmp_path, cache, name):
    path = packed(tmp_path, [("02.png", picture(0)), (name, picture(1))])
    assert refusal(path, cache) == (
        f"{path}: member {name!r} is refused: its name leads out of the archive. "
        "Pack plain files with relative names"
    )
    assert not (tmp_path / "1.png").exists()
    assert not (tmp_path.parent / "1.png").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(tmp_path, cache, kind):
    info = tarfile.TarInfo("1.png")
    info.type, info.linkname = kind, "/etc/passwd"
    path = packed(tmp_path, [("02.png", picture(0)), (info, b"")])
    assert refusal(path, cache) == (
        f"{path}: member '1.png' is refused: it is neither a plain file nor a folder. "
        "Pack plain files with relative names"
    )


def test_one_cut_anywhere_is_refused(tmp_path, cache):
    path = packed(tmp_path, [(f"{item}.png", picture(k)) for k, item in enumerate(IDS)])
    whole = path.read_bytes()
    for end in range(2, len(whole), 97):
        path.write_bytes(whole[:end])
        message = refusal(path, cache)
        assert message.startswith(f"{path}: ")
        assert message.endswith(AGAIN)


def test_one_whose_bytes_were_changed_is_refused(tmp_path, cache):
    path = packed(tmp_path, [("1.png", picture(1))])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "cut off or broken" in refusal(path, cache)


def test_a_bomb_is_refused(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(archives, "SMALL", 10_000_000)
    path = packed(tmp_path, [("1.png", bytes(20_000_000))])
    assert refusal(path, cache) == (
        f"{path}: at most 10,000,000 bytes are unpacked from {path.stat().st_size:,}, this archive has more. "
        "Unpack it by hand if you trust it, and name the folder"
    )


def test_text_in_gzip_is_no_archive(tmp_path, cache):
    path = tmp_path / "images.tar.gz"
    path.write_bytes(gzip.compress(b"404 not found" * 100))
    assert "a tar or a folder of pictures is wanted" in refusal(path, cache)


def put(data, at, value):
    """Change a byte; if it is in a header, with its checksum, so that what it says is believed."""
    data[at] = value
    block = at - at % 512
    if data[block + 257 : block + 262] == b"ustar":
        data[block + 148 : block + 156] = b" " * 8
        data[block + 148 : block + 156] = b"%06o\0 " % sum(data[block : block + 512])


def survive(tmp_path, count, seed):
    draw, refused = random.Random(seed), 0
    members = [("a/1.png", b"x" * 10), ("é" * 120 + "/02.jpg", b"y" * 600)]
    seeds = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(content), 1.5
                archive.addfile(info, io.BytesIO(content))
        seeds.append(out.getvalue()[: -8 * 512])  # fewer zeros at the end
    for _ in range(count):
        data = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(len(data) // 512) * 512
            at += draw.choice([draw.randrange(512), 124 + draw.randrange(12), 156])  # any, size, type
            put(data, at, draw.choice([0, 255, 0x80, ord("7"), draw.randrange(256)]))
        (tmp_path / "x.tar").write_bytes(data)
        try:
            list_members(tmp_path / "x.tar")
        except DataError:
            refused += 1
    return refused


def test_broken_tars_give_our_error_alone(tmp_path):
    assert 300 < survive(tmp_path, 1_000, seed=0) < 1_000


@pytest.mark.slow
def test_many_broken_tars_give_our_error_alone(tmp_path):
    assert 4_000 < survive(tmp_path, 20_000, seed=1) < 20_000
