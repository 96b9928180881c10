"""Names by content, atomic writes, the cache of arrays."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_gen.core.errors import DataError
from recsim_gen.core.store import atomic, cache_dir, cached_array, fingerprint, write_json


@dataclass
class Setting:
    k: int = 5


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_equal_values_alone_have_equal_hashes(a, b):
    assert fingerprint(a) == fingerprint(a)
    assert (fingerprint(a) == fingerprint(b)) == (repr(a) == repr(b) or (repr_of(a) == repr_of(b)))


def repr_of(x):
    """Text that ignores the order of keys alone."""
    if isinstance(x, dict):
        return "{" + ",".join(f"{k!r}:{repr_of(x[k])}" for k in sorted(x)) + "}"
    return "[" + ",".join(map(repr_of, x)) + "]" if isinstance(x, list) else repr(x)


def test_the_hash_sees_order_type_shape_and_nesting():
    x = np.arange(6)
    alike = [fingerprint({"a": 1, "b": 2}), fingerprint({"b": 2, "a": 1})]
    assert alike[0] == alike[1]
    assert fingerprint(x) == fingerprint(x.copy()) == fingerprint(np.arange(12)[::2] // 2)
    assert fingerprint(Setting(5)) == fingerprint({"k": 5})
    assert fingerprint(np.int64(3)) == fingerprint(3)
    values = [x, x[::-1], x.reshape(2, 3), x.astype(np.int32), x.astype(float), x.tolist(), [x], "a", b"a"]
    values += [
        1,
        1.0,
        True,
        "1",
        None,
        [],
        {},
        [1, [2]],
        [[1], 2],
        Setting(6),
        np.array(["a", "b"], dtype=object),
    ]
    assert len({fingerprint(v) for v in values}) == len(values)
    assert fingerprint("a", "b") != fingerprint("ab")
    assert len(fingerprint()) == 32
    with pytest.raises(TypeError, match="no stable hash for set"):
        fingerprint({1, 2})


def test_whole_numbers_have_one_hash_whatever_holds_them():
    for numbers in ([], [3], [0, -7, 10**20], list(range(100))):
        kept = [np.int64(x) if abs(x) < 2**63 else x for x in numbers]
        assert fingerprint(numbers) == fingerprint(tuple(kept)) == fingerprint(tuple(numbers))
    assert fingerprint([1, 23]) != fingerprint([12, 3])
    assert fingerprint([1, 0]) != fingerprint([True, False])


def test_a_hash_is_the_same_in_another_process():
    code = "from recsim_gen.core.store import fingerprint; print(fingerprint({'b': 'ä', 'a': [1.5, None]}))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == fingerprint({"a": [1.5, None], "b": "ä"})


def stop_half_way(path: Path, inside: str = "") -> None:
    """Begin a file, or a folder with a file ``inside``, and be interrupted."""
    with atomic(path) as temporary:
        if inside:
            temporary.mkdir()
        (temporary / inside).write_text("half")
        raise KeyboardInterrupt


def test_a_failed_write_leaves_what_was_there(tmp_path):
    write_json(tmp_path / "deep" / "x.json", {"ä": 1})
    whole = (tmp_path / "deep" / "x.json").read_bytes()
    for path in (tmp_path / "deep" / "x.json", tmp_path / "deep" / "new.json"):
        with pytest.raises(KeyboardInterrupt):
            stop_half_way(path)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.json"]
    assert (tmp_path / "deep" / "x.json").read_bytes() == whole
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "nothing"):
        pass


def test_a_folder_takes_the_place_of_a_full_one(tmp_path):
    for content in ("old", "new"):
        with atomic(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
        assert [p.name for p in (tmp_path / "folder").iterdir()] == [content]
    with pytest.raises(KeyboardInterrupt):
        stop_half_way(tmp_path / "folder", "half")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_writer_killed_outright_leaves_nothing_under_the_name(tmp_path):
    code = """
import os, signal, sys
from recsim_gen.core.store import atomic
with atomic(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "x").exists()


def test_the_cache_makes_once_and_keeps_the_bits(apart):
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return np.array([[0.1, np.inf]], dtype=np.float32)

    one, again = cached_array("kind", "a", make), cached_array("kind", "a", make)
    assert len(made) == 1
    assert one.tobytes() == again.tobytes()
    assert again.dtype == np.float32
    cached_array("kind", "b", make)
    cached_array("other", "a", make)
    assert len(made) == 3
    assert list(apart.iterdir()) == []
    assert sorted(p.name for p in cache_dir().rglob("*.npy")) == ["a.npy", "a.npy", "b.npy"]


def test_what_failed_to_be_made_is_not_kept(apart):
    def fail() -> np.ndarray:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached_array("kind", "a", fail)
    assert cached_array("kind", "a", lambda: np.ones(2)).tolist() == [1, 1]
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        cached_array("kind", "c", lambda: np.array([{}]))  # a pickle is never written
    assert not (cache_dir() / "kind" / "c.npy").exists()
    assert not list(Path(cache_dir()).rglob("*.part"))


def test_a_broken_file_of_the_cache_is_named_with_its_remedy(apart):
    cached_array("kind", "a", lambda: np.ones(99))
    path = cache_dir() / "kind" / "a.npy"
    whole = path.read_bytes()
    for content in (whole[:200], whole[:5], b"", b"no array"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npy: must be a cached array, got a broken file .*Delete it"):
            cached_array("kind", "a", lambda: np.ones(99))
