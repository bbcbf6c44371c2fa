"""The results of a run: one point for each engine, batch limit and load; as JSON, also of an earlier run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.bench.analysis.points import Engine, Point
from engine.bench.analysis.verdicts import Verdict
from engine.errors import InvalidArgumentError
from engine.untrusted.files import read_file
from engine.untrusted.json_text import parse_json
from engine.untrusted.limits import MAX_TEXT_BYTES

SCHEMA = 1
COMPARED = ("mean", "p50", "p99")
"""The measures of a latency that two runs are compared by."""

# Of an earlier run. An hour at a thousand requests a second has fewer latencies; no time, rate or count of a run lies
# outside the range, and within it no ratio is infinite.
_MOST_LATENCIES = 5_000_000
_LEAST, _LARGEST = 1e-9, 1e12
_MOST_NAMES = 1000  # of settings, or of what an environment is described by


@dataclass(frozen=True)
class Results:
    """A whole run.

    Attributes:
        environment: see engine.bench.analysis.environment.
        settings: options of the command.
        workload: see engine.bench.load.workload.
        engines: the measured ones.
        points: in the order of measuring.
        verdicts: conclusions from the points.
    """

    environment: dict[str, Any]
    settings: dict[str, Any]
    workload: dict[str, Any]
    engines: tuple[Engine, ...]
    points: tuple[Point, ...]
    verdicts: tuple[Verdict, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, as docs/serve_bench.md describes them."""
        return {
            "schema": SCHEMA,
            "environment": self.environment,
            "settings": self.settings,
            "workload": self.workload,
            "engines": [engine.to_dict() for engine in self.engines],
            "points": [point.to_dict() for point in self.points],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }


def read_results(path: Path) -> dict[str, Any]:
    """Read the JSON file of a run, and check all that engine.bench.analysis.compare needs of it.

    Raises:
        InvalidArgumentError: the file cannot be read, or lacks something.
    """
    try:
        content = parse_json(read_file(path, MAX_TEXT_BYTES))
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"results {path} cannot be read: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise InvalidArgumentError(
            f"results {path} have schema {schema!r:.80}, expected {SCHEMA}: the JSON file of a run of this version"
        )
    for name in ("environment", "workload", "settings"):
        part = content.get(name)
        if not isinstance(part, dict):
            raise InvalidArgumentError(f"results {path} are incomplete: {name} is no object")
        if len(part) > _MOST_NAMES:
            raise InvalidArgumentError(
                f"results {path} are of another program: {name} has {len(part)} names, expected at most {_MOST_NAMES}"
            )
    points = content.get("points")
    if not isinstance(points, list) or not points:
        raise InvalidArgumentError(f"results {path} are incomplete: points is no list, or an empty one")
    for index, point in enumerate(points):
        if (wrong := _wrong(point)) is not None:
            raise InvalidArgumentError(f"results {path} are incomplete: {wrong} of point {index} is missing or wrong")
    latencies = sum(len(point["latencies_ms"]) for point in points)
    if latencies > _MOST_LATENCIES:
        raise InvalidArgumentError(f"results {path} have {latencies:,} latencies, expected at most {_MOST_LATENCIES:,}")
    return dict(content)


def _wrong(point: object) -> str | None:
    """Return the first key of a point that is missing or wrong; None if all are right."""
    if not isinstance(point, dict):
        return "everything"
    load, latency, latencies = (point.get(name) for name in ("load", "latency_ms", "latencies_ms"))
    good = {
        "engine": isinstance(point.get("engine"), str),
        "load": isinstance(load, dict)
        and load.get("kind") in ("concurrency", "rate")
        and _is_positive(load.get("value")),
        "batch_limit": _is_number(point.get("batch_limit")),
        "seconds": _is_positive(point.get("seconds")),
        "throughput_per_s": _is_number(point.get("throughput_per_s")),
        "latencies_ms": _are_numbers(latencies),
        "latency_ms": not latencies
        or (isinstance(latency, dict) and all(_is_positive(latency.get(name)) for name in COMPARED)),
        "answers_per_slice": bool(point.get("answers_per_slice")) and _are_numbers(point["answers_per_slice"]),
    }
    return next((name for name, is_good in good.items() if not is_good), None)


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(map(_is_number, values))


def _is_number(value: object) -> bool:
    """Whether it is 0 or a number that a run can have."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (value == 0 or _LEAST <= value <= _LARGEST)  # type: ignore[operator]


def _is_positive(value: object) -> bool:
    return _is_number(value) and value != 0
