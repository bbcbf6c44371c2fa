"""Worker threads end before an interrupt is raised, wherever it comes."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from engine.errors import InferenceError
from engine.runtime.workers import Worker, finish


@contextmanager
def _interrupts(delay: float, count: int) -> Iterator[None]:
    """Send this thread SIGINT `count` times or more, from `delay` seconds on, until one has come within finish().

    Elsewhere they do nothing: KeyboardInterrupt would end the test, or the process that runs it. Sent to the process,
    one could be given to a thread that is busy, and come after the test.
    """
    receiver = threading.get_ident()
    raised: list[bool] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code is finish.__code__:
                raised.append(True)
                raise KeyboardInterrupt
            frame = frame.f_back

    def send() -> None:
        time.sleep(delay)
        for number in itertools.count():
            if number >= count and raised:
                break
            signal.pthread_kill(receiver, signal.SIGINT)
            time.sleep(1e-4)

    before = signal.signal(signal.SIGINT, interrupt)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()
        signal.signal(signal.SIGINT, before)  # runs handlers that are due first


def test_workers_are_started_and_waited_for() -> None:
    done: list[int] = []

    def work() -> None:
        time.sleep(0.02)
        done.append(1)

    workers = [Worker(work, "test") for _ in range(3)]
    finish(workers, stop=lambda: done.append(-1), start=True)
    assert done == [1, 1, 1]
    assert not any(worker.is_alive() for worker in workers)
    finish(workers, stop=lambda: done.append(-1))
    assert done == [1, 1, 1]


def interrupt_workers(delay: float, count: int) -> None:
    """Interrupt workers ten times, and check that none is left."""
    for _ in range(10):
        stopped = threading.Event()
        begun: list[int] = []
        ended: list[int] = []

        def work(stopped: threading.Event, begun: list[int], ended: list[int]) -> None:
            if not stopped.is_set():
                begun.append(1)
                stopped.wait(30)
                time.sleep(0.01)  # as in C++, where nobody can stop it
                ended.append(1)

        workers = [Worker(partial(work, stopped, begun, ended), "test") for _ in range(4)]
        with _interrupts(delay, count), suppress(KeyboardInterrupt):
            finish(workers, stop=stopped.set, start=True)
        assert len(begun) == len(ended)


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("delay", [0.0, 0.0005, 0.001, 0.05])
def test_an_interrupt_is_raised_after_the_workers_have_ended(delay: float, count: int) -> None:
    """In a process of its own: where a library has used AMX, the stack for signal handlers may be too small."""
    program = f"from tests.engine.runtime.test_workers import interrupt_workers as run; run({delay}, {count})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_threads_the_running_ones_end_and_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()
    ended: list[bool] = []
    workers = [Worker(lambda: ended.append(stopped.wait(30)), "test") for _ in range(2)]

    start = threading.Thread.start

    def start_one(worker: threading.Thread) -> None:
        if worker is workers[1]:
            raise RuntimeError("can't start new thread")
        start(worker)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(InferenceError, match=r"no thread can be started.*Use fewer"):
        finish(workers, stop=stopped.set, start=True)
    assert ended == [True]
