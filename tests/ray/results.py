"""Rows of faces, compared with what a detector finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyarrow import parquet

from engine import Detections, TRTRetinaFace

BROKEN = "is not a picture that OpenCV can read"


def rows_of(output: Path) -> list[dict[str, Any]]:
    """The rows of all files of a folder, in the order of the files' names."""
    return [row for file in sorted(output.glob("*.parquet")) for row in parquet.read_table(file).to_pylist()]


def faces_of(row: Mapping[str, Any]) -> Detections:
    """The faces of a row."""
    return Detections(row["boxes"], row["scores"], row["landmarks"], (row["height"], row["width"]))


def assert_found(rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, bytes], alone: TRTRetinaFace) -> None:
    """Compare bit for bit: each picture once, with what detect() finds in it alone, or an error."""
    assert sorted(row["name"] for row in rows) == sorted(pictures)
    for row in rows:
        if row["name"] == "broken.jpg":
            assert BROKEN in row["error"]
            assert row["boxes"] is row["scores"] is row["height"] is None
        else:
            assert row["error"] is None
            assert faces_of(row) == alone.detect(pictures[row["name"]])
    assert sum(len(row["scores"] or ()) for row in rows) > 10
