"""serve_bench.py with engines that were built, on the CPU."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.bench.load.client import QueueClient
from engine.bench.load.clock import Clock
from engine.bench.load.generator import ClosedLoop
from engine.bench.load.measure import measure
from engine.bench.load.workload import Picture
from engine.bench.run import serve
from engine.cli import bench_main, main
from engine.detector import TRTRetinaFace
from engine.pictures.labels import label_line
from tests.support.data import ASTRONAUT_FACE, astronaut

pytest.importorskip("matplotlib", reason="the page has plots")
pytest.importorskip("psutil", reason="resources are measured")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The photo in three sizes, and a file that is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for factor in (0.5, 1.0, 1.5):
        cv2.imwrite(str(folder / f"{factor}.jpg"), cv2.resize(astronaut(), None, fx=factor, fy=factor))
    (folder / "broken.jpg").write_text("no picture")
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Their faces."""
    path = tmp_path / "labels.jsonl"
    faces = {factor: (ASTRONAUT_FACE[None] * factor).tolist() for factor in (0.5, 1.0, 1.5)}
    path.write_text("\n".join(label_line(f"{factor}.jpg", boxes) for factor, boxes in faces.items()))
    return path


def test_stages_add_up_to_the_latency(fp32_engine: Path) -> None:
    content = cv2.imencode(".jpg", astronaut())[1].tobytes()
    with (
        TRTRetinaFace(fp32_engine, "cpu") as detector,
        serve(detector, 4, max_delay=0.002, contexts=1) as server,
        ThreadPoolExecutor(2) as executor,
    ):
        client = QueueClient(server, [Picture("astronaut", content, (512, 512))], Clock(), executor)
        measured = measure(client, ClosedLoop(3), duration=1.0, rng=np.random.default_rng(0))
    assert len(measured.good) == len(measured.answers) > 5
    # Another process may take the core between two stages of a few requests; a forgotten stage would show in all.
    shares = [sum(answer.stages.values()) / answer.latency for answer in measured.good]
    assert np.median(shares) == pytest.approx(1, abs=0.03)
    names = {"waiting", "decode", "queueing", "letterbox", "network", "post-processing"}
    assert names <= set(measured.good[0].stages)
    assert all(seconds >= 0 for answer in measured.good for seconds in answer.stages.values())


