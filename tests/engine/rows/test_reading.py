"""Pictures of folders and of WebDataset's archives; tests/ray has those of Parquet files, which need PyArrow."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from engine.rows import Columns, Picture, read_pictures, reading


def _read(kind: str, folder: Path, file: str) -> list[Picture]:
    return list(read_pictures(kind, folder, file, Columns()))


def _tar(path: Path, members: dict[str, bytes], **options: str) -> None:
    with tarfile.open(path, "w", **options) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_a_picture_is_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"content")
    os.mkfifo(tmp_path / "b.jpg")
    assert _read("pictures", tmp_path, "a.jpg") == [Picture("a.jpg", b"content")]
    (gone,) = _read("pictures", tmp_path, "c.jpg")
    assert gone == Picture("c.jpg", None, "cannot be read: No such file or directory")
    (fifo,) = _read("pictures", tmp_path, "b.jpg")
    assert fifo.error is not None
    assert "it is a FIFO, expected a regular file" in fifo.error


def test_an_archive_gives_its_pictures(tmp_path: Path) -> None:
    _tar(tmp_path / "0.tar", {"2.JPG": b"two", "2.json": b"{}", "1.png": b"one", "sub/3.webp": b""})
    with tarfile.open(tmp_path / "0.tar", "a") as archive:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    assert _read("webdataset", tmp_path, "0.tar") == [
        Picture("2.JPG", b"two"),
        Picture("1.png", b"one"),
        Picture("sub/3.webp", b""),
    ]


def test_a_damaged_archive_gives_what_is_whole_and_an_error(tmp_path: Path) -> None:
    _tar(tmp_path / "0.tar", {"1.png": b"1" * 600, "2.png": b"2" * 600})
    (tmp_path / "1.tar").write_bytes((tmp_path / "0.tar").read_bytes()[: 512 + 1024 + 512 + 300])
    first, second = _read("webdataset", tmp_path, "1.tar")
    assert first == Picture("1.png", b"1" * 600)
    assert (second.name, second.content) == ("1.tar", None)
    assert second.error is not None
    assert second.error.startswith("cannot be read after 1 pictures: ")
    for name, content in (("2.tar", b"nothing" * 200), ("3.tar", b"")):
        (tmp_path / name).write_bytes(content)
        (error,) = _read("webdataset", tmp_path, name)
        assert (error.name, error.content, error.error is None) == (name, None, False)
    (missing,) = _read("webdataset", tmp_path, "4.tar")
    assert missing.error is not None


def test_a_member_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_IMAGE_BYTES", 700)
    _tar(tmp_path / "0.tar", {"1.png": b"1" * 701, "2.png": b"2" * 700})
    first, second = _read("webdataset", tmp_path, "0.tar")
    assert first == Picture("1.png", None, "has 701 bytes, expected at most 700")
    assert second == Picture("2.png", b"2" * 700)
