"""Forks, and the end of the interpreter, while other threads detect.

A forked process has only the thread that forked: it would wait for ever for locks that other threads held, and for the
threads of a library. While the interpreter ends, a thread that comes back from C++ aborts the process. So both wait
until no other thread is in a block of `undisturbed`, and keep threads from entering one. After a fork, what relies on
threads starts anew in the new process.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Protocol
from weakref import WeakSet

# A detection takes seconds at most. One that takes longer must not stop the process for ever.
_PATIENCE_S = 30.0
_LOOK_AGAIN_S = 0.001


class Renewable(Protocol):
    """What relies on threads."""

    def start_anew(self) -> None:
        """Called in a forked process, which has none of the threads: they may have left any lock closed."""


def renew_in_child(thing: Renewable) -> None:
    """Call thing.start_anew() in processes that are forked from this one."""
    _renewable.add(thing)


def keep_for_ever(thing: object) -> None:
    """Never free an object: its destructor would wait for threads that a forked process does not have."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


class _Gate:
    """The threads in blocks of `undisturbed`, and a lock that they pass on the way in."""

    def __init__(self) -> None:
        self._entrance = Lock()
        self._inside: set[int] = set()
        self._closed_by: int | None = None
        self._times_closed = 0

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Keep other threads from forking and from ending the interpreter inside this block. Blocks do not nest."""
        thread = get_ident()
        if thread == self._closed_by:
            self._inside.add(thread)
        else:
            with self._entrance:
                self._inside.add(thread)
        try:
            yield
        finally:
            self._inside.discard(thread)

    def close(self) -> None:
        """Let no other thread in, and wait until those inside have left."""
        patience = time.monotonic() + _PATIENCE_S
        if self._closed_by == get_ident() or self._entrance.acquire(timeout=_PATIENCE_S):
            self._closed_by = get_ident()
            self._times_closed += 1
        while self._inside - {get_ident()} and time.monotonic() < patience:
            time.sleep(_LOOK_AGAIN_S)

    def open(self) -> None:
        """Undo one close() of this thread."""
        if self._closed_by == get_ident():
            self._times_closed -= 1
            if self._times_closed == 0:
                self._closed_by = None
                self._entrance.release()

    def renew(self) -> None:
        """Open after a fork, in the new process; its only thread keeps its place inside."""
        self._entrance, self._closed_by, self._times_closed = Lock(), None, 0
        self._inside &= {get_ident()}


_gate = _Gate()
undisturbed = _gate.passed
_renewable: WeakSet[Renewable] = WeakSet()


def _start_anew() -> None:
    _gate.renew()
    for thing in list(_renewable):
        thing.start_anew()


os.register_at_fork(before=_gate.close, after_in_parent=_gate.open, after_in_child=_start_anew)
atexit.register(_gate.close)
