"""Pictures as rows of tables, and their faces as rows: what programs for many machines work on."""

from engine.rows.detection import Detection, options_of
from engine.rows.faces import COLUMNS, columns_of, detect_rows
from engine.rows.reading import Picture, check_columns, read_pictures
from engine.rows.source import Columns, Source, find_source

__all__ = [
    "COLUMNS",
    "Columns",
    "Detection",
    "Picture",
    "Source",
    "check_columns",
    "columns_of",
    "detect_rows",
    "find_source",
    "options_of",
    "read_pictures",
]
