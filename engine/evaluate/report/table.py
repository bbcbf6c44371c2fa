"""The table of a comparison: one row per measure, one column per engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.evaluate.comparison import Comparison
from engine.metrics.agreement import Agreement
from engine.metrics.precision_change import PrecisionChange
from engine.metrics.spread import Spread

_NONE = "-"


def rows(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return the name of each measure and its value for each compared engine."""
    entries = [engine.agreement for engine in comparison.engines]
    threshold = entries[0].score_threshold

    def row(name: str, text: Callable[[Agreement], str]) -> tuple[str, list[str]]:
        return name, [text(entry) for entry in entries]

    table = [
        ("measured with", [engine.measured_with for engine in comparison.engines]),
        row(f"faces of the reference, score >= {threshold:g}", lambda e: str(e.faces)),
        row("matched, with any score", lambda e: str(e.matched)),
        row("box IoU, mean [95 % interval]", lambda e: _mean(e.iou)),
        row("box IoU, 5 % below / least", lambda e: _two(e.iou, "p5", "minimum")),
        row("score change, mean [95 % interval]", lambda e: _mean(e.score_change)),
        row("score change, 95 % below / most", lambda e: _two(e.score_change, "p95", "maximum")),
        row("landmark error / size, mean", lambda e: _mean(e.landmark_error)),
        row("landmark error / size, 95 % below / most", lambda e: _two(e.landmark_error, "p95", "maximum")),
    ]
    for head in dict.fromkeys(name for entry in entries for name in entry.values):
        row_name = f"{head}, difference: median / 95 % below"
        table.append((row_name, [_pair(entry.values.get(head), "median", "p95") for entry in entries]))
    for presences in zip(*(entry.presence for entry in entries), strict=True):
        at = f"{presences[0].threshold:g}"
        table.append(
            (f"lost at {at} (found with a lower score)", [_part(p.lost, p.dipped, p.reference) for p in presences])
        )
        table.append((f"new at {at} (had a lower score)", [_part(p.new, p.risen, p.candidate) for p in presences]))
    table.append(row("AP against the reference's faces", lambda e: _number(e.average_precision)))
    return table + _labelled_rows(comparison) + _class_rows(comparison) + _head_rows(comparison)


def _labelled_rows(comparison: Comparison) -> list[tuple[str, list[str]]]:
    labels = [engine.agreement.labels for engine in comparison.engines]
    present = [entry for entry in labels if entry is not None]
    if not present:
        return []
    first = present[0]
    table = [
        (
            f"AP against {first.faces} labels (reference {_number(first.reference)}): change [95 % interval]",
            [_changed(entry.candidate, entry.change) for entry in present],
        )
    ]
    for i, known in enumerate(first.reference_by_size):
        if known.faces:
            name = f"AP, {known.low:g} to {known.high:g} pixels, {known.faces} labels"
            values = [
                _changed(entry.candidate_by_size[i].average_precision, entry.change_by_size[i]) for entry in present
            ]
            table.append((f"{name} (reference {_number(known.average_precision)})", values))
    return table


def _class_rows(comparison: Comparison) -> list[tuple[str, list[str]]]:
    first, tables = comparison.reference_classes, [engine.classes for engine in comparison.engines]
    present = [table for table in tables if table is not None]
    if first is None or not present:
        return []
    table = [
        (
            f"classes right, of the labels found (reference {_number(first.accuracy)})",
            [_number(entry.accuracy) for entry in present],
        )
    ]
    for i, name in enumerate(first.names):
        words = [*(f"as {found}" for found in first.names), "missed"]
        values = [_counts(words, entry.rows()[i][1:]) for entry in present]
        table.append((f"{name} (reference {_counts(words, first.rows()[i][1:])})", values))
    return table


def _head_rows(comparison: Comparison) -> list[tuple[str, list[str]]]:
    first, errors = comparison.reference_head_errors, [engine.head_errors for engine in comparison.engines]
    present = [entry for entry in errors if entry is not None]
    if first is None or not present:
        return []
    table = []
    for head in dict.fromkeys(name for entry in (first, *present) for name in entry.known):
        name = "landmark error / size" if head == "landmarks" else f"{head}, error"
        known, *others = (_pair(entry.known.get(head), "mean", "p95") for entry in (first, *present))
        table.append((f"{name} against labels: mean / 95 % below (reference {known})", others))
    return table


def _counts(words: Sequence[str], counts: Sequence[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in zip(words, counts, strict=True) if count != "0") or "0"


def _part(count: int, elsewhere: int, total: int) -> str:
    return f"{count} ({elsewhere}) of {total}"


def _mean(values: Spread | None) -> str:
    return f"{values.mean:.4f} [{values.mean_low:.4f}, {values.mean_high:.4f}]" if values else _NONE


def _two(values: Spread | None, first: str, second: str) -> str:
    return f"{getattr(values, first):.4f} / {getattr(values, second):.4f}" if values else _NONE


def _pair(values: Spread | None, first: str, second: str) -> str:
    """Return two statistics in a unit of any size."""
    return f"{getattr(values, first):.4g} / {getattr(values, second):.4g}" if values else _NONE


def _changed(value: float | None, change: PrecisionChange | None) -> str:
    if change is None:
        return _number(value)
    return f"{_number(value)}: {change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4f}"
