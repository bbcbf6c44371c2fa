"""Pictures and files of pictures below a folder, in parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import InvalidArgumentError
from engine.rows import find_source


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_pictures_are_divided_in_the_order_of_their_names(tmp_path: Path) -> None:
    _touch(tmp_path, "b.jpg", "a/z.png", "c.JPG", "a/a.png", "notes.txt")
    source = find_source(tmp_path, 3)
    assert (source.kind, source.folder) == ("pictures", tmp_path)
    assert source.parts == (("a/a.png", "a/z.png", "b.jpg"), ("c.JPG",))
    _touch(tmp_path, "a-b/c.png")
    assert find_source(tmp_path, 2).parts[0] == ("a-b/c.png", "a/a.png")  # as texts, as rows are sorted, not as paths
    (tmp_path / "a-b/c.png").unlink()
    assert find_source(tmp_path, 4).parts == (("a/a.png", "a/z.png", "b.jpg", "c.JPG"),)


@pytest.mark.parametrize(("suffix", "kind"), [("parquet", "parquet"), ("tar", "webdataset")])
def test_a_file_of_pictures_is_a_part(tmp_path: Path, suffix: str, kind: str) -> None:
    _touch(tmp_path, f"1.{suffix}", f"0.{suffix}", "notes.txt")
    source = find_source(tmp_path, 1000)
    assert (source.kind, source.parts) == (kind, ((f"0.{suffix}",), (f"1.{suffix}",)))
    alone = find_source(tmp_path / f"1.{suffix}", 1000)
    assert (alone.kind, alone.folder, alone.parts) == (kind, tmp_path, ((f"1.{suffix}",),))


def test_what_cannot_be_a_source_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.tar", "empty/notes.txt")
    for path, size, words in (
        (tmp_path, 1, "files of several kinds .pictures, webdataset."),
        (tmp_path / "empty", 1, "has no pictures, .parquet or .tar files"),
        (tmp_path / "none", 1, "is not a folder"),
        (tmp_path / "a.jpg", 1, "is a file, expected a folder of pictures, or a .parquet or .tar file"),
        (tmp_path, 0, "part_size is 0"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            find_source(path, size)


def test_the_digest_tells_other_pictures_and_parts(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg")
    digests = [find_source(tmp_path, size).digest() for size in (1, 2, 2)]
    assert digests[1] == digests[2] != digests[0]
    (tmp_path / "a.jpg").write_bytes(b"longer")
    digests.append(find_source(tmp_path, 2).digest())
    _touch(tmp_path, "c.jpg")
    digests.append(find_source(tmp_path, 2).digest())
    assert len(set(digests)) == 4
