"""Zip archives that unpack to more than they say, or to other things for another reader."""

from __future__ import annotations

import io
import math
import struct
import tempfile
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidArgumentError
from engine.untrusted import archives
from engine.untrusted.archives import Archive, read_arrays
from tests.support.memory import at_most_more


def _archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_what_zipfile_reads(rng: np.random.Generator, method: int) -> None:
    members = {f"folder/{n}": rng.bytes(int(rng.integers(0, 9000))) for n in range(9)}
    content = rng.bytes(100) + _archive(members, method)  # zipfile finds an archive behind other bytes too
    archive = Archive(content, 1 << 20)
    assert archive.members.keys() == members.keys()
    for name, expected in members.items():
        assert archive.unpack(name).tobytes() == expected
        place = archive.place(name)
        assert (place is None) == (method == zipfile.ZIP_DEFLATED)
        assert place is None or content[place] == expected


def test_the_limit_counts_what_is_unpacked() -> None:
    content = _archive({"a": bytes(3000), "b": bytes(1000)}, zipfile.ZIP_DEFLATED)
    assert len(content) < 500
    Archive(content, 4000)
    with pytest.raises(InvalidArgumentError, match="unpacks to"):
        Archive(content, 3999)


@pytest.mark.parametrize("claimed", [1000, 51 << 20])
def test_a_member_that_holds_more_or_less_than_it_says_is_refused(claimed: int) -> None:
    content = bytearray(_archive({"a": bytes(50 << 20)}, zipfile.ZIP_DEFLATED))
    at = content.rindex(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", claimed)
    with at_most_more(claimed + (32 << 20)), pytest.raises(InvalidArgumentError, match="is damaged"):
        Archive(bytes(content), 1 << 30).unpack("a")


def _directory(content: bytes) -> tuple[bytes, list[bytes]]:
    """Split an archive in what is before its directory, and the directory's entries."""
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    return content[:start], [b"PK\x01\x02" + entry for entry in content[start:end].split(b"PK\x01\x02")[1:]]


def _joined(data: bytes, entries: list[bytes]) -> bytes:
    directory = b"".join(entries)
    return (
        data
        + directory
        + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *[len(entries)] * 2, len(directory), len(data), 0)
    )


@pytest.mark.parametrize("offset", [0, 1, 2000, -1, 1 << 31, (1 << 32) - 1])
def test_members_that_overlap_or_lie_elsewhere_are_refused(offset: int) -> None:
    data, entries = _directory(_archive({"a": bytes(900), "b": bytes(900)}))
    Archive(_joined(data, entries), 1 << 20)
    moved = entries[1][:42] + struct.pack("<I", offset % (1 << 32)) + entries[1][46:]
    with pytest.raises(InvalidArgumentError, match=r"is no zip archive|is damaged: '[ab]' is not where it should be"):
        Archive(_joined(data, [entries[0], moved]), 1 << 20)


@pytest.mark.parametrize("sizes", [(899, 900), (900, 899), (1 << 31, 1 << 31)])
def test_a_stored_member_of_another_size_is_refused(sizes: tuple[int, int]) -> None:
    data, (entry,) = _directory(_archive({"a": bytes(900)}))
    changed = entry[:20] + struct.pack("<II", *sizes) + entry[28:]
    with pytest.raises(InvalidArgumentError, match="is damaged: 'a' has another size"):
        Archive(_joined(data, [changed]), 1 << 32)


