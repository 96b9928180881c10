"""Features in a file: float16 there, float32 where they are read, and never a number that float16 lacks."""

import numpy as np
import pytest

from recsim_gen.core.errors import DataError
from recsim_gen.core.store import fingerprint
from recsim_gen.core.vectors import MappedRows, write_mapped
from recsim_gen.testing import worlds


@pytest.fixture
def rows(tmp_path):
    x = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    return x, write_mapped(tmp_path / "x.npy", 50, np.array_split(x, 7))


def test_rows_are_read_as_float32_and_are_those_written_but_for_rounding(rows, tmp_path):
    x, mapped = rows
    half = x.astype(np.float16).astype(np.float32)
    for at in (3, slice(10, 20), np.array([4, 4, 0]), np.arange(50) % 2 == 0):
        assert mapped[at].dtype == np.float32
        assert np.array_equal(mapped[at], half[at])
    assert np.array_equal(np.asarray(mapped), half)
    assert (mapped.shape, len(mapped), mapped.dtype) == ((50, 6), 50, np.float32)
    assert fingerprint(mapped) == fingerprint(MappedRows(tmp_path / "x.npy")) != fingerprint(x)


def test_a_catalogue_leaves_them_in_their_file(rows):
    x, mapped = rows
    catalog = worlds.catalog({"image": x}).with_features("image", None, mapped, encoder="pixels")
    assert catalog.features["image"] is mapped
    assert catalog.fingerprint != worlds.catalog({"image": x}).fingerprint
    other = catalog.with_features("image", np.array([7]), np.zeros((1, 6)))
    assert not other.features["image"][7].any()
    assert np.array_equal(other.features["image"][8], mapped[8])


def test_numbers_too_large_and_broken_files_are_told(tmp_path):
    with pytest.raises(DataError, match=r"float16, up to 65,504; got 1e\+05.*mapped_from=0"):
        write_mapped(tmp_path / "x.npy", 2, [np.full((2, 3), 1e5, dtype=np.float32)])
    assert not list(tmp_path.iterdir())
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"\(n, d\) float16, got float64"):
        MappedRows(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no readable features"):
        MappedRows(tmp_path / "x.npy")
