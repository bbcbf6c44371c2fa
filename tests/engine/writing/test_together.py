"""Several files: what readers see during a write and after a killed one."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from engine.errors import OutputError, RetinaFaceError
from engine.writing import FilesTogether

NAMES = ("network", "sidecar", "engine")
JOURNAL = ".engine.new"


def files_in(folder: Path) -> FilesTogether:
    return FilesTogether(*(folder / name for name in NAMES))


def write(folder: Path, content: bytes) -> None:
    files_in(folder).write({folder / name: content for name in NAMES})


def read(folder: Path, *, pause_s: float = 0) -> bytes:
    """Return the content of all of them; RetinaFaceError if they differ."""
    files = files_in(folder)

    def attempt() -> bytes:
        contents = set()
        for name in NAMES:
            contents.add(files.locate(folder / name).read_bytes())
            time.sleep(pause_s)
        if len(contents) > 1:
            raise RetinaFaceError(f"a mixture of {contents}")
        return contents.pop()

    return files.read(attempt)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def killed_after(folder: Path, renames: int) -> None:
    """Leave what a writer leaves that is killed after so many renames: the first puts the journal in its place."""
    write(folder, b"old")
    (folder / JOURNAL).mkdir()
    for name in NAMES:
        (folder / JOURNAL / name).write_bytes(b"new")
    for name in NAMES[: renames - 1]:
        (folder / JOURNAL / name).replace(folder / name)


@pytest.mark.parametrize("renames", [1, 2, 3, 4])
def test_a_reader_finishes_what_a_killed_writer_began(tmp_path: Path, renames: int) -> None:
    killed_after(tmp_path, renames)
    assert read(tmp_path) == b"new"
    assert names_in(tmp_path) == set(NAMES)
    assert {(tmp_path / name).read_bytes() for name in NAMES} == {b"new"}


@pytest.mark.parametrize("renames", [1, 2, 3, 4])
def test_a_reader_that_may_not_write_reads_the_journal(
    tmp_path: Path, renames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(tmp_path, renames)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("replace", "rmdir", "unlink", "mkdir"):
        monkeypatch.setattr(os, name, refuse)
    assert read(tmp_path) == b"new"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_next_writer_finishes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a write that fails leaves the files of the last one that did not."""
    killed_after(tmp_path, 2)
    mkdir = Path.mkdir
    monkeypatch.setattr(Path, "mkdir", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path, b"newest")
    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert {(tmp_path / name).read_bytes() for name in NAMES} == {b"new"}
    assert names_in(tmp_path) == set(NAMES)


def test_only_its_own_files_leave_a_journal(tmp_path: Path) -> None:
    """A folder from elsewhere may hold a journal with more in it."""
    killed_after(tmp_path, 1)
    (tmp_path / JOURNAL / "sitecustomize.py").write_text("raise SystemExit")
    assert read(tmp_path) == b"new"
    assert names_in(tmp_path) == set(NAMES)


def test_a_file_that_cannot_be_replaced_leaves_the_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one of another user in a folder where only owners may remove files."""
    write(tmp_path, b"old")
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if target.name == NAMES[0]:
            raise PermissionError(1, "Operation not permitted")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match=r"cannot write .*engine: Operation not permitted"):
        write(tmp_path, b"new")
    assert read(tmp_path) == b"old"
    assert names_in(tmp_path) == set(NAMES)


def test_readers_beside_writers_get_whole_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers and slow renames: most reads see files being replaced."""
    replace = os.replace

    def slowly(source: Path, target: Path) -> None:
        time.sleep(0.004)
        replace(source, target)

    monkeypatch.setattr(os, "replace", slowly)
    write(tmp_path, b"0")
    finished = threading.Event()

    def write_many(first: int) -> None:
        for version in range(first, 30, 2):
            write(tmp_path, b"%d" % version)
        finished.set()

    writers = [threading.Thread(target=write_many, args=(first,)) for first in (1, 2)]
    for writer in writers:
        writer.start()
    seen = set()
    while not finished.is_set():
        seen.add(read(tmp_path, pause_s=0.001))
    for writer in writers:
        writer.join()
    assert len(seen) > 3
    assert names_in(tmp_path) == set(NAMES)
    assert read(tmp_path) in (b"28", b"29")


def test_the_disk_has_all_that_a_crash_would_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies and their folder before the rename that makes them count; that rename before an old file goes."""
    log: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        log.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).relative_to(tmp_path)}")
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        log.append(f"rename {source.relative_to(tmp_path)} {target.relative_to(tmp_path)}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write(tmp_path, b"new")
    assert log == [
        *(f"sync {JOURNAL}.part/{name}" for name in NAMES),
        f"sync {JOURNAL}.part",
        f"rename {JOURNAL}.part {JOURNAL}",
        "sync .",
        *(f"rename {JOURNAL}/{name} {name}" for name in NAMES),
        "sync .",
    ]


def test_an_unfinished_copy_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, b"old")
    shutil.copytree(tmp_path, tmp_path / f"{JOURNAL}.part")
    (tmp_path / f"{JOURNAL}.part" / "engine").write_bytes(b"ne")
    assert read(tmp_path) == b"old"
    write(tmp_path, b"new")
    assert names_in(tmp_path) == set(NAMES)


def test_what_is_wrong_without_a_writer_is_raised_at_once(tmp_path: Path) -> None:
    write(tmp_path, b"old")
    (tmp_path / "sidecar").write_bytes(b"damaged")
    with pytest.raises(RetinaFaceError, match="a mixture"):
        read(tmp_path)
    (tmp_path / "sidecar").unlink()
    with pytest.raises(FileNotFoundError):
        read(tmp_path)
