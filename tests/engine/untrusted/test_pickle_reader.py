"""Pickles are read as Python's unpickler reads them where they are plain, and never executed."""

from __future__ import annotations

import argparse
import collections
import decimal
import gc
import math
import os
import pickle
import pickletools
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidArgumentError
from engine.untrusted.limits import MAX_PICKLE_OPERATIONS
from engine.untrusted.pickle_reader import Foreign, Global, PickleReader
from tests.support.memory import at_most_more

PROTOCOLS = range(2, 6)
START = b"\x80\x02"

SCALARS = st.none() | st.booleans() | st.integers(-(1 << 80), 1 << 80) | st.floats(allow_nan=False) | st.text()
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text(), inner)
        | st.dictionaries(st.text(), inner).map(OrderedDict)
    ),
)


def read(content: bytes) -> Any:
    """Read one pickle that refers to nothing outside itself."""
    reader = PickleReader(content, {}, lambda reference: Foreign("outside"))
    value = reader.read()
    assert reader.at <= len(content)
    return value


def outcome(content: bytes) -> Any:
    """Return what a pickle holds, or the refusal."""
    try:
        return read(content)
    except InvalidArgumentError as error:
        return error


@given(PLAIN, st.sampled_from(PROTOCOLS))
def test_plain_values_are_what_pickle_reads(value: object, protocol: int) -> None:
    content = pickle.dumps(value, protocol)
    found = read(content)
    # By their text too, which tells a tuple from a list and True from 1; here an OrderedDict is a dict.
    assert found == pickle.loads(content)
    assert repr(found) == repr(_dicts(value))


def _dicts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _dicts(item) for key, item in value.items()}
    return type(value)(map(_dicts, value)) if isinstance(value, list | tuple) else value


def test_bytes() -> None:
    """Protocol 2 has none: it writes how to encode a text."""
    for value in (b"", b"x" * 9, bytes(range(256)) * 2):
        assert [read(pickle.dumps(value, protocol)) for protocol in (3, 4, 5)] == [value] * 3
    assert read(pickle.dumps(bytearray(b"x"), 5)) == b"x"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_shared_stays_one_object(protocol: int) -> None:
    inner: list[object] = ["text"]
    inner.append(inner)
    found = read(pickle.dumps({"a": inner, "b": (inner, inner)}, protocol))
    assert found["a"] is found["b"][0] is found["b"][1] is found["a"][1]


class Own:
    """An object with attributes, of a class with a method that an unpickler calls."""

    def __init__(self) -> None:
        self.attribute = ["text"] * 9

    def __setstate__(self, state: object) -> None:
        raise AssertionError("executed")


class Listing(list[int]):
    """A list of another class."""


FOREIGN = {
    "argparse.Namespace": argparse.Namespace(lr=0.1, names=["a"]),
    "collections.defaultdict": collections.defaultdict(list, a=[1]),
    "collections.Counter": collections.Counter("text"),
    "collections.deque": collections.deque([1, 2]),
    "decimal.Decimal": decimal.Decimal(1),
    "numpy._core.multiarray.scalar": np.float64(0.2),
    "numpy.dtype": np.dtype("f4"),
    "numpy._core.multiarray._reconstruct": np.arange(9),
    f"{__name__}.Own": Own(),
    f"{__name__}.Listing": Listing([1, 2]),
}
SETS = {"set": {1, 2}, "frozenset": frozenset((1, 2))}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", FOREIGN)
def test_other_objects_are_their_names(name: str, protocol: int) -> None:
    found = read(pickle.dumps({"before": 1, "object": FOREIGN[name], "after": [FOREIGN[name], "text"]}, protocol))
    assert list(found) == ["before", "object", "after"]
    assert type(found["object"]) is Foreign
    if not (name.startswith("numpy._core") and str(found["object"]).startswith("numpy._core.numeric")):  # of protocol 5
        assert str(found["object"]) == name
    assert found["after"][1] == "text"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", SETS)
def test_sets_and_classes_are_their_names(name: str, protocol: int) -> None:
    found = read(pickle.dumps([SETS[name], Own, os.getcwd], protocol))
    assert str(found[0]) in (name, f"builtins.{name}", f"__builtin__.{name}")
    assert type(found[1]) is type(found[2]) is Global
    assert str(found[1]) == f"{__name__}.Own"


def test_only_texts_are_keys() -> None:
    """A tuple's hash recurses, and numbers whose hashes are equal can be made."""
    found = read(pickle.dumps({1: "a", (2, "b"): "c", None: "d", "e": "f"}))
    assert found["e"] == "f"
    assert [str(key) for key in found] == ["int", "tuple", "NoneType", "e"]
    assert list(found.values()) == ["a", "c", "d", "f"]


