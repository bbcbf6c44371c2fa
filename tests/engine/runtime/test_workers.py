"""Worker threads end before an interrupt is raised, wherever it comes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from engine.errors import InferenceError
from engine.runtime.workers import Worker, finish


@contextmanager
def _interrupts(delay: float, count: int = 1) -> Iterator[None]:
    """Send this process SIGINT `count` times, from `delay` seconds on; waits for the last of them."""

    def send() -> None:
        time.sleep(delay)
        for _ in range(count):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1e-4)
        sent.append(True)

    sent: list[bool] = []
    threading.Thread(target=send).start()
    try:
        yield
    finally:
        while not sent:
            with suppress(KeyboardInterrupt):
                time.sleep(0.001)


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


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("delay", [0.0, 0.0005, 0.001, 0.05])
def test_an_interrupt_is_raised_after_the_workers_have_ended(delay: float, count: int) -> None:
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
        left = 0  # an interrupt may also come before anything has begun
        with suppress(KeyboardInterrupt), _interrupts(delay, count):
            try:
                finish(workers, stop=stopped.set, start=True)
            except KeyboardInterrupt:
                left = len(begun) - len(ended)
                raise
        assert left == 0


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
