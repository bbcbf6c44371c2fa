"""A sidecar as it lies on disk: what is read from it, and what each damaged field is called."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from types import NoneType
from typing import Any

import pytest

from engine.config.detection import InputSize, Thresholds
from engine.config.presets import preset
from engine.errors import InvalidArgumentError
from engine.sidecar.content import FileEntry, OutputSpec
from engine.sidecar.rebuild import rebuild_command
from engine.sidecar.schema import read_sidecar

# As builds of version 0.1.0 wrote it: schema 1, which must load for good.
VALUES: dict[str, Any] = {
    "schema": 1,
    "project_version": "0.1.0",
    "config": {
        "name": "mobilenet0.25",
        "backbone": "mobilenet0.25",
        "levels": [
            {"stride": 8, "anchor_sizes": [16.0, 32.0], "aspect_ratios": [1.0]},
            {"stride": 16, "anchor_sizes": [64.0, 128.0], "aspect_ratios": [1.0]},
            {"stride": 32, "anchor_sizes": [256.0, 512.0], "aspect_ratios": [1.0]},
        ],
        "fpn_channels": 64,
        "negative_slope": 0.1,
        "context": "plain",
        "pyramid": "top-down",
        "cascade": False,
        "input_size": [640, 640],
        "variances": [0.1, 0.2],
        "mean": [104.0, 117.0, 123.0],
        "std": [1.0, 1.0, 1.0],
        "color_order": "bgr",
        "pad_value": [104, 117, 123],
        "heads": ["class", "box", "landmark"],
        "body_slope": None,
    },
    "weights": {"source": "my weights.pth", "sha256": None, "known_as": None, "note": "unknown weights"},
    "precision": {"mode": "int8", "kept_higher": [{"name": "conv1", "kind": "Conv"}], "loss": 0.01, "max_loss": None},
    "calibration": {"images": 16, "method": "max"},
    "runtime": {"name": "tensorrt-rtx", "version": "1.7.1.116"},
    "targets": ["sm86", "sm89"],
    "plugins": {
        "versions": {"RetinaFaceDecode": "1", "RetinaFaceNMS": "1"},
        "library_sha256": "1" * 64,
        "embedded": True,
    },
    "io": {
        "input": {
            "name": "images",
            "dtype": "float32",
            "minimum": [1, 3, 64, 96],
            "optimum": [2, 3, 320, 640],
            "maximum": [4, 3, 640, 960],
        },
        "outputs": [
            {"name": "num_detections", "dtype": "int32", "shape": ["N"]},
            {"name": "boxes", "dtype": "float32", "shape": ["N", 7, 4]},
            {"name": "scores", "dtype": "float32", "shape": ["N", 7]},
            {"name": "landmarks", "dtype": "float32", "shape": ["N", 7, 10]},
        ],
    },
    "preprocessing": {
        "resize": "letterbox: bilinear, aspect kept, centred",
        "color_order": "bgr",
        "mean": [104.0, 117.0, 123.0],
        "std": [1.0, 1.0, 1.0],
        "pad_value": [104, 117, 123],
    },
    "thresholds": {"score": 0.1, "iou": 0.3, "top_k": 77, "max_detections": 7, "voting": True},
    "detector_sha256": "2" * 64,
    "files": {
        "engine": {"name": "a.engine", "sha256": "3" * 64, "bytes": 5},
        "network": {"name": "a.network.onnx", "sha256": "4" * 64, "bytes": 6},
    },
}
# Free-form: evidence for people, which the program does not read.
FREE = ("precision.", "calibration.", "plugins.versions.")
COMMAND = (
    "python build_engine.py --precision int8 --config mobilenet0.25 --weights 'my weights.pth' --runtime tensorrt-rtx "
    "--score-threshold 0.1 --iou-threshold 0.3 --top-k 77 --max-detections 7 --voting --embed-plugins "
    "--input-size 320 640 --max-batch 4 --min-input-size 64 96 --max-input-size 640 960 --target sm86 --target sm89 "
    "--output 'a folder/a.engine'"
)


def _names(values: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields in objects."""
    for key, value in values.items() if isinstance(values, dict) else ():
        yield prefix + key
        yield from _names(value, f"{prefix}{key}.")


