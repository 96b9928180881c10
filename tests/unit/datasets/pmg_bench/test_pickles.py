"""Pickles: what Python would read of plain values is read alike, and nothing else ever is."""

import contextlib
import os
import pickle
import random
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.pmg_bench import pickle_machine
from recsim_gen.datasets.pmg_bench.pickles import MAX_DEPTH, parse, read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
REMEDY = "Nothing of it was run. Fetch the file as published; plain values and arrays are read"

text = st.text(st.characters(codec="utf-8"), max_size=20)
whole = st.integers(-(2**63), 2**63 - 1)
keys = st.one_of(whole, text, st.booleans(), st.none(), st.binary(max_size=5))
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), whole, st.floats(allow_nan=False), text, st.binary(max_size=300)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
    ),
    max_leaves=12,
)
tables = arrays.arrays(
    st.one_of(
        arrays.integer_dtypes(endianness="?"),
        arrays.unsigned_integer_dtypes(endianness="?"),
        arrays.floating_dtypes(endianness="?"),
        arrays.boolean_dtypes(),
        arrays.unicode_string_dtypes(endianness="?", max_len=4),
    ),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


class Runs:
    """What a hostile pickle does: calls a function when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Thing:
    """A class of somebody's own."""


def refusal(data):
    with pytest.raises(DataError) as caught:
        parse(data, "x.pkl")
    assert caught.value.remedy == REMEDY
    return caught.value.problem


@given(plain, st.sampled_from(PROTOCOLS))
def test_plain_values_come_out_as_python_reads_them(value, protocol):
    data = pickle.dumps(value, protocol)
    assert parse(data, "x.pkl") == pickle.loads(data) == value


@given(tables, st.sampled_from(PROTOCOLS), st.booleans())
def test_arrays_come_out_as_python_reads_them(array, protocol, fortran):
    array = np.asfortranarray(array) if fortran else array
    read = parse(pickle.dumps({1: array, "twice": [array]}, protocol), "x.pkl")
    for got in (read[1], read["twice"][0]):
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_numbers_of_numpy_become_pythons():
    value = {np.int64(7): np.float32(0.5), np.uint8(3): np.bool_(True)}
    read = parse(pickle.dumps(value), "x.pkl")
    assert read == {7: 0.5, 3: True}
    assert {type(x) for x in (*read, *read.values())} == {int, float, bool}


@pytest.mark.parametrize(
    "data",  # as numpy 2.2 writes {1: arange(6, uint8) of (1, 2, 3), 2: int64(7)}
    [
        b"\x80\x04}\x94(K\x01\x8c\x16numpy._core.multiarray\x94\x8c\x0c_reconstruct\x94\x93\x94\x8c\x05numpy"
        b"\x94\x8c\x07ndarray\x94\x93\x94K\x00\x85\x94C\x01b\x94\x87\x94R\x94(K\x01K\x01K\x02K\x03\x87\x94h"
        b"\x04\x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNNJ\xff\xff"
        b"\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\x89C\x06\x00\x01\x02\x03\x04\x05\x94t\x94bK\x02h\x01\x8c\x06"
        b"scalar\x94\x93\x94h\r\x8c\x02i8\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ"
        b"\xff\xff\xff\xffK\x00t\x94bC\x08\x07\x00\x00\x00\x00\x00\x00\x00\x94\x86\x94R\x94u.",
        b"\x80\x05}\x94(K\x01\x8c\x13numpy._core.numeric\x94\x8c\x0b_frombuffer\x94\x93\x94(\x96\x06\x00\x00"
        b"\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04\x05\x94\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02u1"
        b"\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bK\x01K"
        b"\x02K\x03\x87\x94\x8c\x01C\x94t\x94R\x94K\x02K\x07u.",
    ],
)
def test_arrays_of_numpy_2(data):
    read = parse(data, "x.pkl")
    np.testing.assert_array_equal(read[1], np.arange(6, dtype=np.uint8).reshape(1, 2, 3))
    assert read[2] == 7


def test_a_shared_array_is_one_array():
    array = np.arange(5)
    read = parse(pickle.dumps([array, array]), "x.pkl")
    assert read[0] is read[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("value", "names"),
    [
        (Runs(os.system, "touch run"), {f"{os.system.__module__}.system"}),
        (Runs(eval, "open('run', 'w')"), {"builtins.eval", "__builtin__.eval"}),
        (Runs(open, "run", "w"), {"io.open", "_io.open"}),
        (Runs(np.ndarray.tofile, np.zeros(1), "run"), {"builtins.getattr", "__builtin__.getattr"}),
        (Thing(), {f"{__name__}.Thing", "copy_reg._reconstructor"}),
        ({1: [Thing()]}, {f"{__name__}.Thing", "copy_reg._reconstructor"}),
        ({1, 2}, {"builtins.set", "__builtin__.set", r"opcode b'\x8f'"}),
        (1j, {"builtins.complex", "__builtin__.complex"}),
    ],
)
def test_whatever_asks_for_more_is_refused_and_not_run(value, names, protocol, apart):
    message = refusal(pickle.dumps(value, protocol))
    assert message.startswith("must be a pickle of plain values and arrays, got ")
    assert any(name in message for name in names)
    assert not (apart / "run").exists()


@pytest.mark.parametrize("data", [b"cos\nsystem\n(S'touch run'\ntR.", b"(S'touch run'\nios\nsystem\n."])
def test_the_oldest_ways_to_run_something(data, apart):
    refusal(data)
    assert "asks for 'os.system'" in refusal(data.replace(b"S'touch run'\n", b""))
    assert not (apart / "run").exists()


def test_a_known_name_makes_nothing_but_arrays():
    assert "broken" in refusal(pickle.dumps(Runs(np.ndarray, (10**9,))))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_array_of_objects_is_refused(protocol):
    array = np.array([{"a": 1}, "b"], dtype=object)
    assert refusal(pickle.dumps(array, protocol)) == (
        "an array of numbers or text is wanted, got one of objects"
    )


def test_an_array_of_structures_is_refused():
    assert "an array of numbers or text is wanted, got one of " in refusal(
        pickle.dumps(np.zeros(3, dtype=[("a", "i4"), ("b", "O")]))
    )


TEN_GB = 10 * 2**30


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x8e" + struct.pack("<Q", TEN_GB) + b"abc", "claims 10,737,418,240 bytes, the file has 3 left"),
        (b"\x8d" + struct.pack("<Q", TEN_GB) + b"abc", "claims 10,737,418,240 bytes"),
        (b"\x96" + struct.pack("<Q", 2**63), "claims 9,223,372,036,854,775,808 bytes"),
        (b"B\xff\xff\xff\xff", "claims 4,294,967,295 bytes"),
        (b"\x8b\xff\xff\xff\x7f", "a whole number of 64 bits is wanted, got one of 2,147,483,647 bytes"),
        (b"\x8a\x0b" + bytes(11), "a whole number of 64 bits is wanted"),
        (b"Nr\xff\xff\xff\x7f0.", "broken"),  # a memo of two thousand million places
        (b"I" + b"9" * 100_000 + b"\n.", "broken"),
    ],
)
def test_what_a_pickle_claims_is_not_allocated(data, said):
    tracemalloc.start()
    try:
        assert said in refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_an_array_that_claims_more_than_there_is():
    data = pickle.dumps(np.zeros((1, 2, 3), np.uint8), 4)
    claimed = data.replace(b"(K\x01K\x01K\x02K\x03\x87", b"(K\x01J\xff\xff\xff\x7fK\x02K\x03\x87")
    assert claimed != data
    assert refusal(claimed) == (
        "an array of shape (2147483647, 2, 3) takes 12,884,901,882 bytes, the pickle has 6"
    )


