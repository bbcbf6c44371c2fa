"""The results of a run: one point for each engine, batch limit and load."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from engine.bench.analysis.points import Engine, Point
from engine.bench.analysis.verdicts import Verdict

SCHEMA = 1


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
            "engines": [asdict(engine) for engine in self.engines],
            "points": [point.to_dict() for point in self.points],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }
