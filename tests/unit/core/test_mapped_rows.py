"""Features in a file: float16 there, float32 where they are read, and never a number that float16 lacks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rankers.item_graphs.mapped_rows import by_rows
from recsim_gen.core.errors import DataError
from recsim_gen.core.store import fingerprint
from recsim_gen.core.vectors import MappedRows, unload, write_mapped
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


def resident_files() -> int:
    """Bytes of mapped files in this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc, which Linux has")
def test_rows_leave_memory_after_a_pass_and_come_back_as_they_were(tmp_path):
    n, d, size = 200_000, 80, 200_000 * 80 * 2
    drawn = (np.random.default_rng(i).standard_normal((n // 20, d)) for i in range(20))
    x = torch.from_numpy(write_mapped(tmp_path / "x.npy", n, drawn).half)
    before = resident_files()
    total = x.sum(dtype=torch.float64)
    assert resident_files() - before > 0.9 * size
    weight = torch.randn(3, d, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    by_rows(x, weight, bias).sum().backward()
    assert resident_files() - before < 0.5 * size
    assert weight.grad[0].allclose(x.double().sum(0))
    assert x.sum(dtype=torch.float64) == total
    unload(x.data_ptr() + 2)  # nothing starts there
    assert resident_files() - before > 0.9 * size