def test_what_holds_itself_or_is_too_deep_is_refused():
    circle: list = []
    circle.append(circle)
    assert "deep" in refusal(pickle.dumps(circle))
    assert "deep" in refusal(b"]" * 200_000 + b"a" * 199_999 + b".")
    assert "deep" in refusal(b")" + b"\x85" * 200_000 + b".")
    value: list = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert parse(pickle.dumps([value]), "x.pkl") == [value]


def test_a_deep_key_is_refused():
    assert refusal(b"})" + b"\x85" * 100_000 + b"Ns.") == (
        "keys of a dict must be text or numbers, got another kind"
    )


def test_shared_lists_are_looked_at_once():
    value: list = ["lol"]
    for _ in range(MAX_DEPTH - 2):
        value = [value] * 10  # 10¹⁴ ways to the text
    read = parse(pickle.dumps(value), "x.pkl")
    while isinstance(read, list):
        assert all(x is read[0] for x in read)
        read = read[0]
    assert read == "lol"


def test_a_pickle_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(pickle_machine, "MAX_STEPS", 1000)
    assert refusal(b"N0" * 10_000) == "a pickle of at most 1,000 steps is wanted, got a longer one"


def test_a_file_is_viewed_not_copied(tmp_path):
    pictures = {k: np.full((500, 500, 3), k, dtype=np.uint8) for k in range(40)}
    (tmp_path / "image_data.pkl").write_bytes(pickle.dumps(pictures))
    tracemalloc.start()
    try:
        read = read_pickle(tmp_path / "image_data.pkl")
        assert tracemalloc.get_traced_memory()[1] < 2**20  # of 30 MB
    finally:
        tracemalloc.stop()
    assert not read[7].flags.writeable
    assert all((read[k] == k).all() for k in pictures)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be opened (No such file or directory)"), (b"", "the file is empty")],
)
def test_a_file_that_is_not_there_or_empty(tmp_path, content, said):
    file = tmp_path / "captions.pkl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"captions\.pkl: ") as caught:
        read_pickle(file)
    assert said in str(caught.value)


def test_a_pickle_cut_anywhere_is_refused():
    data = pickle.dumps({1: "a", 2: ["b", "c"], 3: np.arange(4.0)})
    for end in range(len(data)):
        refusal(data[:end])


SEEDS = [
    pickle.dumps(value, protocol)
    for protocol in PROTOCOLS
    for value in (
        {1: "a poster", 2: ["red", "blue"], 3: None, 4: (1.5, True), 5: b"bytes", 6: 2**40},
        {12: np.arange(12, dtype=np.uint8).reshape(2, 2, 3), 13: np.ones(2), 14: np.array(["x"])},
        [np.int64(3), np.asfortranarray(np.eye(2)), Thing(), {"k": Runs(os.system, "touch run")}],
    )
]
OPCODES = bytes(range(256))


def mutated(draw: random.Random) -> bytes:
    """A valid or hostile pickle with some bytes changed, put in, taken out, or joined with another."""
    data = bytearray(draw.choice(SEEDS))
    for _ in range(draw.randint(1, 6)):
        place, kind = draw.randrange(len(data) + 1), draw.randrange(5)
        if kind == 0:
            data[place : place + 1] = bytes([draw.choice(OPCODES)])
        elif kind == 1:
            data[place:place] = bytes(draw.choices(OPCODES, k=draw.randint(1, 9)))
        elif kind == 2:
            del data[place : place + draw.randint(1, 12)]
        elif kind == 3:
            other = draw.choice(SEEDS)
            begin = draw.randrange(len(other))
            data[place : place + draw.randint(0, 20)] = other[begin : begin + draw.randint(1, 60)]
        else:
            begin = draw.randrange(len(data) + 1)
            data[place:place] = data[begin : begin + draw.randint(1, 30)]
    return bytes(data)


def survive(count: int, seed: int) -> int:
    """Read this many; gives how many were refused. Anything but DataError comes through."""
    draw, refused = random.Random(seed), 0
    for _ in range(count):
        try:
            parse(mutated(draw), "x.pkl")
        except DataError:
            refused += 1
    return refused


def test_broken_pickles_give_our_error_alone(apart):
    assert 2_000 < survive(5_000, seed=0) < 5_000
    assert not (apart / "run").exists()


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes_give_our_error_alone(data):
    with contextlib.suppress(DataError):
        parse(data, "x.pkl")


@pytest.mark.slow
def test_a_hundred_thousand_broken_pickles_give_our_error_alone(apart):
    assert 40_000 < survive(120_000, seed=1) < 120_000
    assert not (apart / "run").exists()
