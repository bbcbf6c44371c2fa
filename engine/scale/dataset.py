"""A callable class for Ray Data."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.rows import Detection, FaceColumn, columns_of, detect_rows, face_columns
from engine.threads import available_threads
from engine.types import Image

_TYPES = {"float32": pyarrow.float32(), "int32": pyarrow.int32(), "text": pyarrow.string()}


def schema_of(columns: Sequence[FaceColumn]) -> pyarrow.Schema:
    """Return the fields that DetectFaces adds: `error`, and these columns."""
    return pyarrow.schema({"error": pyarrow.string(), **{column.name: _type_of(column) for column in columns}})


def _type_of(column: FaceColumn) -> pyarrow.DataType:
    kind = _TYPES[column.datatype]
    for size in reversed(column.shape):
        kind = pyarrow.list_(kind, size)  # -1 is any size there, too
    return kind


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
    `landmarks` as in Detections; for models with other heads also `classes`, the names of the faces' classes, and
    `values_NAME` of each head of values; with Detection(meshes=True) `vertices` and perhaps `colours`, null for a
    face without a mesh. What a model has no head for has no column. Other columns stay. If the table has a column
    `error` already, its rows with an error are left as they are.
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
        meshes = self._detector.sidecar.meshes if detection.meshes else None
        self._added = face_columns(self._detector.config, meshes)
        self._schema = schema_of(self._added)
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
        kept = table.drop_columns([name for name in table.column_names if name in (self._column, *self._schema.names)])
        for name, values in columns_of(rows, self._added).items():
            field = self._schema.field(name)
            kept = kept.append_column(field, pyarrow.array(values, field.type))
        return kept

    def _detect(self, images: list[Image]) -> list[Detections]:
        return list(map(self._selection.of, self._detector.detect(images)))
