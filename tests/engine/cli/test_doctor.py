"""What `doctor` says of machines with and without a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from engine.backend.tensorrt import Backend
from engine.cli import installation
from engine.cli.doctor import summary
from engine.cli.installation import Finding
from engine.cli.main import main

GPU = "NVIDIA H100"


def examine(
    monkeypatch: pytest.MonkeyPatch, *, gpus: list[str], installed: set[str]
) -> tuple[dict[str, Finding], list[str]]:
    """Examine a machine with the given GPUs on which everything but CUDA's parts and the builders is installed."""

    def package(name: str, purpose: str, remedy: str, required: bool) -> Finding:
        ok = name != "cupy" or name in installed
        return Finding(name, ok, purpose, "" if ok else remedy, required)

    backends: dict[str, Any] = {
        name: Backend(name, None, "11.0") if name in installed else f"pip install {name}"
        for name in ("tensorrt", "tensorrt-rtx")
    }
    monkeypatch.setattr(installation, "gpu_names", lambda: gpus)
    monkeypatch.setattr(installation, "_package", package)
    monkeypatch.setattr(installation, "installed_backends", lambda: backends)
    findings = installation.examine()
    return {finding.name: finding for finding in findings}, summary(findings)


def test_without_a_gpu_nothing_of_cuda_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found, (on_cpu, on_gpu, builds) = examine(monkeypatch, gpus=[], installed={"tensorrt-rtx"})
    assert {name for name, finding in found.items() if not finding.ok} == {"cupy", "tensorrt", "GPU"}
    assert all(finding.needed == finding.ok for finding in found.values())
    assert on_cpu.startswith("Runs engines on the CPU: yes, ")
    assert on_gpu == "Runs engines on a GPU: no NVIDIA GPU found; the CPU needs none"
    assert builds == "Builds engines: yes, with tensorrt-rtx"


def test_without_a_gpu_only_tensorrt_rtx_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    found, (*_, builds) = examine(monkeypatch, gpus=[], installed={"tensorrt"})
    assert found["tensorrt-rtx"].needed
    assert builds == "Builds engines: no, tensorrt-rtx missing"


@pytest.mark.parametrize(
    ("installed", "needed", "on_gpu", "builds"),
    [
        ({"cupy", "tensorrt"}, set(), f"yes, {GPU}", "yes, with tensorrt"),
        ({"tensorrt-rtx"}, {"cupy"}, "no, cupy missing", "yes, with tensorrt-rtx"),
        (
            {"cupy"},
            {"tensorrt", "tensorrt-rtx"},
            "no, tensorrt or tensorrt-rtx missing",
            "no, tensorrt or tensorrt-rtx missing",
        ),
    ],
)
def test_beside_a_gpu_cupy_and_one_builder_are_needed(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], needed: set[str], on_gpu: str, builds: str
) -> None:
    found, lines = examine(monkeypatch, gpus=[GPU], installed=installed)
    assert {name for name, finding in found.items() if finding.needed and not finding.ok} == needed
    assert lines[1:] == [f"Runs engines on a GPU: {on_gpu}", f"Builds engines: {builds}"]


def test_what_is_not_needed_is_not_to_be_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examine(monkeypatch, gpus=[], installed={"tensorrt-rtx"})
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Runs engines on the CPU: yes")
    (cupy,) = [line for line in lines if " cupy " in line]
    assert cupy.startswith("not needed")
    assert not any("pip install" in line for line in lines)
