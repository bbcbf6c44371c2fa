"""`retinaface-trt export`: one ONNX file, run by ONNX Runtime and read by TensorRT-RTX, against engines on the CPU."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from engine import TRTRetinaFace, ops
from engine.backend.plugin_library import plugin_library
from engine.build import onnx_file
from engine.build.onnx_file import METADATA_KEY, ExportOptions, export_onnx
from engine.build.plan import PlanOptions, Toolchain, build_plan
from engine.cli import main
from engine.config.detection import InputSize, Thresholds
from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.errors import BuildError, OutputError, WeightsError
from engine.export.standard import surround
from engine.export.suppression import SUPPRESSIONS
from engine.model.weights.load import load_model
from engine.pictures.compose import FaceLimits, compose
from engine.pictures.faces import LabelledImage
from engine.precision.cast import to_fp16
from engine.runtime.cpu.session import detect
from engine.sidecar import network_path
from engine.types import FloatArray, Image, RawDetections
from tests.support.data import ASTRONAUT_FACE, astronaut
from tests.support.engines import build, rtx
from tests.support.family import settled_model
from tests.support.oracles.boxes import iou
from tests.support.shared import exported

SIZE, RANGE = InputSize.fixed(320, 320), InputSize((64, 96), (320, 320), (320, 640))
SMALL = InputSize.fixed(64, 96)
BOX_PX, SCORE = 1e-3, 1e-5
# In float16 a runtime's kernels may round otherwise for a batch than for one image. Heads then differ by one unit in
# the last place: 2^-10 of a delta, which moves a corner by 2^-10 x 0.1 of the face's side, here up to 120 pixels; and
# of a logit below 4, whose slope is at most 1/4.
FP16_BOX_PX, FP16_SCORE = 0.02, 1e-3


def grey_levels(images: list[Image], config: RetinaFaceConfig, size: tuple[int, int]) -> FloatArray:
    """Letterbox pictures without normalisation: float32 [N, 3, H, W], 0 to 255."""
    batch: FloatArray = np.empty((len(images), 3, *size), np.float32)
    ops.letterbox(
        images, size, mean=0.0, pad_value=config.pad_value, swap_rb=config.color_order == "rgb", enlarge=False,
        out=(batch, np.empty((len(images), 3), np.float32)),
    )  # fmt: skip
    return batch


def load(model: onnx.ModelProto | Path) -> Any:
    """Load a file with ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = model.read_bytes() if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(session: Any, batch: FloatArray) -> RawDetections:
    """Run a file."""
    names = [output.name for output in session.get_outputs()]
    values = dict(zip(names, session.run(names, {"images": batch}), strict=True))
    return RawDetections(values["num_detections"], values["boxes"], values["scores"], values.get("landmarks"))


def assert_close(given: RawDetections, wanted: RawDetections, box_px: float, score: float) -> None:
    """Compare faces in order: scores of these pictures have no ties."""
    assert np.array_equal(given.num_detections, wanted.num_detections)
    np.testing.assert_allclose(given.scores, wanted.scores, atol=score, rtol=0)
    np.testing.assert_allclose(given.boxes, wanted.boxes, atol=box_px, rtol=0)
    assert (given.landmarks is None) == (wanted.landmarks is None)
    if given.landmarks is not None and wanted.landmarks is not None:
        np.testing.assert_allclose(given.landmarks, wanted.landmarks, atol=box_px, rtol=0)


def pictures() -> list[Image]:
    """A photo, pictures composed of its face, noise, and one without anything."""
    photo = astronaut()
    composed = compose(
        [LabelledImage(photo, ASTRONAUT_FACE[None])], count=3, size=(300, 420), seed=1, limits=FaceLimits((16, 120))
    )
    noise = np.random.default_rng(0).integers(0, 256, (200, 310, 3), dtype=np.uint8)
    return [photo, *(picture.image for picture in composed), noise, np.full((320, 320, 3), 90, np.uint8)]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_file_gives_the_engine_s_faces(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a photo, composed pictures and noise, in batches of 1 and 3; and its network is the engine's to the bit."""
    monkeypatch.setattr(onnx_file, "export_network", exported)
    thresholds = Thresholds(max_detections=4)
    build(tmp_path / "faces.engine", precision=precision, size=SIZE, thresholds=thresholds)
    engine = TRTRetinaFace(tmp_path / "faces.engine", "cpu:onnxruntime")
    path, config, images = tmp_path / "faces.onnx", preset("mobilenet0.25"), pictures()
    tolerances = (BOX_PX, SCORE) if precision == "fp32" else (FP16_BOX_PX, FP16_SCORE)
    for method in SUPPRESSIONS:
        export_onnx(ExportOptions(precision, size=SIZE, thresholds=thresholds, suppression=method, output=path))
        session = load(path)
        counts: list[int] = []
        for size in (1, 3):
            for start in range(0, len(images), size):
                batch = images[start : start + size]
                ours = engine._session.run(engine._letterbox.batch(batch))
                assert_close(run(session, grey_levels(batch, config, SIZE.optimum)), ours, *tolerances)
                counts += ours.num_detections.tolist()
        assert {0, 1, 4} <= set(counts)  # 4 is a picture with more faces than slots

    theirs, file = (onnx.load(p) for p in (network_path(tmp_path / "faces.engine"), path))
    inner = file.graph.node[1 : 1 + len(theirs.graph.node)]  # behind the subtraction of the mean
    for node in inner:
        node.input[:] = ["images" if name == "normalised_images" else name for name in node.input]
    assert list(inner) == list(theirs.graph.node)
    weights = {tensor.name: tensor for tensor in file.graph.initializer}
    assert all(weights[tensor.name] == tensor for tensor in theirs.graph.initializer)


@pytest.mark.parametrize("name", ["context", "full", "resnet18-lite", "retinaface-resnet50"])
def test_presets_run(name: str) -> None:
    """Without landmarks, as a cascade, with anchors that are no squares, and deformable."""
    model, thresholds = settled_model(name), Thresholds(score=0.5, top_k=300, max_detections=50)
    config, network = model.config, exported(model, SMALL)
    levels = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 96)).astype(np.float32)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (config.mean, config.std))
    for typed, method in zip((network, to_fp16(network)), SUPPRESSIONS, strict=True):
        heads = load(typed).run(config.head_names(), {"images": (levels - mean) / std})
        ours = detect(heads, config, thresholds)
        assert ours.num_detections.min() > 3
        assert_close(run(load(surround(typed, config, thresholds, SMALL, method)), levels), ours, BOX_PX, SCORE)


