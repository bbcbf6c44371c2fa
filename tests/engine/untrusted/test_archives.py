"""Zip archives that unpack to more than they say, or to other things for another reader."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InvalidArgumentError
from engine.untrusted import archives
from engine.untrusted.archives import open_archive, read_arrays, unpacked
from tests.support.memory import at_most_more


def _archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_stay_the_same_and_are_stored(rng: np.random.Generator, method: int) -> None:
    members = {f"folder/{n}": rng.bytes(int(rng.integers(0, 9000))) for n in range(9)}
    with zipfile.ZipFile(unpacked(_archive(members, method), 1 << 20)) as again:
        assert {name: again.read(name) for name in again.namelist()} == members
        assert {member.compress_type for member in again.infolist()} == {zipfile.ZIP_STORED}


def test_the_limit_counts_what_is_unpacked() -> None:
    content = _archive({"a": bytes(3000), "b": bytes(1000)}, zipfile.ZIP_DEFLATED)
    assert len(content) < 500
    open_archive(content, 4000)
    with pytest.raises(InvalidArgumentError, match="unpacks to"):
        open_archive(content, 3999)


def test_a_member_that_says_less_than_it_holds_gives_no_more() -> None:
    content = bytearray(_archive({"a": bytes(50 << 20)}, zipfile.ZIP_DEFLATED))
    at = content.rindex(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", 1000)
    with at_most_more(32 << 20), pytest.raises(InvalidArgumentError, match="is damaged"):  # its checksum is another
        unpacked(bytes(content), 4000)


def test_many_entries_for_the_same_data_count_each() -> None:
    """As in bombs whose members overlap."""
    data = _archive({"a": bytes(9000)}, zipfile.ZIP_DEFLATED)
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entries = b"".join(data[start : end - 1] + bytes([98 + n]) for n in range(20))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 20, 20, len(entries), start, 0)
    with pytest.raises(InvalidArgumentError, match="unpacks to"):
        open_archive(data[:start] + entries + tail, 100_000)


def test_what_is_not_a_plain_archive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _archive({"a": b"text" * 50})
    for content in (b"", b"PK", b"text", whole[:-1], whole[:40]):
        with pytest.raises(InvalidArgumentError, match="is no zip archive, or damaged"):
            open_archive(content, 1 << 20)
    with pytest.raises(InvalidArgumentError, match="is damaged"):
        unpacked(whole.replace(b"text", b"tent", 1), 1 << 20)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(InvalidArgumentError, match="packed in a way that is not expected"):
            open_archive(_archive({"a": bytes(9)}, method), 1 << 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twice = io.BytesIO()
        with zipfile.ZipFile(twice, "w") as archive:
            archive.writestr("a", b"1")
            archive.writestr("a", b"2")
    with pytest.raises(InvalidArgumentError, match="two members of one name"):
        open_archive(twice.getvalue(), 1 << 20)
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 3 * 47)  # an entry has 46 bytes and its name
    open_archive(_archive(dict.fromkeys("abc", bytes(1000))), 1 << 20)
    with pytest.raises(InvalidArgumentError, match="claims a directory of 188 bytes, expected at most 141"):
        open_archive(_archive(dict.fromkeys("abcd", b"")), 1 << 20)


def test_arrays(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    path, arrays = tmp_path / "a.npz", {"x": rng.normal(size=(3, 4)), "y": np.array("text")}
    np.savez(path, x=arrays["x"], y=arrays["y"])
    read = read_arrays(path)
    assert read.keys() == arrays.keys()
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_arrays(path)
    monkeypatch.setattr(archives, "MAX_ARRAYS_BYTES", 1 << 20)
    np.savez_compressed(path, x=np.zeros(2 << 20))
    with pytest.raises(InvalidArgumentError, match="unpacks to 16 MiB, expected at most 1 MiB"):
        read_arrays(path)
