"""SIGINT and SIGTERM end a command: at once, or half a second later where the main thread is inside a library.

An exception, such as KeyboardInterrupt, would be raised wherever Python happens to be. Raised inside an import it
becomes an ImportError, or a missing library for which another is taken; inside a callback of C++, it is lost or aborts
the process. Nothing has to be undone: files are written whole, and meanwhile signals wait.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

_SHOW_CURSOR = "\x1b[?25h\n"  # progress bars hide it
_PATIENCE_S = 0.5


def end_on_signals(program: str) -> None:
    """Let this process end on SIGINT and SIGTERM, with a line on stderr and status 130 or 143.

    A signal that is ignored stays ignored, as for background jobs of a shell.
    """

    def end(number: int, frame: FrameType | None) -> None:
        with suppress(Exception):  # the reader may be gone, or the signal may have come while this was printing
            sys.stdout.flush()
        _leave(program, number)

    def watch(received: int) -> None:
        """End where the main thread does not, since it compiles an engine, or its output waits for a reader.

        Where a file is being written, another handler is in the place of `end`: then it sends the signal again. The
        main thread cannot have begun to write since: it would have called `end` before.
        """
        while number := os.read(received, 1):
            time.sleep(_PATIENCE_S)
            if signal.getsignal(number[0]) is end:
                _leave(program, number[0])

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    for number in numbers:
        signal.signal(number, end)
    received, sent = os.pipe()
    os.set_blocking(sent, False)
    threading.Thread(target=watch, args=(received,), name="signals", daemon=True).start()
    signal.set_wakeup_fd(sent, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # whose signals are not this process's


def _leave(program: str, number: int) -> None:
    line = f"{_SHOW_CURSOR if os.isatty(2) else ''}{program}: interrupted\n"
    with suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:  # its reader may have stopped
            os.write(2, line.encode())
    os._exit(128 + number)
