"""A callable class for Ray Data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.rows import COLUMNS, Detection, columns_of, detect_rows
from engine.threads import available_threads
from engine.types import Image

_FLOATS, _FLOAT = pyarrow.list_, pyarrow.float32()
SCHEMA = pyarrow.schema(
    {
        "error": pyarrow.string(),
        "height": pyarrow.int32(),
        "width": pyarrow.int32(),
        "boxes": _FLOATS(_FLOATS(_FLOAT, 4)),
        "scores": _FLOATS(_FLOAT),
        "landmarks": _FLOATS(_FLOATS(_FLOATS(_FLOAT, 2), 5)),
    }
)
"""Of the columns that DetectFaces adds; see engine.rows.COLUMNS."""


class DetectFaces:
    """Replaces a column of pictures by columns of faces; for Dataset.map_batches, which builds one in each actor.

        pictures = ray.data.read_binary_files("photos", include_paths=True)
        faces = pictures.map_batches(
            DetectFaces,
            fn_constructor_args=(Detection("faces.engine", device="cpu", threads=1),),
            batch_format="pyarrow",
            batch_size=16,
            compute=ray.data.ActorPoolStrategy(size=2),
            num_cpus=0.9,  # tasks that read need the rest: actors that have all processors would wait for ever
        )
        faces.write_parquet("faces")

    The new columns are `error` (why there are no faces, or null), `height`, `width`, and `boxes`, `scores` and
    `landmarks` as in Detections. Other columns stay. If the table has a column `error` already, its rows with an error
    are left as they are.
    """

    def __init__(self, detection: Detection, column: str = "bytes") -> None:
        """Open a detector.

        Args:
            detection: the engine and its settings.
            column: with the contents of picture files.

        Raises:
            RetinaFaceError: see TRTRetinaFace.
        """
        self._column = column
        self._detector = detection.open()
        self._selection = detection.selection
        self._decoders = ThreadPoolExecutor(detection.threads or available_threads())

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        """Return the table with faces.

        Raises:
            InvalidArgumentError: it is no table of PyArrow, or has no such column.
            InferenceError: the engine failed.
        """
        if not isinstance(table, pyarrow.Table) or self._column not in table.column_names:
            raise InvalidArgumentError(
                f"the batch has no column {self._column!r}, or is no table of PyArrow: give map_batches "
                'batch_format="pyarrow", and DetectFaces the name of the column'
            )
        pictures = table[self._column].to_pylist()
        rows = detect_rows(pictures, self._detect, self._decoders.map)
        if "error" in table.column_names:
            rows = [error or row for error, row in zip(table["error"].to_pylist(), rows, strict=True)]
        kept = table.drop_columns([name for name in table.column_names if name in (self._column, *COLUMNS)])
        for name, values in columns_of(rows).items():
            kept = kept.append_column(SCHEMA.field(name), pyarrow.array(values, SCHEMA.field(name).type))
        return kept

    def _detect(self, images: list[Image]) -> list[Detections]:
        return list(map(self._selection.of, self._detector.detect(images)))
