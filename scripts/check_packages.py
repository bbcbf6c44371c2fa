"""Exit with 1 and name the packages of this environment that lack files, for example after an interrupted installation.

pip cannot find them: it regards a package as installed as soon as its metadata is there.
"""

from __future__ import annotations

import csv
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path


def is_whole(package: Distribution) -> bool:
    """Return whether all files of a package's RECORD exist with their full size."""
    if package.read_text("METADATA") is None:
        return True  # an old kind of editable installation, which has no RECORD
    record = package.read_text("RECORD")
    if not record:
        return False
    # Distribution.files would leave out missing files. Compiled .pyc files have no size in RECORD and are not checked.
    listed = [(Path(str(package.locate_file(path))), size) for path, _, size in csv.reader(record.splitlines()) if size]
    return all(file.is_file() and file.stat().st_size == int(size) for file, size in listed)


if __name__ == "__main__":
    broken = sorted(str(package.metadata["Name"]) for package in distributions() if not is_whole(package))
    if broken:
        sys.exit(f"The last installation was interrupted: files of {', '.join(broken)} are missing.")
