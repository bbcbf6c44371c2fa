"""Files that belong together are replaced by one rename.

Complete copies are written into a hidden folder, which gets its name, the journal's, by one rename. From then on the
journal's files count: readers look there first. They are then moved to their own names, by the writer or, where it was
killed, by the next reader or writer. So there is no moment at which the old files are lost and the new ones not whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from engine.errors import RetinaFaceError
from engine.writing.files import errors_named, hidden_beside, refuse_special, write_synced
from engine.writing.lock import locked
from engine.writing.signals import signals_deferred

T = TypeVar("T")


class FilesTogether:
    """Files of one folder that are written together. The last one, which is moved last, names their journal."""

    def __init__(self, *paths: Path) -> None:
        """Say which files; they need not exist."""
        self._paths, self._lead, self._folder = paths, paths[-1], paths[-1].parent
        self._journal = hidden_beside(self._lead, ".new")
        self._copies = hidden_beside(self._lead, ".new.part")

    def write(self, contents: Mapping[Path, bytes]) -> None:
        """Write all of the files, or none.

        Raises:
            OutputError: a file could not be written. The old ones are unchanged, unless the disk failed after the first
                of them was replaced: then a reader gets the new ones.
        """
        with locked(self._folder), signals_deferred():
            with errors_named(self._lead):
                self._finish()  # of a writer that was killed
                shutil.rmtree(self._copies, ignore_errors=True)
            try:
                self._write_copies(contents)
                with errors_named(self._lead):
                    self._publish()
            finally:
                shutil.rmtree(self._copies, ignore_errors=True)

    def read(self, attempt: Callable[[], T]) -> T:
        """Call `attempt`, and again if it fails because the files were replaced while it read them.

        It opens what `locate` returns, and raises RetinaFaceError or OSError if the files do not fit each other.
        """
        with suppress(OSError):  # such as a folder that cannot be written to: the journal is read in its place
            if self._journal.exists():
                with locked(self._folder, patience_s=0), signals_deferred():
                    self._finish()
        while True:
            before = self._state()
            try:
                return attempt()
            except (RetinaFaceError, OSError):
                if self._state() == before:
                    raise

    def locate(self, path: Path) -> Path:
        """Return where the content of one of the files is: under its own name, or still in the journal."""
        written = self._journal / path.name
        return written if written.exists() else path

    def _write_copies(self, contents: Mapping[Path, bytes]) -> None:
        with errors_named(self._lead):
            self._copies.mkdir()
        for path in self._paths:
            with errors_named(path):
                refuse_special(path)
                write_synced(self._copies / path.name, contents[path])
        with errors_named(self._lead):
            _sync_folder(self._copies)

    def _publish(self) -> None:
        os.replace(self._copies, self._journal)
        try:
            self._finish()
        except OSError:
            if all((self._journal / path.name).exists() for path in self._paths):
                os.replace(self._journal, self._copies)  # nothing was replaced yet: as if nothing had been written
            raise

    def _finish(self) -> None:
        """Move the files of the journal, if there is one, to their names."""
        if not self._journal.exists():
            return
        _sync_folder(self._folder)  # the disk has the journal before it loses an old file
        for path in self._paths:
            with suppress(FileNotFoundError):  # it was moved by a writer that was killed then
                os.replace(self._journal / path.name, path)
        _sync_folder(self._folder)
        shutil.rmtree(self._journal)

    def _state(self) -> list[tuple[int, ...] | None]:
        return [_identity(path) for path in (*self._paths, self._journal)]


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return numbers that no other file has had under this name; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
