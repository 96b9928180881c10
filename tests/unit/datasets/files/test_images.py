"""Pictures: one reader for folders and tars, and what it refuses."""

import io
import os
import struct
import tarfile
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from recsim_gen.core.errors import DataError
from recsim_gen.core.store import cached_array
from recsim_gen.core.types import ImageReader
from recsim_gen.datasets.files import images
from recsim_gen.datasets.files.decoding import decode
from recsim_gen.datasets.files.images import open_images

IDS = np.array(["1", "2", "30", "4"])
REPLACE = "Replace it by a JPEG, PNG or WebP picture, or remove it: items without picture are handled"
AGAIN = "Fetch the archive again"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(colour=(10, 20, 30), size=(6, 4), mode="RGB", form="PNG", **options):
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, form, **options)
    return out.getvalue()


def noise(size=64, seed=0):
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


def folder(tmp_path, files, name="pics"):
    for inner, data in files.items():
        file = tmp_path / name / inner
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / name


def tar(tmp_path, files, name="pics.tar", mode="w"):
    with tarfile.open(tmp_path / name, mode) as archive:
        for inner, data in files.items():
            info = inner if isinstance(inner, tarfile.TarInfo) else tarfile.TarInfo(inner)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return tmp_path / name


def refusal(act, *args):
    with pytest.raises(DataError) as caught:
        act(*args)
    return str(caught.value)


IMAGES = {
    "posters/1.png": png(),
    "posters/30.JPG": noise(seed=30),
    "posters/77.png": png((1, 1, 1)),
    "posters/notes.txt": b"by hand",
    "4.webp": png((200, 100, 0), form="WEBP", lossless=True),
}


@pytest.mark.parametrize("kept", [folder, tar])
def test_pictures_are_matched_by_stem(tmp_path, kept):
    reader = open_images(kept(tmp_path, IMAGES), IDS)
    assert isinstance(reader, images.ImageFiles)
    assert reader.present.tolist() == [True, False, True, True]
    assert reader.unmatched == 1  # 77.png; a text file is no picture at all
    assert reader.read(0).getpixel((0, 0)) == (10, 20, 30)
    assert reader.read(2).size == (64, 64)
    assert reader.read(3).getpixel((5, 3)) == (200, 100, 0)


def test_the_reader_is_what_a_catalogue_wants(tmp_path):
    reader: ImageReader = open_images(tar(tmp_path, IMAGES), IDS)
    assert len(reader.present) == len(IDS)
    assert "item '2' has no picture" in refusal(reader.read, 1)


def test_nothing_is_extracted(tmp_path, cache):
    path = tar(tmp_path, IMAGES)
    reader = open_images(path, IDS)
    reader.read(0)
    assert not cache.exists()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_fingerprint_is_of_content_not_of_container(tmp_path):
    first = open_images(tar(tmp_path, IMAGES), IDS).fingerprint
    assert open_images(folder(tmp_path, IMAGES), IDS).fingerprint == first
    assert open_images(tar(tmp_path, {**IMAGES, "9.png": png()}, "more.tar"), IDS).fingerprint == first
    changed = {**IMAGES, "posters/1.png": png((10, 20, 31))}
    assert open_images(folder(tmp_path, changed, "b"), IDS).fingerprint != first
    swapped = {**IMAGES, "4.webp": IMAGES["posters/1.png"], "posters/1.png": IMAGES["4.webp"]}
    assert open_images(folder(tmp_path, swapped, "c"), IDS).fingerprint != first


def test_the_fingerprint_follows_a_file_that_is_replaced(tmp_path):
    path = folder(tmp_path, {"1.bmp": png(form="BMP")})
    before = open_images(path, IDS).fingerprint
    (path / "1.bmp").write_bytes(png((9, 9, 9), form="BMP"))  # of equal size
    os.utime(path / "1.bmp", ns=(1, 1))
    assert open_images(path, IDS).fingerprint != before


def test_the_fingerprint_reads_each_byte_once(tmp_path, monkeypatch):
    path = tar(tmp_path, IMAGES)
    first = open_images(path, IDS).fingerprint
    monkeypatch.setattr(images.Member, "read", lambda self: pytest.fail("read again"))
    assert open_images(path, IDS).fingerprint == first


def test_threads_read_what_one_reads(tmp_path):
    ids = np.array([str(k) for k in range(40)])
    reader = open_images(tar(tmp_path, {f"{k}.jpg": noise(32, k) for k in range(40)}), ids)
    alone = [reader.read(k).tobytes() for k in range(40)]
    barrier = threading.Barrier(4)

    def read(k):
        if k < 4:
            barrier.wait(10)
        return reader.read(k).tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(40))) == alone


def test_pictures_stand_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    assert decode(png(size=(6, 4), form="JPEG", exif=exif), "x").size == (4, 6)


