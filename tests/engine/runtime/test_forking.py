"""Forks wait for what other threads do, and what relies on threads starts anew."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from engine.runtime.forking import renew_in_child, undisturbed

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forking with threads


def _status_of_child() -> int:
    """Fork; return the status of a process that passes the gate and ends."""
    process = os.fork()
    if process == 0:
        signal.alarm(20)
        with undisturbed():
            os._exit(0)
    return os.waitpid(process, 0)[1]


def test_a_fork_waits_for_blocks_of_other_threads_and_keeps_them_out() -> None:
    events: list[str] = []
    begun = threading.Event()

    def work() -> None:
        with undisturbed():
            begun.set()
            time.sleep(0.2)
            events.append("left")

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(10)
    assert _status_of_child() == 0
    events.append("forked")
    thread.join()
    assert events == ["left", "forked"]
    work()  # the gate is open again
    assert events == ["left", "forked", "left"]


def test_a_thread_may_fork_inside_its_own_block() -> None:
    begin = time.monotonic()
    with undisturbed():
        process = os.fork()
        if process == 0:
            os._exit(0)
        assert os.waitpid(process, 0)[1] == 0
    assert time.monotonic() - begin < 5


def test_many_threads_and_forks_get_along() -> None:
    stop = threading.Event()
    turns = [0] * 8

    def work(index: int) -> None:
        while not stop.is_set():
            with undisturbed():
                turns[index] += 1
                time.sleep(0.001)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(turns))]
    for thread in threads:
        thread.start()
    statuses = [_status_of_child() for _ in range(20)]
    stop.set()
    for thread in threads:
        thread.join(10)
    assert statuses == [0] * 20
    assert min(turns) > 0


def test_what_relies_on_threads_is_renewed_in_the_child_only() -> None:
    class Thing:
        renewed = 0

        def start_anew(self) -> None:
            self.renewed += 1

    thing, gone = Thing(), Thing()
    renew_in_child(thing)
    renew_in_child(gone)
    del gone
    process = os.fork()
    if process == 0:
        os._exit(thing.renewed)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 1
    assert thing.renewed == 0
