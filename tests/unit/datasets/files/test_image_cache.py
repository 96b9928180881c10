"""The pictures read last: kept within their bound, never shared with a caller, not sent to workers."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from recsim_gen.datasets.files.image_cache import Recent
from recsim_gen.datasets.files.images import open_images


def picture(value, size=(10, 10)):
    return lambda: Image.new("RGB", size, (value % 256, 0, 0))


def forbidden():
    raise AssertionError("asked for again")


def test_the_last_asked_for_are_kept_within_the_bound():
    recent = Recent(max_bytes=3 * 300)
    for row in (0, 1, 2):
        recent.get(row, picture(row))
    recent.get(0, forbidden)
    recent.get(3, picture(3))
    for row in (2, 0, 3):
        assert recent.get(row, forbidden).getpixel((0, 0)) == (row, 0, 0)
    with pytest.raises(AssertionError):
        recent.get(1, forbidden)
    recent.get(4, picture(4, (1000, 1000)))  # larger than the bound: read each time
    assert len(recent) == 3


def test_a_caller_may_paint_on_what_it_gets():
    recent = Recent()
    for _ in range(3):
        mine = recent.get(0, picture(7))
        assert mine.getpixel((0, 0)) == (7, 0, 0)
        mine.paste((9, 9, 9), (0, 0, 10, 10))


def test_threads_get_what_they_asked_for():
    recent = Recent(max_bytes=20 * 300)
    rows = np.random.default_rng(0).integers(0, 40, 2000).tolist()
    with ThreadPoolExecutor(8) as pool:
        got = pool.map(lambda r: recent.get(r, picture(r)).getpixel((0, 0))[0], rows)
        assert list(got) == rows
    assert len(recent) <= 20


def test_a_reader_is_sent_to_a_worker_without_what_it_keeps(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)).save(tmp_path / "a.png")
    reader = open_images(tmp_path, np.array(["a"]))
    first = reader.read(0)
    assert len(pickle.dumps(reader)) < 3000
    assert pickle.loads(pickle.dumps(reader)).read(0).tobytes() == first.tobytes()
    (tmp_path / "a.png").unlink()
    assert reader.read(0).tobytes() == first.tobytes()
