"""The process above the workers."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from engine.serve.lifetime import RELOAD
from engine.serve.running import _Supervisor


class _Worker:
    """A process that may be alive, and may have started."""

    def __init__(self, pid: int, *, ready: bool) -> None:
        self.pid, self.ready = pid, ready
        self.process = SimpleNamespace(is_alive=lambda: self.pid > 0)

    def is_ready(self, timeout: float) -> bool:
        return self.ready


def test_a_worker_that_is_starting_is_told_of_a_new_engine_when_it_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal would end it before, and it may have read the old files."""
    told: list[int] = []

    def kill(pid: int, number: int) -> None:
        assert number == RELOAD
        told.append(pid)

    monkeypatch.setattr(os, "kill", kill)
    supervisor: Any = _Supervisor.__new__(_Supervisor)
    workers = [_Worker(1, ready=True), _Worker(2, ready=False), _Worker(3, ready=False)]
    supervisor.processes, supervisor.should_exit = workers, threading.Event()
    supervisor.handle_usr1()
    assert told == [1]
    supervisor.keep_subprocess_alive()
    assert told == [1]
    workers[1].ready = True
    supervisor.keep_subprocess_alive()
    supervisor.keep_subprocess_alive()
    assert told == [1, 2]
