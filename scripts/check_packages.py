"""Exit with 1, and say which, if packages of this environment lack files, as a full disk or an interrupt leaves them.

pip takes a package for installed as soon as its metadata is there.
"""

from __future__ import annotations

import csv
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path


def is_whole(package: Distribution) -> bool:
    """Return whether all files of a package's RECORD are there in their full size."""
    if package.read_text("METADATA") is None:
        return True  # a development installation of the kind that keeps no record
    record = package.read_text("RECORD")
    if not record:
        return False
    # Read here, as Distribution.files leaves out what is missing. Compiled .pyc files have no size: they come and go.
    listed = [(Path(str(package.locate_file(path))), size) for path, _, size in csv.reader(record.splitlines()) if size]
    return all(file.is_file() and file.stat().st_size == int(size) for file, size in listed)


if __name__ == "__main__":
    broken = sorted(str(package.metadata["Name"]) for package in distributions() if not is_whole(package))
    if broken:
        sys.exit(f"The last installation was interrupted: files of {', '.join(broken)} are missing.")
