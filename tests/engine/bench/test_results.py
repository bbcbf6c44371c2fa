"""Which files are accepted as the results of an earlier run."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.bench.analysis.compare import compare
from engine.bench.analysis.results import read_results
from engine.bench.report.write import html_report
from engine.errors import InvalidArgumentError
from tests.support.bench.points import point, results


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    """A run with one point."""
    return results(point()).to_dict()


def test_a_run_is_read_as_it_was_written(run: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    path.write_text(json.dumps(run, allow_nan=False))
    assert read_results(path) == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[1]", "schema None, expected 1"),
        ('{"schema": 2}', "schema 2, expected 1"),
        ('{"schema": 1, "points": []}', "incomplete: environment is no object"),
    ],
)
def test_files_that_are_no_results_are_refused(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidArgumentError, match=message):
        read_results(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *itertools.product(("environment", "workload", "settings"), ([], None, 5, "a")),
        *itertools.product(("points",), ([], [1], 5, None, {}, "a", [[]], [None], [{}])),
    ],
)
def test_parts_of_other_types_are_refused(key: str, value: object, run: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**run, key: value}))
    with pytest.raises(InvalidArgumentError, match=f"incomplete: .*{'point' if key == 'points' else key}"):
        read_results(path)


ODD: tuple[object, ...] = (
    *(None, True, -1, 0, "a", [], [1], ["a"], {}, {"kind": [], "value": 1}),
    *(float("nan"), float("inf"), 10**400, 5e-324, 1e-300, 1e-10, 1e-9, 1e12, 1e13, 1e299, [5e-324], [1e299, 0]),
    *({"kind": "concurrency", "value": 1e299}, {"mean": 1e-300, "p50": 1, "p99": 1e299}, {"mean": 1e12, "p50": 1}),
)
USED = (
    "engine",
    "load",
    "batch_limit",
    "seconds",
    "throughput_per_s",
    "latency_ms",
    "latencies_ms",
    "answers_per_slice",
)


@pytest.mark.parametrize("key", USED)
def test_a_point_is_either_refused_or_comparable(
    key: str, run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.bench.analysis.statistics._RESAMPLES", 3)
    path = tmp_path / "odd.json"
    (good,) = run["points"]
    refused = []
    for value in ODD:
        path.write_text(json.dumps({**run, "points": [{**good, key: value}]}))
        try:
            comparison = compare(run, read_results(path))
            json.dumps(asdict(comparison), allow_nan=False)
            assert all(math.isfinite(number) for row in comparison.ratios for number in (row.speed, row.low, row.high))
        except InvalidArgumentError as error:  # and nothing else
            refused.append(str(error))
    assert len(refused) >= 8
    reasons = ("cannot be read", f"{key} of point 0", "latency_ms of point 0", "none of these points")
    assert [text for text in refused if not any(reason in text for reason in reasons)] == []


@pytest.mark.parametrize("part", ["environment", "workload", "settings"])
def test_values_that_differ_are_shown_whatever_they_are(part: str, run: dict[str, Any], tmp_path: Path) -> None:
    """In the page that the comparison ends in."""
    path = tmp_path / "other.json"
    changes = {"new\x1b[2J\udcff": [1, {"a": None}], "seed": "\u202e" * 8000, "cpu": {}, "x" * 8000: 2**62}
    path.write_text(json.dumps({**run, part: {**run[part], **changes}}))
    found = compare(run, read_results(path))
    page = html_report(results(point()), found)
    page.encode()
    assert r"differs: new\x1b[2J\udcff: [1, {" in page
    assert len(page) < 300_000
    assert page.replace("\n", "").isprintable()


@pytest.mark.parametrize("part", ["environment", "workload", "settings"])
def test_parts_without_bounds_are_refused(part: str, run: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    many = {str(i): i for i in range(1001)}
    for values, message in (({"deep": deep}, "nests deeper than"), (many, "has 1001 names, expected at most 1000")):
        path.write_text(json.dumps({**run, part: values}))
        with pytest.raises(InvalidArgumentError, match=message):
            read_results(path)


def test_more_latencies_than_a_run_has_are_refused(
    run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(run))
    count = len(run["points"][0]["latencies_ms"])
    monkeypatch.setattr("engine.bench.analysis.results._MOST_LATENCIES", count)
    read_results(path)
    monkeypatch.setattr("engine.bench.analysis.results._MOST_LATENCIES", count - 1)
    with pytest.raises(InvalidArgumentError, match=f"have {count} latencies, expected at most {count - 1}"):
        read_results(path)


def test_results_are_written_before_they_are_compared(
    run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.cli import bench_main

    def fail(*arguments: object) -> None:
        raise InvalidArgumentError("cannot be compared")

    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(run))
    for name, found in (("open_engine", None), ("engine_contestants", []), ("_with_accuracy", ()), ("_measure", ())):
        monkeypatch.setattr(f"engine.cli.bench.command.{name}", lambda *arguments, found=found: found)
    for name in ("engine.cli.bench.command._check_comparable", "engine.bench.run.check_memory"):
        monkeypatch.setattr(name, lambda *arguments: None)
    workload = SimpleNamespace(pictures=(), to_dict=dict)
    monkeypatch.setattr("engine.cli.bench.command._workload", lambda arguments: workload)
    monkeypatch.setattr("engine.bench.analysis.compare.compare", fail)
    monkeypatch.setattr("engine.bench.analysis.results.Results.to_dict", lambda self: {"measured": True})
    assert bench_main(["--engine", "a.engine", "--compare", str(old), "--output", str(new)]) == 2
    assert json.loads(new.read_text()) == {"measured": True}
