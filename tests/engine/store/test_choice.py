"""Which build a name, a checkpoint or a config means."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.detection import InputSize
from engine.errors import InvalidArgumentError
from engine.model.weights.known import KNOWN_WEIGHTS
from engine.sidecar import is_engine
from engine.store import choice, options_of


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a.engine", True), ("a.network.onnx", True), ("weights.onnx", False), ("mobilenet0.25", False), ("a.pth", False)],
)
def test_engines_are_known_by_their_names(name: str, is_one: bool) -> None:
    assert is_engine(name) == is_one == is_engine(Path(name))


@pytest.mark.parametrize(
    ("name", "config", "weights"),
    [
        ("mobilenet0.25", "mobilenet0.25", "mobilenet0.25"),
        ("mobilenet0.25-upstream", "mobilenet0.25", "mobilenet0.25-upstream"),
        ("resnet18-lite", "resnet18-lite", None),  # the build says that this one has no weights
    ],
)
def test_names_mean_weights_with_their_config(name: str, config: str, weights: str | None) -> None:
    options = options_of(name, None, None, None)
    assert (options.config, options.weights, options.precision) == (config, weights, "fp16")


def test_a_checkpoint_is_taken_with_its_config(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.write_bytes(b"values")
    options = options_of(file, "resnet50", "fp32", (320, 640))
    assert (options.config, options.weights, options.precision) == ("resnet50", str(file), "fp32")
    assert options.size == InputSize.fixed(320, 640)


def test_a_known_checkpoint_needs_no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "downloaded.pth"
    file.write_bytes(b"values")
    with pytest.raises(InvalidArgumentError, match="say with config="):
        options_of(file, None, None, None)
    monkeypatch.setattr(choice, "sha256_of_file", lambda path: KNOWN_WEIGHTS["resnet50"].sha256)
    assert options_of(file, None, None, None).config == "resnet50"


def test_other_names_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidArgumentError, match=r"no file nothing.*mobilenet0\.25, .*resnet18-lite"):
        options_of("nothing", None, None, None)


@pytest.mark.parametrize("precision", ["int8", "fp8", "mixed"])
def test_what_must_be_calibrated_is_not_built_in_passing(precision: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"--precision {precision} --calib-dir"):
        options_of("mobilenet0.25", None, precision, None)
