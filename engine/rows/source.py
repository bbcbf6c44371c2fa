"""Where pictures come from, in parts that are finished one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InvalidArgumentError
from engine.files import sha256_of
from engine.images import SUFFIXES, list_files

_SHARDS = {"parquet": (".parquet",), "webdataset": (".tar",)}


@dataclass(frozen=True)
class Columns:
    """The columns of Parquet files: the names of the pictures, and the contents of their files."""

    name: str = "path"
    picture: str = "bytes"


@dataclass(frozen=True)
class Source:
    """Files with pictures.

    Attributes:
        kind: "pictures", "parquet" or "webdataset".
        folder: in which they lie.
        parts: the files of each part, in the order of their names, relative to the folder. A part is one file of
            Parquet or WebDataset, or a number of pictures.
    """

    kind: str
    folder: Path
    parts: tuple[tuple[str, ...], ...]

    def digest(self) -> str:
        """Return a digest of the files' names and sizes, and of how they are divided.

        Raises:
            InvalidArgumentError: a file is not there any more.
        """
        try:
            sizes = [[(name, (self.folder / name).stat().st_size) for name in part] for part in self.parts]
        except OSError as error:
            raise InvalidArgumentError(f"{error.filename} cannot be read: {error.strerror}") from error
        return sha256_of(json.dumps([self.kind, sizes]).encode())


def find_source(path: Path, part_size: int) -> Source:
    """Find the pictures below a folder, or its files of Parquet or WebDataset; or one such file.

    Args:
        path: of the folder or the file. Subfolders count.
        part_size: pictures in a part, where each has its own file.

    Raises:
        InvalidArgumentError: there is nothing, or things of several kinds.
    """
    if part_size < 1:
        raise InvalidArgumentError(f"part_size is {part_size}, expected a number from 1")
    if path.is_file():
        for kind, suffixes in _SHARDS.items():
            if path.suffix.lower() in suffixes:
                return Source(kind, path.parent, ((path.name,),))
        raise InvalidArgumentError(f"{path} is a file, expected a folder of pictures, or a .parquet or .tar file")
    every = [suffix for suffixes in _SHARDS.values() for suffix in suffixes]
    files = list_files(path, (*SUFFIXES, *every), "pictures, .parquet or .tar files", recursive=True)
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        raise InvalidArgumentError(
            f"the folder {path} has files of several kinds ({', '.join(sorted(kinds))}): give a folder with one kind"
        )
    names = sorted(file.relative_to(path).as_posix() for file in files)
    kind, step = kinds.pop(), part_size
    if kind in _SHARDS:
        step = 1
    parts = tuple(tuple(names[begin : begin + step]) for begin in range(0, len(names), step))
    return Source(kind, path, parts)


def _kind(file: Path) -> str:
    suffix = file.suffix.lower()
    return next((kind for kind, suffixes in _SHARDS.items() if suffix in suffixes), "pictures")