def test_nothing_is_executed_or_imported(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    for protocol in PROTOCOLS:
        assert str(read(pickle.dumps(Runs(), protocol))) in ("posix.mkdir", "nt.mkdir")
    assert str(read(START + b"cthis\nmodule\n)R.")) == "this.module"
    assert not (tmp_path / "made").exists()


def test_python_2_s_pickles() -> None:
    items = START + b"ccollections\nOrderedDict\n](](U\1aK\1e](U\1bK\2ee\x85R."
    assert pickle.loads(items) == read(items) == {"a": 1, "b": 2}
    assert read(START + b"T\2\0\0\0\xff\xfe.") == b"\xff\xfe"


def test_several_pickles_follow_each_other() -> None:
    content = pickle.dumps(7, 2) + pickle.dumps(["a"], 5) + b"rest"
    reader = PickleReader(content, {}, str)
    assert (reader.read(), reader.read(), content[reader.at :]) == (7, ["a"], b"rest")


def test_numbers_of_thousands_of_digits_are_not_numbers() -> None:
    assert str(read(pickle.dumps(1 << 2040))) == "int"
    assert read(pickle.dumps(-(1 << 2030))) == -(1 << 2030)


N = MAX_PICKLE_OPERATIONS
TEXT = b"X\1\0\0\0aq\0"
HOSTILE = {
    "nested tuples": START + b")" + b"\x85" * (N - 9) + b".",
    "nested lists": START + b"]" * (N // 2 - 9) + b"a" * (N // 2 - 10) + b".",
    "nested dicts": START + TEXT + b"}h\0" * (N // 3 - 9) + b"}" + b"s" * (N // 3 - 9) + b".",
    "marks": START + b"(" * (N - 9) + b".",
    "tuples of tuples": START + b")q\0" + b"h\0h\0\x86q\0" * (N // 4 - 9) + b".",
    "a tuple of tuples as a key": START + b")q\0" + b"h\0h\0\x86q\0" * 9000 + b"}h\0Ns.",
    "dicts": START + TEXT + b"(" + b"}h\0Ns" * (N // 4 - 9) + b"e.",
    "ordered dicts of one list": START
    + b"](" + b"](NNe" * 9000 + b"eq\0ccollections\nOrderedDict\nq\1" + b"h\1h\0\x85R" * 90_000 + b".",
    "numbers with one hash": START
    + b"}(" + b"".join(b"\x8a\x0a" + (i * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for i in range(N // 2 - 9))
    + b"u.",
    "long names": START
    + b"X\0\0\x70\0" + b"x" * (7 << 20) + b"q\0(" + b"h\0h\0\x93" * (N // 3 - 9) + b"t.",
    "a number of many digits": START + b"\x8b\0\0\x70\0" + b"x" * (7 << 20) + b"q\0}" + b"h\0Ns" * (N // 3 - 9) + b".",
    "one argument list": START + b"(" + b"N" * 90_000 + b"tq\0cos\nsystem\nq\1" + b"h\1h\0R" * 90_000 + b".",
    "no end": START + b"N0" * N,
    "a size behind the end": START + b"B\xff\xff\xff\xff.",
    "an index": START + b"Nr\xff\xff\xff\xffj\xff\xff\xff\xff.",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_take_little_time_and_memory(name: str) -> None:
    """They are read or refused in less than a second of one core, in memory that is some times their own."""
    times = []
    gc.collect()
    gc.freeze()  # Python's collector would go through what other tests left
    for _ in range(3):  # a core that does other things too is slower
        began = time.process_time()
        with at_most_more(256 << 20):
            found = outcome(HOSTILE[name])
        assert not isinstance(found, Exception) or "has a pickle" in str(found)
        del found
        times.append(time.process_time() - began)
    gc.unfreeze()
    assert min(times) < 1


def test_the_number_of_operations_is_bounded_in_all_pickles_together() -> None:
    half = START + b"N0" * (N // 4 - 1) + b"N."
    reader = PickleReader(half * 3, {}, str)
    assert reader.read() is reader.read() is None
    with pytest.raises(InvalidArgumentError, match="has a pickle of more than 400,000 operations"):
        reader.read()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_cut_and_every_changed_byte_is_refused_or_read(protocol: int, rng: np.random.Generator) -> None:
    whole = pickle.dumps([OrderedDict(a=1.5, b=(True, None, "é", b"x", 1 << 70)), {3}, FOREIGN], protocol)
    read(whole)
    for end in range(len(whole)):
        with pytest.raises(InvalidArgumentError, match=r"has a pickle that is damaged near byte \d+"):
            read(whole[:end])
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] = rng.integers(256)
        found = outcome(bytes(changed))
        assert not isinstance(found, Exception) or "has a pickle" in str(found)


def test_operations_that_pytorch_does_not_write_are_refused() -> None:
    known = {code.code for code in pickletools.opcodes}
    assert len(known) > 60
    for code in map(chr, range(256)):
        content = START + b"(NNNN" + code.encode("latin-1") + bytes(9)
        if code not in known or code in "IFLSVdiloPgp\x82\x83\x84\x97\x98":
            with pytest.raises(InvalidArgumentError, match=r"damaged near byte 8"):
                read(content)
    for version in (0, 1, 6, 255):
        with pytest.raises(InvalidArgumentError, match="damaged near byte 2"):
            read(b"\x80" + bytes([version]) + b"N.")


@pytest.mark.parametrize(
    "wrong",
    [b"]NNs.", b"NNa.", b"(NNe.", b"}(Nu.", b"NN(e.", b")NR.", b"NNR.", b"cos\na\nNR.", b"b.", b"Nb.", b"NN\x93."],
)
def test_operations_on_wrong_objects_are_refused(wrong: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="damaged near byte"):
        read(START + wrong)


def test_numbers_keep_their_bits() -> None:
    for value in (-0.0, math.inf, 5e-324):
        assert math.copysign(1, read(pickle.dumps(value))) == math.copysign(1, value)
    assert math.isnan(read(pickle.dumps(math.nan)))
