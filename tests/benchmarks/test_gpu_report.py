"""The GPU report, tested without a GPU: commands are recorded, results are made up."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import gpu_report
from benchmarks.kernels import document
from engine.bench.analysis.environment import environment
from engine.bench.analysis.verdicts import Verdict
from engine.bench.load.generator import ClosedLoop
from tests.support.bench.points import point, results, simulated_engine

STAGES = {"queueing": 0.001, "letterbox": 0.0001, "h2d": 0.0002, "network": 0.0015, "d2h": 0.0001}
PLACEHOLDER = "Not measured yet: it awaits a machine with a GPU."


@pytest.fixture
def performance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the document, on a machine that seems to have a GPU."""
    path = tmp_path / "performance.md"
    path.write_text(gpu_report.DOCUMENT.read_text())
    document.write(gpu_report.SECTION, PLACEHOLDER, path)
    monkeypatch.setattr(gpu_report, "DOCUMENT", path)
    monkeypatch.setattr(gpu_report, "FOLDER", tmp_path / "report")
    monkeypatch.setattr(gpu_report, "gpu_names", lambda: ["NVIDIA Test"])
    return path


def test_without_a_gpu_it_says_so_and_writes_nothing(
    performance: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_report, "gpu_names", list)
    assert gpu_report.main([]) == 1
    assert "needs an NVIDIA GPU and its driver: none was found" in capsys.readouterr().err
    assert PLACEHOLDER in performance.read_text()
    assert not gpu_report.FOLDER.exists()


@pytest.mark.parametrize("capability", [(7, 5), (8, 9)])
def test_the_tests_run_first_and_the_section_has_their_number_and_the_measurements(
    performance: Path, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]
) -> None:
    found = results(
        *(
            point(STAGES, engine=simulated_engine(name), load=ClosedLoop(n))
            for n in (1, 16)
            for name in ("fp32", "fp16")
        )
    )
    content = found.to_dict()
    content["environment"] = environment()
    content["verdicts"] = [asdict(Verdict("network-bound", "fp16", "concurrency 16", "it takes 60 %"))]
    commands: list[list[str]] = []

    def run(*arguments: str) -> None:
        commands.append(list(arguments))
        if arguments[:2] == ("-m", "pytest"):
            junit = '<testsuites><testsuite tests="30" skipped="2" failures="0"/></testsuites>'
            Path(arguments[-1].removeprefix("--junitxml=")).write_text(junit)
        elif arguments[0] == "serve_bench.py":
            Path(arguments[-1]).mkdir()
            (Path(arguments[-1]) / "serve_bench.json").write_text(json.dumps(content))

    monkeypatch.setattr(gpu_report, "_run", run)
    monkeypatch.setattr(gpu_report, "compute_capability", lambda: capability)
    assert gpu_report.main(["--runtime", "tensorrt-rtx"]) == 0
    assert commands.pop(0)[:4] == ["-m", "pytest", "-m", "gpu"]
    assert commands[0][:2] == ["-m", "benchmarks.kernels.gpu.time"], "before there is an engine"
    assert all((command[-2:] == ["--target", "sm75"]) == (capability < (8, 0)) for command in commands[1:3])
    names = [command[0] for command in commands[1:]]
    assert names[:3] == ["build_engine.py", "build_engine.py", "serve_bench.py"]
    assert [command[command.index("--contexts") + 1] for command in commands[3:]] == ["1", "2", "1"]
    assert [command for command in commands if "--no-cuda-graphs" in command] == commands[-1:]
    text = document.read(gpu_report.SECTION, performance)
    assert PLACEHOLDER not in text
    assert "28 tests passed, 2 were skipped" in text
    rows = [line for line in text.splitlines() if line.startswith("| fp")]
    assert len(rows) == 12
    assert {line.count("|") for line in rows} == {len(gpu_report.HEADER) + 1}
    assert rows[0].split("|")[8].strip() == "1.000", "the mean of queueing"
    assert "- fp16, concurrency 16: network-bound: it takes 60 %" in text
    assert text.count("With 2 contexts:") == 1
    assert performance.read_text().startswith("# Performance")


def test_the_kernels_are_timed_where_no_engine_can_be_built(
    performance: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[tuple[str, ...]] = []

    def run(*arguments: str) -> None:
        commands.append(arguments)
        if arguments[0] == "build_engine.py":
            raise subprocess.CalledProcessError(1, arguments)

    monkeypatch.setattr(gpu_report, "_run", run)
    monkeypatch.setattr(gpu_report, "tests_in_words", lambda junit: "1 test passed")
    assert gpu_report.main(["--runtime", "tensorrt-rtx"]) == 1
    assert commands[1][:2] == ("-m", "benchmarks.kernels.gpu.time")
    assert PLACEHOLDER in performance.read_text()
    assert "stays as it is: build_engine.py" in capsys.readouterr().err


def test_if_a_test_fails_nothing_is_written(
    performance: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(command: list[str], **options: object) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", fail)
    assert gpu_report.main([]) == 1
    assert PLACEHOLDER in performance.read_text()
    assert "GPU report in performance.md stays as it is" in capsys.readouterr().err
