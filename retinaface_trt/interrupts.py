"""SIGINT and SIGTERM end a command, at once or as soon as the library that it is in returns.

An exception, such as KeyboardInterrupt, would be raised wherever Python happens to be. Raised inside an import it
becomes an ImportError, or a missing library for which another is taken; inside a callback of C++, it is lost or aborts
the process. Nothing has to be undone: files are written whole, and meanwhile signals wait.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

_SHOW_CURSOR = "\x1b[?25h\n"  # progress bars hide it


def end_on_signals(program: str) -> None:
    """Let this process end on SIGINT and SIGTERM, with a line on stderr and status 130 or 143.

    A signal that is ignored stays ignored, as for background jobs of a shell.
    """

    def end(number: int, frame: FrameType | None) -> None:
        with suppress(Exception):  # the reader may be gone, or the signal may have come while this was printing
            sys.stdout.flush()
        with suppress(OSError):
            os.write(2, f"{_SHOW_CURSOR if os.isatty(2) else ''}{program}: interrupted\n".encode())
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