def _edited(name: str, *value: Any) -> dict[str, Any]:
    """The values with one field replaced, or, without a value, removed."""
    values = copy.deepcopy(VALUES)
    *path, key = name.split(".")
    entry = values
    for part in path:
        entry = entry[part]
    entry.pop(key, None)
    if value:
        entry[key] = value[0]
    return values


FIELDS = [name for name in _names(VALUES) if name == "precision.mode" or not name.startswith(FREE)]


def test_what_is_on_disk_is_read_and_written_again() -> None:
    sidecar = read_sidecar(VALUES)
    assert json.loads(sidecar.to_json()) == VALUES
    assert sidecar.config == preset("mobilenet0.25")
    assert sidecar.thresholds == Thresholds(0.1, 0.3, 77, 7, True)
    assert sidecar.io.input.size == InputSize((64, 96), (320, 640), (640, 960))
    assert sidecar.io.outputs[1] == OutputSpec("boxes", "float32", ("N", 7, 4))
    assert (sidecar.precision.mode, sidecar.precision.evidence["loss"]) == ("int8", 0.01)
    assert sidecar.files.network == FileEntry("a.network.onnx", "4" * 64, 6)
    plain = read_sidecar(_edited("calibration", None))
    assert plain.calibration is None


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_a_wrong_type_is_named(name: str) -> None:
    assert len(FIELDS) > 45
    value: Any = reduce(getitem, name.split("."), VALUES)
    wrong = {str: 1.5, list: "text", dict: [], int: 2.5, float: "text", bool: 1, NoneType: []}[type(value)]
    # In Python true and false are integers.
    for given in (wrong, 0 if isinstance(value, bool) else True):
        with pytest.raises(InvalidArgumentError, match=rf"^{re.escape(name)} is .*, expected "):
            read_sidecar(_edited(name, given))


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "config.body_slope"])  # younger than some files
def test_a_missing_field_is_named(name: str) -> None:
    parent, _, key = name.rpartition(".")
    with pytest.raises(InvalidArgumentError, match=rf"{parent or 'the file'} .*lacks \['{key}'\]"):
        read_sidecar(_edited(name))


@pytest.mark.parametrize("parent", ["", "config.", "weights.", "io.input.", "files.engine.", "thresholds."])
def test_an_unknown_field_is_named(parent: str) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"{parent[:-1] or 'the file'} has unknown keys \['extra'\]"):
        read_sidecar(_edited(f"{parent}extra", 1))


@pytest.mark.parametrize("values", [None, [], 1, "text"])
def test_what_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"the file is .*, expected an object"):
        read_sidecar(values)


def test_the_rebuild_command_repeats_every_option() -> None:
    path = Path("a folder/a.engine")
    assert read_sidecar(VALUES).rebuild_command(path) == COMMAND
    larger = read_sidecar(VALUES).rebuild_command(path, maximum=(960, 960))
    assert larger == COMMAND.replace("640 960", "960 960")


@pytest.mark.parametrize("name", list(_names(VALUES)))
def test_the_rebuild_command_leaves_out_what_it_cannot_tell(name: str) -> None:
    unusable: tuple[Any, ...] = (None, [], {})
    for values in (_edited(name), *(_edited(name, value) for value in unusable)):
        command = rebuild_command(values, Path("a folder/a.engine"))
        words = command.split()
        assert set(words) <= set(COMMAND.split())
        assert words[:2] == ["python", "build_engine.py"]
        assert len(words) >= len(COMMAND.split()) - 11  # of "io", which has most of the options