@pytest.mark.parametrize(
    ("name", "size", "changes"),
    [
        ("mobilenet0.25", RANGE, {}),
        ("resnet18-lite", SMALL, {"cascade": True}),
        ("resnet18-lite", SMALL, {"heads": ("class", "box")}),
    ],
)
def test_tensorrt_rtx_builds_it_without_plugins(name: str, size: InputSize, changes: dict[str, Any]) -> None:
    config = replace(preset(name), **changes)
    network = exported(load_model(config, "random")[0], size)
    for typed in (network, to_fp16(network)):
        file = surround(typed, config, Thresholds(), size, "loop")
        plan = build_plan(file, Toolchain(rtx(), plugin_library(), ("portable",)), PlanOptions(size, 4))
        assert plan.plugins == ()
        assert plan.num_layers > 300


def test_tensorrt_rtx_has_no_non_max_suppression() -> None:
    """If this fails, it has one: then the default can be recommended for it, too."""
    config = preset("mobilenet0.25")
    file = surround(exported(load_model(config, "random")[0], SMALL), config, Thresholds(), SMALL, "nms")
    with pytest.raises(BuildError, match="NonMaxSuppression"):
        build_plan(file, Toolchain(rtx(), plugin_library(), ("portable",)), PlanOptions(SMALL, 1))


def test_the_command_writes_a_file_that_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "faces.onnx"
    sizes = ["--input-size", "320", "320", "--min-input-size", "64", "96", "--max-input-size", "320", "640"]
    options = ["--format", "onnx", "--precision", "fp16", "--score-threshold", "0.4", "--max-detections", "20"]
    assert main(["export", *options, *sizes, "--output", str(path)]) == 0
    printed = capsys.readouterr()
    assert str(path) in printed.out
    assert "opset 19" in printed.out
    for stage in ("Loading weights", "Exporting mobilenet0.25", "Casting to float16", "Writing the file"):
        assert stage in printed.err
    assert [file.name for file in path.parent.iterdir()] == ["faces.onnx"]
    session = load(path)
    about = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
    assert about["input"]["color_order"] == "bgr"
    assert about["input"]["pad_value"] == [104, 117, 123]
    assert about["input"]["size"] == {"minimum": [64, 96], "optimum": [320, 320], "maximum": [320, 640]}
    assert about["thresholds"] == {"score": 0.4, "iou": 0.4, "top_k": 5000, "max_detections": 20, "voting": False}
    assert RetinaFaceConfig.from_dict(about["config"]) == preset("mobilenet0.25")
    assert about["precision"] == "fp16"
    assert about["weights"]["known_as"] == "mobilenet0.25"
    for size in ((64, 96), (320, 320), (320, 640)):
        found = run(session, grey_levels([astronaut()], preset("mobilenet0.25"), size))
        assert found.boxes.shape == (1, 20, 4)
    scale, left, top = 320 / 512, (640 - 320) / 2, 0  # of the last one
    assert found.num_detections[0] == 1
    assert iou((found.boxes[0, 0] - [left, top, left, top]) / scale, ASTRONAUT_FACE) > 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--voting"], "standard operators"),
        (["--precision", "bf16"], "expected one of: fp32, fp16, int8, fp8, mixed. Others are for engines only"),
        (["--precision", "int8"], "needs --calib-dir"),
        (["--suppression", "soft"], "expected one of: nms, loop"),
        (["--input-size", "100", "320"], "input height is 100"),
        (["--config", "yolo"], "unknown config 'yolo'"),
        (["--output", "faces.engine"], "expected a name that ends in .onnx"),
        (["--output", "folder.onnx"], "is a folder"),
        (["--output", f"{'long' * 70}.onnx"], "File name too long. Choose another name"),
        (["--output", "/proc/faces.onnx"], "cannot write to the output folder /proc"),
    ],
)
def test_a_wrong_option_ends_in_one_line_before_any_work(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    monkeypatch.setattr(onnx_file, "load_model", lambda *_: pytest.fail("work began"))
    assert main(["export", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that cannot be read, and a disk that is full."""
    path = tmp_path / "faces.onnx"
    path.write_bytes(b"an older file")
    with pytest.raises(WeightsError):
        export_onnx(ExportOptions(weights=str(path), output=path))

    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx_file, "export_network", exported)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match=r"faces\.onnx: No space left on device"):
        export_onnx(ExportOptions(size=SIZE, output=path))
    assert path.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [path]