@pytest.mark.parametrize(
    ("data", "pixel"),
    [
        (png(77, mode="L"), (77, 77, 77)),
        (png((255, 0, 0, 0), mode="RGBA"), (255, 255, 255)),
        (png((255, 0, 0, 255), mode="RGBA"), (255, 0, 0)),
        (png(256 * 100 + 7, mode="I;16"), (100, 100, 100)),
        (png(1, mode="1"), (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb(data, pixel):
    assert decode(data, "x").getpixel((0, 0)) == pixel


@pytest.mark.parametrize("kept", [folder, tar])
def test_text_where_a_picture_should_be(tmp_path, kept, cache):
    path = kept(tmp_path, {"1.jpg": b"404 not found: sorry", "2.png": png()})
    reader = open_images(path, IDS)

    def features():
        return np.array([np.asarray(reader.read(row)).mean() for row in np.flatnonzero(reader.present)])

    shown = f"{path}/1.jpg" if kept is folder else f"{path}:1.jpg"
    assert refusal(cached_array, "features", reader.fingerprint, features) == (
        f"{shown}: a picture is wanted (JPEG, PNG, WEBP, GIF, BMP), "
        f"got bytes that begin with b'404 not foun'. {REPLACE}"
    )
    assert {p.suffix for p in cache.rglob("*") if p.is_file()} == {".npy"}
    assert not list((cache / "features").glob("*"))


@pytest.mark.parametrize("data", [noise(), png(size=(300, 300))])
def test_a_picture_cut_in_half(tmp_path, data):
    reader = open_images(folder(tmp_path, {"1.jpg": data[: len(data) // 2]}), IDS)
    message = refusal(reader.read, 0)
    assert message.startswith(f"{tmp_path}/pics/1.jpg: the picture cannot be decoded (")
    assert message.endswith(f"). {REPLACE}")


def bomb(width, height):
    """A PNG of a few bytes that claims to be large."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "said"), [(8000, "at most 50,000,000 pixels"), (50_000, "exceeds limit")])
def test_an_image_bomb_is_refused_before_it_is_decoded(width, said):
    message = refusal(decode, bomb(width, width), "x.png")
    assert message.startswith("x.png: ")
    assert said in message
    assert message.endswith(REPLACE)


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path):
    path = folder(tmp_path, {"1.png": b""})
    os.truncate(path / "1.png", images.MAX_BYTES + 1)  # sparse: takes no room
    assert "at most 67,108,864 bytes is wanted, got 67,108,865" in refusal(open_images(path, IDS).read, 0)


def test_formats_that_run_programs_are_not_tried():
    assert "a picture is wanted" in refusal(decode, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "x")


def test_a_tar_cut_anywhere_is_refused_when_opened(tmp_path, cache):
    whole = tar(tmp_path, {f"{k}.jpg": noise(seed=int(k)) for k in IDS}).read_bytes()
    with tarfile.open(tmp_path / "pics.tar") as archive:
        end = max(m.offset_data + m.size for m in archive)
    for cut in range(512, end, 512 * 3 + 100):
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        message = refusal(open_images, tmp_path / "cut.tar", IDS)
        assert message.startswith(f"{tmp_path}/cut.tar: the archive is cut off")
        assert message.endswith(AGAIN)
    assert not cache.exists()


def test_a_tar_broken_in_the_middle_is_refused(tmp_path):
    path = tar(tmp_path, {f"{k}.jpg": noise() for k in IDS})
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2].offset
    data = bytearray(path.read_bytes())
    data[third : third + 40] = b"x" * 40
    path.write_bytes(data)
    assert "its end mark is missing" in refusal(open_images, path, IDS)


@pytest.mark.parametrize("name", ["/etc/1.png", "../1.png", "a/../../1.png"])
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    path = tar(tmp_path, {name: png()})
    assert refusal(open_images, path, IDS) == (
        f"{path}: member {name!r} is refused: its name leads out of the archive. "
        "Pack plain files with relative names"
    )


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("1.png")
    info.type, info.linkname = kind, "/etc/passwd"
    path = tar(tmp_path, {info: b""})
    assert "member '1.png' is refused: it is neither a plain file nor a folder" in refusal(
        open_images, path, IDS
    )


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.png").write_bytes(png())
    path = folder(tmp_path, {"2.png": png()})
    (path / "1.png").symlink_to(tmp_path / "secret.png")
    assert refusal(open_images, path, IDS) == (
        f"{path}/1.png: the picture is a link out of its folder. Copy it inside"
    )


def test_two_pictures_of_one_item_are_refused(tmp_path):
    path = tar(tmp_path, {"a/1.png": png(), "b/1.jpg": noise()})
    assert refusal(open_images, path, IDS) == (
        f"{path}:b/1.jpg: one picture for item '1' is wanted, {path}:a/1.png is another. "
        "Remove one of the two"
    )


@pytest.mark.parametrize("mode", ["w:xz", "w:bz2"])
def test_a_tar_compressed_otherwise_says_so(tmp_path, mode):
    path = tar(tmp_path, IMAGES, "pics.tar.z", mode)
    assert refusal(open_images, path, IDS) == (
        f"{path}: a plain tar or one packed by gzip is wanted, got another compression. Unpack it"
    )


def test_what_is_neither_folder_nor_tar(tmp_path):
    (tmp_path / "x").write_bytes(b"hello" * 1000)
    assert "a tar or a folder of pictures is wanted" in refusal(open_images, tmp_path / "x", IDS)
    assert "a folder or tar of pictures is wanted, got nothing" in refusal(open_images, tmp_path / "y", IDS)