def test_sizes_of_zip64_count() -> None:
    """Members of a few bytes whose sizes are written with 64 bits, as those of large ones; then lies."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive, archive.open("a", "w", force_zip64=True) as file:
        file.write(b"text")
    assert Archive(content.getvalue(), 9).unpack("a").tobytes() == b"text"
    data, (entry,) = _directory(content.getvalue())
    for size in (1 << 40, (1 << 64) - 1):
        extra = struct.pack("<HHQQ", 1, 16, size, size)
        lying = entry[:20] + b"\xff" * 8 + entry[28:30] + struct.pack("<H", len(extra)) + entry[32:47] + extra
        with pytest.raises(InvalidArgumentError, match="unpacks to"):
            Archive(_joined(data, [lying]), 1 << 31)


def test_many_entries_for_the_same_data_count_each() -> None:
    """As in bombs whose members overlap."""
    data = _archive({"a": bytes(9000)}, zipfile.ZIP_DEFLATED)
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entries = b"".join(data[start : end - 1] + bytes([98 + n]) for n in range(20))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 20, 20, len(entries), start, 0)
    with pytest.raises(InvalidArgumentError, match="unpacks to"):
        Archive(data[:start] + entries + tail, 100_000)


def test_what_is_not_a_plain_archive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _archive({"a": b"text" * 50})
    for content in (b"", b"PK", b"text", whole[:-1], whole[:40]):
        with pytest.raises(InvalidArgumentError, match="is no zip archive, or damaged"):
            Archive(content, 1 << 20)
    with pytest.raises(InvalidArgumentError, match="is damaged"):
        Archive(whole.replace(b"text", b"tent", 1), 1 << 20).unpack("a")
    encrypted = bytearray(whole)
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidArgumentError, match="packed in a way that is not expected"):
        Archive(bytes(encrypted), 1 << 20)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(InvalidArgumentError, match="packed in a way that is not expected"):
            Archive(_archive({"a": bytes(9)}, method), 1 << 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twice = io.BytesIO()
        with zipfile.ZipFile(twice, "w") as archive:
            archive.writestr("a", b"1")
            archive.writestr("a", b"2")
    with pytest.raises(InvalidArgumentError, match="two members of one name"):
        Archive(twice.getvalue(), 1 << 20)
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 3 * 47)  # an entry has 46 bytes and its name
    Archive(_archive(dict.fromkeys("abc", bytes(1000))), 1 << 20)
    with pytest.raises(InvalidArgumentError, match="claims a directory of 188 bytes, expected at most 141"):
        Archive(_archive(dict.fromkeys("abcd", b"")), 1 << 20)


KINDS = ["f2", "f4", "f8", ">f4", "i1", "u2", "i8", "?", "c8", "U5"]


@given(st.sampled_from(KINDS), st.lists(st.integers(0, 4), max_size=4), st.booleans(), st.booleans())
def test_arrays_are_read_as_numpy_reads_them(kind: str, shape: list[int], transposed: bool, packed: bool) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(kind)
    arrays = {"a/b": array.T if transposed else array, "text": np.array("é")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.npz")
        save: Any = np.savez_compressed if packed else np.savez
        save(path, **arrays)
        read = read_arrays(path)
    assert read.keys() == arrays.keys()
    for name, expected in arrays.items():
        assert read[name].dtype == expected.dtype
        assert read[name].flags.writeable
        np.testing.assert_array_equal(read[name], expected, strict=True)


@pytest.mark.parametrize("header", [b"{" + b" " * 9000 + b"'\n", b"{'a':1," + b" " * 9000 + b"\0}\n"])
def test_a_header_that_numpy_would_mend_takes_no_time(tmp_path: Path, header: bytes) -> None:
    """NumPy takes 30 seconds for these."""
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    path = tmp_path / "a.npz"
    path.write_bytes(_archive({"x.npy": array}))
    began = time.process_time()
    with pytest.raises(InvalidArgumentError, match=r"has 'x.npy', which is no array of numbers or text"):
        read_arrays(path)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("shape", ["(4,)", "(2,)", "(1000000000000, 1000000)", "()"])
def test_a_shape_that_is_not_that_of_the_values_takes_no_memory(tmp_path: Path, shape: str) -> None:
    stream = io.BytesIO()
    np.save(stream, np.arange(3.0))
    changed = stream.getvalue().replace(b"(3,), }".ljust(3 + len(shape)), f"{shape}, }}".encode().ljust(7))
    path = tmp_path / "a.npz"
    path.write_bytes(_archive({"x.npy": changed}))
    with (
        at_most_more(16 << 20),
        pytest.raises(InvalidArgumentError, match=r"'x.npy' of \d+ bytes, expected [\d,]+"),
    ):
        read_arrays(path)


def test_arrays(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    path, arrays = tmp_path / "a.npz", {"x": rng.normal(size=(3, 4)), "y": np.array("text")}
    np.savez(path, x=arrays["x"], y=arrays["y"])
    read = read_arrays(path)
    assert read.keys() == arrays.keys()
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(InvalidArgumentError, match=r"has 'x.npy', which is no array of numbers or text"):
        read_arrays(path)
    monkeypatch.setattr(archives, "MAX_ARRAYS_BYTES", 1 << 20)
    np.savez_compressed(path, x=np.zeros(2 << 20))
    with pytest.raises(InvalidArgumentError, match="unpacks to 16,777,344 bytes, expected at most 1,048,576"):
        read_arrays(path)
