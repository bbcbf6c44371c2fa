"""Which files are accepted as the results of an earlier run."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.bench.analysis.compare import compare
from engine.bench.analysis.results import read_results
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
    *(float("nan"), float("inf"), 10**400),
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
            json.dumps(asdict(compare(run, read_results(path))), allow_nan=False)
        except InvalidArgumentError as error:  # and nothing else
            refused.append(str(error))
    assert len(refused) >= 8
    reasons = (f"{key} of point 0", "latency_ms of point 0", "none of these points")
    assert [text for text in refused if not any(reason in text for reason in reasons)] == []


def test_results_are_written_before_they_are_compared(
    run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.cli import bench_main

    def fail(*arguments: object) -> None:
        raise InvalidArgumentError("cannot be compared")

    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(run))
    for name, found in (("_open", None), ("_contestants", []), ("_with_accuracy", ()), ("_measure", ())):
        monkeypatch.setattr(f"engine.cli.bench.{name}", lambda *arguments, found=found: found)
    for name in ("engine.cli.bench._check_comparable", "engine.bench.run.check_memory"):
        monkeypatch.setattr(name, lambda *arguments: None)
    workload = SimpleNamespace(pictures=(), to_dict=dict)
    monkeypatch.setattr("engine.cli.bench._workload", lambda arguments: workload)
    monkeypatch.setattr("engine.bench.analysis.compare.compare", fail)
    monkeypatch.setattr("engine.bench.analysis.results.Results.to_dict", lambda self: {"measured": True})
    assert bench_main(["--engine", "a.engine", "--compare", str(old), "--output", str(new)]) == 2
    assert json.loads(new.read_text()) == {"measured": True}
