"""The lock of a folder: the wait for it ends, by a signal or at a deadline, and names who holds it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import OutputError
from engine.writing import lock
from engine.writing.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from engine.writing.lock import locked
with locked(Path(sys.argv[1])):
    print(flush=True)
    time.sleep(60)
"""
WAIT = """
import signal, sys
from pathlib import Path
from engine.writing import write_file
from retinaface_trt.interrupts import end_on_signals
signal.signal(signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell ignore it
end_on_signals("test")
print(flush=True)
write_file(Path(sys.argv[1], "a"), b"content")
"""


@contextmanager
def running(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed its first line."""
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n", process.communicate()
        try:
            yield process
        finally:
            process.kill()


def test_the_deadline_s_error_names_the_folder_and_the_holder(tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    with locked(tmp_path / "before"), running(HOLD, tmp_path) as holder, locked(tmp_path / "after"):
        message = f"cannot write {tmp_path}: process {holder.pid} keeps the folder locked, for 0.2 s by now"
        began = time.monotonic()
        with pytest.raises(OutputError, match=re.escape(message)), locked(tmp_path, patience_s=0.2):
            pytest.fail("locked twice")
        assert 0.2 <= time.monotonic() - began < 5


def test_without_proc_the_holder_is_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(self: Path) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", unreadable)
    with (
        locked(tmp_path),
        pytest.raises(OutputError, match="another process keeps"),
        locked(tmp_path, patience_s=0),
    ):
        pytest.fail("locked twice")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_wait(tmp_path: Path, number: signal.Signals, status: int) -> None:
    with locked(tmp_path), running(WAIT, tmp_path) as waiting:
        time.sleep(0.2)  # into the wait
        waiting.send_signal(number)
        _, errors = waiting.communicate(timeout=10)
        assert waiting.returncode == status, errors
        assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_who_waits_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    with locked(tmp_path):
        waiting = threading.Thread(target=lock.locked(tmp_path).__enter__)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


def test_the_lock_is_free_again_though_a_child_was_forked_in_it(tmp_path: Path) -> None:
    read, write = os.pipe()
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)  # until the parent closes its end
            os._exit(0)
    with locked(tmp_path, patience_s=0):
        pass
    os.close(write)
    os.close(read)
    assert os.waitpid(child, 0)[1] == 0
