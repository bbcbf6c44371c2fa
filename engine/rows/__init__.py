"""Pictures as rows of tables, and their faces as rows: what programs for many machines work on."""

from engine.rows.columns import FaceColumn, face_columns
from engine.rows.detection import Detection, options_of
from engine.rows.faces import columns_of, detect_rows
from engine.rows.reading import Picture, check_columns, read_pictures
from engine.rows.source import Columns, Source, find_source

__all__ = [
    "Columns",
    "Detection",
    "FaceColumn",
    "Picture",
    "Source",
    "check_columns",
    "columns_of",
    "detect_rows",
    "face_columns",
    "find_source",
    "options_of",
    "read_pictures",
]
