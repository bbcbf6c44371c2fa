"""A new folder with all of its files, or nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from engine.writing.files import errors_named, hidden_beside, write_synced
from engine.writing.lock import locked
from engine.writing.signals import signals_deferred


def write_folder(path: Path, contents: Mapping[str, bytes], executable: Collection[str] = ()) -> None:
    """Write a folder: a complete copy beside it, of a hidden name, which is then renamed.

    Args:
        path: of the folder, which must be missing or empty.
        contents: of the files, by their paths inside the folder.
        executable: those of them that are programs.

    Raises:
        OutputError: it could not be written, or there is something in its place; nothing has changed.
    """
    copies = hidden_beside(path, ".new")
    with locked(path.parent), signals_deferred(), errors_named(path):
        if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
            raise OSError(errno.ENOTEMPTY, "it exists and is no empty folder: delete it, or choose another name")
        shutil.rmtree(copies, ignore_errors=True)  # of a writer that was killed
        try:
            for name, content in contents.items():
                file = copies / name
                file.parent.mkdir(parents=True, exist_ok=True)
                write_synced(file, content)
                if name in executable:
                    file.chmod(0o755)
            os.replace(copies, path)
        finally:
            shutil.rmtree(copies, ignore_errors=True)
