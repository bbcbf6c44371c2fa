"""Each call that changes the file system fails, or ends its process: the old content or the new, and whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import RetinaFaceError
from tests.support.faults import compile_faults, every_call
from tests.support.faults.every_call import FAULTS, NAMES, NEW, OLD, REFUSED, WRITERS

Try = tuple[str, str, int, Path, int]


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Try]]:
    """The writer, the fault, which call it hit, the folder, and how the process ended."""
    library = compile_faults(tmp_path_factory.mktemp("library"))
    in_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # hundreds of writes that wait for a disk take long
    with tempfile.TemporaryDirectory(dir=in_memory) as root:
        command = [sys.executable, "-m", every_call.__name__, root]
        done = subprocess.run(
            command, env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        lines = map(json.loads, done.stdout.splitlines())
        yield [(writer, fault, at, Path(folder), status) for writer, fault, at, folder, status in lines]


def read(writer: str, folder: Path) -> dict[str, bytes]:
    """Read as a reader does who knows what belongs together."""
    if writer == "alone":
        return {NAMES[0]: (folder / NAMES[0]).read_bytes()}
    files = every_call.files_in(folder)

    def attempt() -> dict[str, bytes]:
        contents = {name: files.locate(folder / name).read_bytes().removeprefix(name.encode()) for name in NAMES}
        if len(set(contents.values())) > 1:
            raise RetinaFaceError("a mixture")
        return contents

    return files.read(attempt)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_old_or_new_and_nothing_left(tries: list[Try], writer: str, fault: str) -> None:
    own = [entry for entry in tries if entry[:2] == (writer, fault)]
    # One file: unlink, open, write, fsync, rename. Three: a folder, three files, two renames and more, removals.
    assert len(own) >= (4 if writer == "alone" else 16)
    seen = set()
    for _, _, at, folder, status in own:
        message = folder / "message"
        if fault == "killed":
            assert status == -signal.SIGKILL
        else:
            assert status in (0, REFUSED)
        if status == REFUSED:
            text = message.read_text()
            assert str(folder / "a.") in text or str(folder / ".a.") in text, text
            assert any(reason in text for reason in ("No space left", "Input/output error", "Interrupted")), text
            message.unlink()
            if text.startswith(("mkdir: ", "open64: ", "write: ")) and "from there on" not in fault:
                assert {path.name for path in folder.iterdir()} == set(read(writer, folder)), (at, text)
        found = set(read(writer, folder).values())
        assert found in ({OLD}, {NEW}), (at, found)
        seen |= found
        if status == 0:
            assert found == {NEW}, at
        WRITERS[writer](folder, b"later")
        assert set(read(writer, folder).values()) == {b"later"}
        assert {path.name for path in folder.iterdir()} == set(read(writer, folder)), at
    assert OLD in seen