def test_a_run_is_printed_written_and_compared(
    fp32_engine: Path, fp16_engine: Path, photos: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    arguments = ["--engine", str(fp32_engine), "--device", "cpu", "--images", str(photos), "--duration", "0.3"]
    arguments += ["--concurrency", "2", "--rate", "30", "--batch", "2", "--decode-threads", "1", "--contexts", "2"]
    first = [*arguments, "--labels", str(labels), "--reference", str(fp16_engine), "--output", str(out)]
    assert bench_main(first) == 0
    printed = capsys.readouterr().out
    for expected in ("skipped broken.jpg: is not a picture", "concurrency 2", "30/s", "p99.9", "letterbox", "images/s"):
        assert expected in printed
    assert re.search("-> faces, .*(-bound|largest stage): ", printed)
    assert sorted(path.name for path in out.iterdir()) == ["serve_bench.html", "serve_bench.json"]
    results = json.loads((out / "serve_bench.json").read_text())
    assert results["schema"] == 1
    assert results["workload"]["pictures"] == 3
    (engine,) = results["engines"]
    assert (engine["device"], engine["accuracy"]["average_precision"]) == ("cpu", 1.0)
    assert engine["accuracy"]["agreement"]["faces"] == 3
    closed, opened = results["points"]
    assert (closed["load"], opened["load"]) == (
        {"kind": "concurrency", "value": 2},
        {"kind": "rate", "value": 30.0},
    )
    for point in (closed, opened):
        assert point["batch_limit"] == 2
        assert point["failed"] == point["unanswered"] == 0
        assert point["latency_ms"]["count"] == point["requests"] == len(point["latencies_ms"]) > 0
        assert point["latency_ms"]["p50"] <= point["latency_ms"]["p99"] <= point["latency_ms"]["max"]
        assert set(map(int, point["batches"])) <= {1, 2}
        assert {"decode", "queueing", "letterbox", "network"} <= point["stages_ms"].keys()
    assert "data:image/png;base64" in (out / "serve_bench.html").read_text()

    # A second run is not thirty times as fast as the first.
    page = tmp_path / "again.html"
    arguments += ["--compare", str(out / "serve_bench.json"), "--fail-below", "30", "--output", str(page)]
    assert main(["bench", *arguments]) == 1
    printed = capsys.readouterr().out
    assert "times as fast" in printed
    assert "REGRESSION" in printed
    assert "Against the earlier run" in page.read_text()


def test_bad_arguments_are_one_line_before_any_run(
    fp32_engine: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.bench.run.measure", lambda *arguments, **options: pytest.fail("it ran"))
    good = ["--engine", str(fp32_engine), "--device", "cpu", "--images", str(photos)]
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "text.json"
    text.write_text("{}")
    for arguments, code, message in (
        (["--engine", str(tmp_path / "nowhere.engine")], 1, "nowhere.engine"),
        (["--engine", str(fp32_engine), *good], 2, "an engine is named twice"),
        ([*good, "--rate", "0"], 2, "rate is 0, expected finite numbers above 0"),
        ([*good, "--rate", "5,-1"], 2, "rate is -1"),
        ([*good, "--rate", "inf"], 2, "rate is inf"),
        ([*good, "--rate", "nan"], 2, "rate is nan"),
        ([*good, "--concurrency", "0"], 2, "concurrency is 0, expected integers from 1"),
        ([*good, "--concurrency", "1;4"], 2, "--concurrency is '1;4', expected numbers separated by commas"),
        ([*good, "--duration", "0"], 2, "duration is 0, expected a finite number of seconds above 0"),
        ([*good, "--duration", "inf"], 2, "duration is inf"),
        ([*good, "--batch", "5"], 2, "batch is 5, faces was built for up to 4"),
        ([*good, "--batch", "0"], 2, "batch is 0"),
        ([*good, "--max-delay-ms", "-1"], 2, "--max-delay-ms is -1.0"),
        ([*good, "--contexts", "0"], 2, "--contexts is 0"),
        ([*good, "--threads", "0"], 2, "threads is 0"),
        ([*good, "--decode-threads", "0"], 2, "decode threads is 0"),
        ([*good, "--seed", "-1"], 2, "seed is -1"),
        ([*good, "--output", "/proc/serve"], 2, "cannot write to the folder /proc/serve"),
        ([*good, "--output", str(text / "out.json")], 2, "cannot write to the folder"),
        ([*good, "--images", str(empty)], 2, "has no pictures"),
        ([*good, "--images", str(tmp_path / "nowhere")], 2, "is not a folder"),
        ([*good, "--labels", str(text)], 2, "labels"),
        (["--engine", str(fp32_engine), "--device", "cpu", "--labels", "a"], 2, "--labels needs --images"),
        ([*good, "--device", "tpu"], 2, "device is 'tpu'"),
        ([*good, "--reference", str(tmp_path / "nowhere.engine")], 1, "nowhere.engine"),
        ([*good, "--fail-below", "0.9"], 2, "--fail-below needs --compare"),
        ([*good, "--compare", str(text), "--fail-below", "0"], 2, "--fail-below is 0"),
        ([*good, "--compare", str(tmp_path / "nowhere.json")], 2, "cannot be read"),
        ([*good, "--compare", str(text)], 2, "schema None, expected 1"),
    ):
        assert bench_main(arguments) == code, arguments
        printed = capsys.readouterr().err
        assert message in printed
        assert printed.startswith("serve_bench.py: error: ")
        assert printed.count("\n") == 1


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["bench", "--engine", "a"]) == 1
    expected = "not installed: scipy and psutil and matplotlib. Run pip install scipy psutil matplotlib"
    assert expected in capsys.readouterr().err
