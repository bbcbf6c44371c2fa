"""The pictures of files, one by one. What cannot be read is a picture with an error, and ends nothing."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import InvalidArgumentError
from engine.images import SUFFIXES
from engine.rows.source import Columns, Source
from engine.untrusted.files import open_regular, read_file
from engine.untrusted.limits import MAX_IMAGE_BYTES

_ROWS = 16  # of Parquet files that are in memory at a time


@dataclass(frozen=True)
class Picture:
    """A picture file's name and content, or why there is none."""

    name: str
    content: bytes | None = None
    error: str | None = None


def read_pictures(kind: str, folder: Path, file: str, columns: Columns) -> Iterator[Picture]:
    """Yield the pictures of one file of a Source, in its order. An error names the file after the last good one."""
    path = folder / file
    if kind == "pictures":
        try:
            yield Picture(file, read_file(path, MAX_IMAGE_BYTES))
        except OSError as error:
            yield Picture(file, error=f"cannot be read: {error.strerror}")
        return
    count = 0
    try:
        for picture in _of_tar(path) if kind == "webdataset" else _of_parquet(path, columns):
            yield picture
            count += 1
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        yield Picture(file, error=f"cannot be read after {count} pictures: {error}")


def check_columns(source: Source, columns: Columns) -> None:
    """Raise InvalidArgumentError if the first file is one of Parquet and has no such columns."""
    if source.kind != "parquet":
        return
    from pyarrow import parquet

    path = source.folder / source.parts[0][0]
    try:
        names = parquet.read_schema(path).names
    except (OSError, ValueError):
        return  # a damaged file: read_pictures says so
    for column in (columns.name, columns.picture):
        if column not in names:
            raise InvalidArgumentError(f"{path} has no column {column!r}, it has {', '.join(names)}: name them")


def _of_tar(path: Path) -> Iterator[Picture]:
    """Yield the members that have the names of pictures."""
    with open_regular(path) as file, tarfile.open(fileobj=file, mode="r|") as archive:
        for member in archive:
            if not member.isfile() or not member.name.lower().endswith(SUFFIXES):
                continue
            if member.size > MAX_IMAGE_BYTES:
                yield Picture(member.name, error=f"has {member.size:,} bytes, expected at most {MAX_IMAGE_BYTES:,}")
                continue
            content = archive.extractfile(member)
            assert content is not None  # for a file
            yield Picture(member.name, content.read())


def _of_parquet(path: Path, columns: Columns) -> Iterator[Picture]:
    from pyarrow import ArrowException, parquet

    with open_regular(path) as file:
        try:
            yield from _of_table(parquet.ParquetFile(file), columns)
        except ArrowException as error:  # some kinds are no ValueErrors
            raise ValueError(error) from error


def _of_table(table: Any, columns: Columns) -> Iterator[Picture]:
    if missing := {columns.name, columns.picture} - {*table.schema_arrow.names}:
        raise ValueError(f"it has no column {' and no column '.join(sorted(missing))}")
    for batch in table.iter_batches(_ROWS, columns=[columns.name, columns.picture]):
        names, pictures = (batch.column(name).to_pylist() for name in (columns.name, columns.picture))
        for name, content in zip(names, pictures, strict=True):
            if isinstance(content, bytes):
                yield Picture(str(name), content)
            else:
                yield Picture(str(name), error=f"the column {columns.picture} has no bytes in this row")
