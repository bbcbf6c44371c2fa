"""One file: what is in its way, signals, what earlier writers left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.errors import OutputError
from engine.writing import FilesTogether, write_file


def test_the_error_names_the_file_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OutputError, match=re.escape(f"cannot write {path}: there is a folder of that name")):
        write_file(path, b"content")
    with pytest.raises(OutputError, match=re.escape(f"cannot write {tmp_path / 'none'}: No such file or directory")):
        write_file(tmp_path / "none" / "file", b"content")


@pytest.mark.parametrize("length", [200, 248, 249, 250, 255])
def test_every_name_that_the_disk_takes_is_written(tmp_path: Path, length: int) -> None:
    for name in ("a" * length, "é" * (length // 2) + "e" * (length % 2)):
        write_file(tmp_path / name, b"content")
        files = [tmp_path / f"{kind}{name[1:-2]}" for kind in "xyz"]
        FilesTogether(*files).write(dict.fromkeys(files, b"several"))
        assert (tmp_path / name).read_bytes() == b"content"
        assert all(file.read_bytes() == b"several" for file in files)
    assert len([*tmp_path.iterdir()]) == 8
    with pytest.raises(OutputError, match="File name too long"):
        write_file(tmp_path / ("a" * 256), b"content")


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A rename would put a file in the place of /dev/null."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OutputError, match="there is a device, FIFO or socket of that name"):
        write_file(path, b"content")
    assert path.is_fifo()
    assert [*tmp_path.iterdir()] == [path]


def test_what_a_killed_writer_left_is_replaced_not_followed(tmp_path: Path) -> None:
    """Others may write to a shared folder: a link of the copy's name must not lead the content elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"theirs")
    (tmp_path / ".a.part").symlink_to(elsewhere)
    write_file(tmp_path / "a", b"content")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"content", "elsewhere": b"theirs"}


def test_a_link_is_replaced_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "a").symlink_to("target")
    write_file(tmp_path / "a", b"new")
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"old"


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_a_signal_while_files_are_written_waits(tmp_path: Path, signal: str) -> None:
    """After the first of several renames: the others follow, then the signal acts."""
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from engine.writing import FilesTogether\n"
        "from retinaface_trt.interrupts import end_on_signals\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"  # background jobs of a shell ignore it
        "end_on_signals('test')\n"
        "replace = os.replace\n"
        f"os.replace = lambda a, b: (replace(a, b), os.kill(os.getpid(), signal.{signal}))\n"
        "paths = [Path(name) for name in 'abc']\n"
        "FilesTogether(*paths).write(dict.fromkeys(paths, b'1'))\n"
        "Path('late').touch()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == {"SIGINT": 130, "SIGTERM": 143}[signal], done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_threads_write_one_file_in_turn(tmp_path: Path) -> None:
    contents = [bytes([i]) * 100_000 for i in range(8)]
    threads = [threading.Thread(target=write_file, args=(tmp_path / "a", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_bytes() in contents
    assert os.listdir(tmp_path) == ["a"]
