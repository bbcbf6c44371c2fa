"""Logs as lines of JSON."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone

from engine.text import printable


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, process, message, and what a request's entry says beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": record.process,
            "message": printable(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)
