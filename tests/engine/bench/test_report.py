"""The HTML page and the tables of a run."""

from __future__ import annotations

import base64
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.bench.analysis.accuracy import Accuracy
from engine.bench.analysis.compare import Ratio, compare
from engine.bench.analysis.environment import environment
from engine.bench.analysis.results import Results
from engine.bench.analysis.statistics import MEASURES
from engine.bench.load.generator import ClosedLoop, OpenLoop
from engine.bench.load.resources import Reading
from engine.bench.report.table import latencies, stage_means, usages
from engine.bench.report.write import html_report
from engine.types import Image
from tests.support.bench.points import STAGES, point, results, simulated_engine

TITLES = (
    "Latency against load: median (line), 99 % (dashes)",
    "Mean time of each stage",
    "Latencies: share of requests that took longer",
    "Batches by size",
)


@pytest.fixture(scope="module")
def run() -> Results:
    """Two engines under three loads."""
    slower = {stage: 1.5 * seconds for stage, seconds in STAGES.items()}
    found = results(
        *(
            point(stages, engine=simulated_engine(name), load=load)
            for load in (ClosedLoop(1), ClosedLoop(4), OpenLoop(40))
            for name, stages in (("a <b> & c", STAGES), ("slower", slower))
        )
    )
    engines = tuple(replace(engine, accuracy=Accuracy(9, 7, 0.75, None)) for engine in found.engines)
    workload = {**found.workload, "skipped": [{"picture": "x<y.jpg", "reason": "is not a picture"}]}
    return replace(found, engines=engines, workload=workload)


@pytest.fixture(scope="module")
def html(run: Results) -> str:
    """The page of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.bench.analysis.statistics._RESAMPLES", 20)
        return html_report(run, compare(run.to_dict(), run.to_dict()), 0.9)


class Reader(HTMLParser):
    """Collects text and pictures, and checks that elements are nested correctly."""

    VOID = ("meta", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.pictures: dict[str, bytes] = {}
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            kind, _, data = str(values["src"]).partition(",")
            assert kind == "data:image/png;base64"
            self.pictures[str(values["alt"])] = base64.b64decode(data, validate=True)
        self.links += [str(values[name]) for name in ("href", "src") if name in values and tag != "img"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def grey(content: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return np.asarray(image, np.uint8)


def test_the_page_is_well_formed_and_self_contained(html: str) -> None:
    reader = read(html)
    assert reader.open == []
    assert reader.links == []
    assert not re.search(r"<script|url\(|@import", html)
    assert tuple(reader.pictures) == TITLES
    for content in reader.pictures.values():
        image = grey(content)
        assert image.shape[0] >= 300
        assert (image < 128).mean() > 0.005  # something is drawn
    for text in ("a <b> & c", "network-bound", "95 % interval", "0.7500", "x<y.jpg", "simulated"):
        assert text in reader.text


def test_a_run_without_answers_still_has_a_page(run: Results) -> None:
    broken = [
        replace(entry, latency=None, stages={}, measured=replace(entry.measured, answers=(), finished=()))
        for entry in run.points
    ]
    reader = read(html_report(replace(run, points=tuple(broken))))
    assert reader.open == []
    assert reader.pictures == {}


def test_tables_say_what_was_measured(run: Results) -> None:
    table = latencies(run.points)
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert [row[name] for name in ("engine", "load", "batch")] == ["a <b> & c", "concurrency 1", "4"]
    assert float(row["images/s"]) == pytest.approx(100, abs=0.5)
    assert [row[name] for name in ("mean", "p50", "p99.9", "max", "steady")] == [
        "10.00",
        "10.00",
        "(10.00)",
        "10.00",
        "yes",
    ]
    table = stage_means(run.points)
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert (row["network"], row["sum / latency"]) == ("6.00", "100.0%")
    assert not any("GPU" in name for name in usages(run.points).header)
    # Two engines share the process.
    assert usages(run.points).title.endswith("(memory: of the process, which holds all 2 engines)")
    assert usages(run.points[::2]).title == "Requests and resources"


def test_the_json_file_is_described(run: Results) -> None:
    described = (Path(__file__).parents[3] / "docs" / "serve_bench.md").read_text()
    values = {**run.to_dict(), "environment": environment()}
    (point, *_), (engine, *_), (verdict, *_) = values["points"], values["engines"], values["verdicts"]
    (window, *_) = point["windows"]
    parts = [values, values["environment"], values["workload"], engine, engine["accuracy"], point, window, verdict]
    keys = {key for part in (*parts, Ratio.__dataclass_fields__, Reading.__dataclass_fields__) for key in part}
    assert [key for key in sorted(keys | set(MEASURES)) if f"`{key}`" not in described] == []


@pytest.mark.browser
def test_a_browser_shows_the_plots(html: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    browser = request.config.getoption("--browser")
    page, shot = tmp_path / "page.html", tmp_path / "shot.png"
    page.write_text(html)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1300,5000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", f"--screenshot={shot}"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    # Errors of the page go to the console.
    assert "CONSOLE" not in done.stderr
    screen = grey(shot.read_bytes())
    for title, content in read(html).pictures.items():
        # The middle of each plot is on the screenshot, pixel by pixel.
        plot = grey(content)
        height, width = plot.shape
        part = plot[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4]
        difference = cv2.matchTemplate(screen, part, cv2.TM_SQDIFF)
        assert difference.min() / part.size < 10, title
