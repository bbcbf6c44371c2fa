"""Configurations as files: read strictly, and refused with the file and the field."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.config.files import find_config, presets_alike, read_config
from engine.config.model import RetinaFaceConfig
from engine.config.presets import PRESETS, preset
from engine.errors import InvalidArgumentError
from engine.untrusted.limits import MAX_CONFIG_BYTES

OWN = replace(preset("mobilenet0.25"), name="own", mean=(0.0, 0.0, 0.0), color_order="rgb", body_slope=0.25)


def to_json(config: RetinaFaceConfig) -> str:
    return json.dumps(config.to_dict())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with settings that no preset has."""
    path = tmp_path / "own.json"
    path.write_text(to_json(OWN))
    return path


def changed(file: Path, **changes: Any) -> Path:
    """Change values of a file, by names with "__" between levels."""
    values = json.loads(file.read_text())
    for name, value in changes.items():
        *outer, last = name.split("__")
        inner = values
        for key in outer:
            inner = inner[int(key) if key.isdigit() else key]
        inner[int(last) if last.isdigit() else last] = value
    file.write_text(json.dumps(values))
    return file


def test_a_config_comes_by_name_by_path_or_as_it_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config("resnet50") is preset("resnet50")
    assert find_config(str(file)) == find_config(file) == OWN
    assert find_config(OWN) is OWN
    monkeypatch.chdir(file.parent)
    assert find_config("own.json") == OWN


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_s_file_is_that_preset(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(to_json(preset(name)))
    assert read_config(path) == preset(name)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_windows_shells_write_is_read(file: Path, encoding: str) -> None:
    file.write_bytes(to_json(OWN).encode(encoding))
    assert read_config(file) == OWN


def test_an_unknown_name_says_what_is_known() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'resnet51', expected the name of a JSON file.*mobilenet0.25, mob"):
        find_config("resnet51")


def test_a_preset_s_name_is_its_own(file: Path) -> None:
    """Else a sidecar would say that the engine is the preset's, and published weights would be taken for its own."""
    with pytest.raises(InvalidArgumentError, match="is called 'resnet50' like a preset, but has other settings"):
        read_config(changed(file, name="resnet50"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, r"unknown keys \['colour'\]"),
        ({"levels__1__anchor_sizes": [64.0, float("nan")]}, "holds NaN, expected finite numbers"),
        ({"levels__1__anchor_sizes": [64.0, 1e308]}, r"levels is .64.0, 1e\+308., expected anchor sizes"),
        ({"levels__0__anchor_sizes": [16.0, "32"]}, r"config.levels\[0\].anchor_sizes\[1\] is '32', expected a number"),
        ({"levels__0": 8}, r"config.levels\[0\] is 8, expected an object"),
        ({"fpn_channels": 64.0}, "config.fpn_channels is 64.0, expected an integer"),
        ({"fpn_channels": 10**30}, "an integer that does not fit 64 bits"),
        ({"fpn_channels": 2**62}, "fpn_channels is 4611686018427387904, expected 4, 8, ..., 4096"),
        ({"input_size": [2**60, 2**60]}, "anchors, expected at most 4194304"),
        ({"cascade": 1}, "config.cascade is 1, expected true or false"),
        ({"mean": [1.0, 2.0]}, r"config.mean is \[1.0, 2.0\], expected 3 values"),
        ({"body_slope": "0.1"}, "config.body_slope is '0.1', expected a number"),
        ({"backbone": "resnet33"}, "backbone is 'resnet33', expected mobilenet0.25 or"),
        ({"name": "x" * 9000}, "a text of 9,000 characters"),
    ],
)
def test_what_no_model_can_have_is_refused_by_file_and_field(file: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as refusal:
        read_config(changed(file, **changes))
    assert str(refusal.value).startswith(f"config {file}: ")


def test_a_missing_field_is_named(file: Path) -> None:
    values = json.loads(file.read_text())
    del values["std"]
    file.write_text(json.dumps(values))
    with pytest.raises(InvalidArgumentError, match=r"lacks \['std'\]"):
        read_config(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\x00\x81", "is not JSON"),
        (b"[" * 100_000, "nests deeper than 32 levels"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nests deeper than 32 levels"),
        (b"[]", "config is .., expected an object"),
        (b'{"name": "a", "name": "b"}', "two values called 'name'"),
        (b'{"name": 1' + b"0" * 5000 + b"}", "is not JSON|64 bits"),
    ],
)
def test_what_is_no_config_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=message):
        find_config(path)


def test_other_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    large, fifo = tmp_path / "large.json", tmp_path / "fifo.json"
    with large.open("wb") as file:
        file.truncate(1 << 30)
    os.mkfifo(fifo)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    for path, message in (
        (large, f"it has 1,073,741,824 bytes, expected at most {MAX_CONFIG_BYTES:,}"),
        (fifo, "it is a FIFO"),
        (tmp_path / "none.json", "No such file.*retinaface-trt config NAME > none.json"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            find_config(f"{path}{os.sep}" if path == tmp_path else path)


def test_presets_of_the_same_tensors_are_found_by_their_slope() -> None:
    alike = presets_alike(preset("mobilenet0.25"), negative_slope=0.0)
    assert alike == ["mobilenet0.25-relu", "insightface-mobilenet0.25"]
    assert presets_alike(preset("mobilenet0.25-relu"), negative_slope=0.1) == ["mobilenet0.25"]
    assert presets_alike(preset("resnet50"), negative_slope=0.1) == []
