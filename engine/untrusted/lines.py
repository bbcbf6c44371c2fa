"""Text files from outside, read line by line: neither the file nor a line is in memory as a whole."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

from engine.untrusted.files import open_regular
from engine.untrusted.limits import MAX_LINE_CHARACTERS, MAX_TEXT_BYTES


def read_lines(path: Path) -> Iterator[str]:
    r"""Yield the lines of a text file in UTF-8, without their ends: \n, \r\n or \r. A byte order mark is skipped.

    Raises:
        OSError: it cannot be read, is no regular file, is too large, or has a line that is too long; `strerror` says so
            in words.
        UnicodeDecodeError: it is not UTF-8.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_TEXT_BYTES:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, expected at most {MAX_TEXT_BYTES:,}", str(path))
        text, left = io.TextIOWrapper(file, "utf-8-sig"), size
        while line := text.readline(MAX_LINE_CHARACTERS + 1):
            if len(line) > MAX_LINE_CHARACTERS:
                raise OSError(errno.EFBIG, f"it has a line of more than {MAX_LINE_CHARACTERS:,} characters", str(path))
            left -= len(line)
            if left < 0:
                raise OSError(
                    errno.EINVAL, "it has no fixed size, expected a regular file that nobody is writing", str(path)
                )
            yield line.removesuffix("\n")
