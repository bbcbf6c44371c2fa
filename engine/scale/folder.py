"""Pictures of a folder to Parquet files of faces, with any number of machines, in parts that are finished in turn."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import ray
from pyarrow import compute, parquet

from engine.errors import InvalidArgumentError, OutputError
from engine.files import sha256_of
from engine.rows import Columns, Detection, Source, check_columns, find_source, read_pictures
from engine.scale.dataset import DetectFaces, schema_of
from engine.sidecar import is_engine, read_engine
from engine.untrusted.files import read_file
from engine.untrusted.limits import MAX_CONFIG_BYTES
from engine.writing import check_writable, write_file

_RECORD = "_faces.json"  # readers of Parquet folders leave out names that begin so
_FILES = 16  # pictures of a piece of work
# Pieces are handed out one by one; where there are thousands, some at a time: a turn costs this process some 15 ms.
_BLOCKS, _MOST_PIECES = 1000, 64
_READ = pyarrow.schema(
    {"part": pyarrow.int32(), "name": pyarrow.string(), "bytes": pyarrow.large_binary(), "error": pyarrow.string()}
)


@dataclass(frozen=True)
class Workers:
    """The actors of Ray that detect.

    Attributes:
        count: how many.
        cpus: of each; on the CPU, give Detection as many threads.
        gpus: of each: 1 for detection on a GPU, 0.5 for two actors on one.
        batch_size: pictures that one gets at a time.
    """

    count: int = 1
    cpus: float = 1
    gpus: float = 0
    batch_size: int = 16


@dataclass(frozen=True)
class Summary:
    """What detect_to_parquet did.

    Attributes:
        pictures, faces: read and found now.
        failed: pictures among them, or files of pictures, with an error.
        parts: finished now.
        earlier: parts that were there already.
    """

    pictures: int
    faces: int
    failed: int
    parts: int
    earlier: int


def detect_to_parquet(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    detection: Detection,
    workers: Workers = Workers(),
    *,
    part_size: int = 1000,
    columns: Columns = Columns(),  # noqa: B008
) -> Summary:
    """Find the faces in all pictures below a folder, on the machines of the Ray cluster that ray.init connected to.

    Each part is one file, faces-NNNNN.parquet, whole or not there. If the work was stopped, call this again: parts that
    are there are not repeated. A row is a picture: its `name`, and what DetectFaces adds. Rows are in the order of
    names, and so are parts. A picture, or a file of pictures, that cannot be read is a row with an error.

    Args:
        source: a folder of pictures, of Parquet files or of WebDataset's .tar files, with its subfolders; or one such
            file. All machines must see it under this name.
        output: folder, made if needed, on this machine.
        detection: the engine and its settings.
        workers: how many actors detect, and with what.
        part_size: pictures in a part. A file of Parquet or WebDataset is a part.
        columns: of Parquet files.

    Raises:
        InvalidArgumentError: there are no pictures, or the folder holds faces of other pictures, another engine or
            other settings.
        OutputError: a file could not be written.
        ray.exceptions.RayError: a worker failed, such as by the engine's failure. Finished parts stay.
    """
    folder, pictures = Path(output), find_source(Path(source).absolute(), part_size)
    check_columns(pictures, columns)
    _begin(folder, _record(pictures, detection, columns))
    todo = [part for part in range(len(pictures.parts)) if not _path(folder, part).exists()]
    found = faces = failed = 0
    for part, table in _parts(pictures, todo, detection, workers, columns):
        content = io.BytesIO()
        parquet.write_table(table.sort_by("name"), content)
        write_file(_path(folder, part), content.getvalue())
        found, failed = found + len(table), failed + len(table) - table["error"].null_count
        faces += compute.sum(compute.list_value_length(table["scores"])).as_py() or 0
    return Summary(found, faces, failed, len(todo), len(pictures.parts) - len(todo))


def _parts(
    source: Source, todo: list[int], detection: Detection, workers: Workers, columns: Columns
) -> Iterator[tuple[int, Any]]:
    """Yield each part with its rows, in order, as soon as it is complete."""
    pieces = [
        {"part": part, "files": list(map(os.fsencode, files[begin : begin + _FILES]))}
        for part in todo
        for files in [source.parts[part]]
        for begin in range(0, len(files), _FILES)
    ]
    if not pieces:
        return
    empty = pyarrow.schema([_READ.field("name"), *schema_of(detection.columns())]).empty_table()
    rows: list[Any] = []
    waiting = iter(todo)
    current = next(waiting)
    for table in _dataset(source, pieces, detection, workers, columns):
        for part in table["part"].unique().to_pylist():
            while current != part:  # rows come in order: all of the current part are here
                yield current, pyarrow.concat_tables([empty, *rows])
                rows, current = [], next(waiting)
            rows.append(table.filter(compute.field("part") == part).drop_columns(["part"]))
    yield current, pyarrow.concat_tables([empty, *rows])
    for part in waiting:
        yield part, empty


def _dataset(
    source: Source, pieces: list[dict[str, Any]], detection: Detection, workers: Workers, columns: Columns
) -> Iterator[Any]:
    """Yield tables of rows, in the order of the pieces."""
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    blocks = min(len(pieces), max(_BLOCKS, len(pieces) // _MOST_PIECES))
    with ray.data.DataContext.current(context):
        faces = ray.data.from_items(pieces, override_num_blocks=blocks).map_batches(
            _DetectInFiles,
            fn_constructor_args=(source.kind, source.folder, columns, detection, workers.batch_size),
            batch_format="pyarrow",
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers.count, blocks)),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
        )
    yield from faces.iter_batches(batch_size=None, batch_format="pyarrow")


class _DetectInFiles:
    """Reads pieces of the work, and detects. Tasks that read would wait for processors, if the actors have them all."""

    def __init__(self, kind: str, folder: Path, columns: Columns, detection: Detection, batch_size: int) -> None:
        self._detect, self._batch_size = DetectFaces(detection), batch_size
        self._where, self._columns = (kind, folder), columns

    def __call__(self, pieces: Any) -> Iterator[Any]:
        for piece in pieces.to_pylist():
            files = map(os.fsdecode, piece["files"])
            pictures = (p for file in files for p in read_pictures(*self._where, file, self._columns))
            while batch := list(islice(pictures, self._batch_size)):
                rows = [(piece["part"], _text(p.name), p.content, p.error) for p in batch]
                columns = map(list, zip(*rows, strict=True))
                yield self._detect(pyarrow.table(list(columns), schema=_READ))


def _text(name: str) -> str:
    """Return a name as Parquet can hold it: bytes that are no UTF-8 are escaped."""
    return name.encode(errors="backslashreplace").decode()


def _path(folder: Path, part: int) -> Path:
    return folder / f"faces-{part:05d}.parquet"


def _record(source: Source, detection: Detection, columns: Columns) -> dict[str, Any]:
    """Return what the parts of a folder have in common; devices and threads may change between runs."""
    engine = str(detection.engine)
    if is_engine(engine):
        engine = sha256_of(read_engine(Path(engine)).sidecar.to_json().encode())
    settings = {name: getattr(detection, name) for name in ("score_threshold", "min_size", "max_faces")}
    if detection.meshes:  # as there was no such setting, folders without meshes do not say so
        settings["meshes"] = True
    return {"pictures": source.digest(), "engine": engine, "settings": {**settings, **asdict(columns)}}


def _begin(folder: Path, record: dict[str, Any]) -> None:
    """Write the record into a new folder, or compare it with that of a run that was stopped."""
    path = folder / _RECORD
    try:
        check_writable(folder)
        earlier = json.loads(read_file(path, MAX_CONFIG_BYTES)) if path.exists() else None
    except OSError as error:
        raise OutputError.at(folder, error) from error
    except ValueError as error:
        raise InvalidArgumentError(f"{path} is damaged ({error}): choose another folder") from error
    if earlier is None:
        write_file(path, json.dumps(record, indent=1).encode())
    elif earlier != record:
        other = [name for name in record if not isinstance(earlier, dict) or earlier.get(name) != record[name]]
        raise InvalidArgumentError(
            f"the folder {folder} holds faces of a run with other {' and '.join(other)}: choose another folder, or "
            "delete it"
        )
