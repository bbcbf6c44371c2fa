"""Worker threads that are never left running.

While the interpreter ends, a thread that comes back from C++ aborts the process ("terminate called without an active
exception"). So an interrupt, such as KeyboardInterrupt, leaves no place before the threads that it started have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock, Thread

from engine.errors import InferenceError

_LOOK_AGAIN_S = 0.1


class Worker(Thread):
    """A thread that can be waited for again after an interrupt.

    Thread.join cannot, before Python 3.13: it takes a thread for ended once a wait for it was interrupted.

    Attributes:
        begun: whether it was started.
    """

    def __init__(self, work: Callable[[], object], name: str) -> None:
        """Prepare to run `work`, which handles its exceptions itself."""
        super().__init__(name=name, daemon=True)
        self._work = work
        self.begun = self._ended = False
        self._running = Lock()
        self._running.acquire()  # until the thread ends

    def start(self) -> None:
        """Start.

        Raises:
            InferenceError: there are too many threads.
        """
        try:
            super().start()
        except RuntimeError as error:
            raise InferenceError(
                f"no thread can be started ({error}): the limit of threads, of this process or its user, is reached. "
                "Use fewer, or raise the limit (ulimit -u)"
            ) from error
        self.begun = True

    def run(self) -> None:
        """Work; called in the new thread."""
        self.begun = True
        try:
            self._work()
        finally:
            del self._work
            self._ended = True
            self._running.release()

    def wait(self) -> None:
        """Wait until the thread has ended, if it has begun."""
        while self.begun and not self._ended:
            # An interrupt can come between any two steps: the flags are what counts, the lock ends the wait early.
            if self._running.acquire(timeout=_LOOK_AGAIN_S):
                self._running.release()
        if self._ended:
            self.join()


def finish(workers: Sequence[Worker], stop: Callable[[], object], *, start: bool = False) -> None:
    """Wait until the workers have ended.

    If that is interrupted, `stop` is called, the workers are waited for, and then the interrupt is raised.

    Args:
        workers: that were started, or are to be.
        stop: makes the workers end soon, also one that has not taken its first step. It may be called several times.
        start: whether to start the workers first.
    """
    interrupt: BaseException | None = None
    waiting = True
    while waiting:
        try:
            if interrupt is not None:
                stop()
            elif start:
                for worker in workers:
                    worker.start()
            for worker in workers:
                worker.wait()
            waiting = False
        except BaseException as error:  # whatever a signal handler raises, or a thread that cannot be started
            interrupt = error
    if interrupt is not None:
        raise interrupt
