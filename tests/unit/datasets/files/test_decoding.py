"""Decoding: EXIF turns a picture and does nothing else; no block of it refuses a picture or breaks a run."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.decoding import decode

TAGS = [
    0x0100,
    0x010E,
    0x010F,
    0x0112,
    0x011A,
    0x0128,
    0x0131,
    0x0132,
    0x8298,
    0x8769,
    0x8825,
    0x9286,
    0xA005,
]


def jpeg(size=(24, 16), colour="teal"):
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "JPEG")
    return data.getvalue()


def with_exif(data, *tags, order="<"):
    """A JPEG with an EXIF block of (tag, type, count, four bytes of value)."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    block = b"Exif\0\0" + head + struct.pack(order + "IH", 8, len(tags))
    block += b"".join(struct.pack(order + "HHI4s", *tag) for tag in tags) + bytes(4)
    return with_block(data, block)


def with_block(data, block):
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def orientation(way):
    return (0x0112, 3, 1, struct.pack("<HH", way, 0))


@pytest.mark.parametrize(
    "odd",
    [
        (0x011A, 2, 3, b"72\0\0"),  # XResolution as text
        (0x0131, 11, 1, struct.pack("<f", 1.5)),  # Software as a float
        (0x0100, 2, 3, b"24\0\0"),  # ImageWidth as text
        (0x010F, 2, 0, b"\0\0\0\0"),  # Make without a letter
        (0x8769, 4, 1, b"\xff\xff\xff\xff"),  # a part that lies outside
    ],
)
def test_a_good_picture_with_an_odd_tag_is_turned_as_its_orientation_says(odd):
    tags = sorted([orientation(6), odd])
    assert decode(with_exif(jpeg(), *tags), "x.jpg").size == (16, 24)


@pytest.mark.parametrize("way", range(1, 9))
def test_all_orientations_agree_with_pillow(way):
    pixels = np.random.default_rng(way).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    data = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = way
    Image.fromarray(pixels).save(data, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data.getvalue())))
    assert np.array_equal(decode(data.getvalue(), "x.png"), expected)


def fuzzed(rng, data):
    """A JPEG with random tags of EXIF, some of them cut or overwritten."""
    tags = [
        (
            int(rng.choice(TAGS)),
            int(rng.integers(0, 15)),
            int(rng.choice([0, 1, 2, 3, 255, 2**31, 2**32 - 1])),
            rng.bytes(4),
        )
        for _ in range(rng.integers(0, 5))
    ]
    order = "<>"[rng.integers(2)]
    tags += [orientation(int(rng.integers(0, 10)))] * int(rng.integers(2))
    whole = with_exif(data, *tags, order=order)
    if rng.random() < 0.3:
        block = bytearray(whole[6 : 20 + 12 * len(tags)])
        for place in rng.integers(0, len(block), rng.integers(0, 4)):
            block[place] = rng.integers(256)
        whole = with_block(data, bytes(block[: rng.integers(1, len(block) + 1)]))
    return whole


def nothing_good_is_refused(number):
    rng, data = np.random.default_rng(number), jpeg((3, 2))
    for _ in range(number):
        mangled = fuzzed(rng, data)
        try:
            size = Image.open(io.BytesIO(mangled)).convert("RGB").size
        except Exception:  # noqa: BLE001 - whatever Pillow raises, decode must raise ours
            with pytest.raises(DataError):
                decode(mangled, "x.jpg")
        else:
            assert sorted(decode(mangled, "x.jpg").size) == sorted(size)


@pytest.mark.filterwarnings("ignore")
def test_many_exif_blocks_refuse_nothing_that_pillow_decodes():
    nothing_good_is_refused(1_500)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_hundred_thousand_exif_blocks_refuse_nothing_that_pillow_decodes():
    nothing_good_is_refused(100_000)


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), AttributeError("x"), OverflowError("x")])
def test_whatever_a_decoder_raises_becomes_our_error(monkeypatch, error):
    def broken(*_, **__):
        raise error

    data = jpeg()
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", broken)
    with pytest.raises(DataError, match=r"x\.jpg: the picture cannot be decoded"):
        decode(data, "x.jpg")
