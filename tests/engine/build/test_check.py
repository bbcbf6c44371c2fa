"""Builds and exports of unknown weights begin with their check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.build import onnx_file, pipeline
from engine.config.presets import preset
from engine.errors import InvalidArgumentError
from engine.model.weights.load import load_model
from engine.progress import stages_shown


class CheckedError(Exception):
    """Ends a build where its network would be exported."""


def _build(path: Path, on_stage: Callable[[str], None], check: str | None) -> None:
    options = pipeline.BuildOptions(
        config="mobilenet0.25-relu", weights=str(path), check=check, output=path.with_name("x.engine")
    )
    pipeline.build_engine(options, on_stage)


def _export(path: Path, on_stage: Callable[[str], None], check: str | None) -> None:
    options = onnx_file.ExportOptions(
        config="mobilenet0.25-relu", weights=str(path), check=check, output=path.with_name("x.onnx")
    )
    onnx_file.export_onnx(options, on_stage)


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    """Return a checkpoint that differs from the default weights in one number, and has no statistics."""
    state = load_model(preset("mobilenet0.25"))[0].state_dict()
    state["ClassHead.0.conv1x1.bias"][0] += 1e-3
    torch.save(state, tmp_path / "own.pth")
    return tmp_path / "own.pth"


@pytest.mark.parametrize("make", [_build, _export])
def test_wrong_settings_of_unknown_weights_are_shown_before_the_export(
    make: Callable[..., None], unknown: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(*arguments: object) -> None:
        raise CheckedError

    for module in (pipeline, onnx_file):
        monkeypatch.setattr(module, "export_network", end)
    with stages_shown() as show, pytest.raises(CheckedError):
        make(unknown, show, None)
    lines = capsys.readouterr().err.splitlines()
    table = next(i for i, line in enumerate(lines) if line.endswith("on a drawn picture of 5 faces:"))
    assert lines[table + 1].split() == ["faces", "plausible", "sum", "settings"]
    assert lines[table + 2].split()[:2] == ["5", "5"]
    assert any(line.startswith("Warning: ") and line.endswith("Use --config mobilenet0.25") for line in lines)


@pytest.mark.parametrize("make", [_build, _export])
def test_a_bad_picture_is_refused_before_any_work(make: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"--check none.jpg: cannot be read"):
        make(tmp_path / "own.pth", pytest.fail, "none.jpg")
