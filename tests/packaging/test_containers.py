"""The files of the containers agree with what they run."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest

from engine.cli import serve as command
from engine.serve.metrics import Metrics

FOLDER = Path(__file__).parents[2] / "containers"


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    dashboard = json.loads((FOLDER / "grafana" / "retinaface.json").read_text())
    shown = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\bretinaface_\w+", target["expr"])
    }
    metrics = Metrics()
    metrics.observe({"network": 0.1}, 2, 3)
    metrics.requests.labels("/detect", "200").inc()
    metrics.request_seconds.labels("/detect").observe(0.1)
    metrics.rejected.labels("full").inc()
    exposed = metrics.exposition(lambda: 1).decode()
    there = set(re.findall(r"^(retinaface_\w+)", exposed, re.MULTILINE))
    assert shown - there == set()
    # Every metric is on it, as some series of its own.
    bases = {re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in there}
    assert {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in shown} == bases


@pytest.mark.parametrize("keyword", ["ENTRYPOINT", "CMD"])
def test_the_image_starts_a_command_that_there_is(keyword: str) -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text()
    start = [json.loads(line) for line in re.findall(rf"^{keyword} (\[.*\])$", dockerfile, re.MULTILINE)]
    assert len(start) == 1
    words = start[0] if keyword == "CMD" else start[0][2:]
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    parser.parse_args(["--engine", "x", *words])


def test_what_is_copied_into_the_image_is_not_ignored() -> None:
    kept = [line[1:] for line in (FOLDER.parent / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert [name for name in kept if not (FOLDER.parent / name).exists()] == []
    for line in (FOLDER / "Dockerfile").read_text().splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from") and words[1] != ".":
            assert words[1] in kept
