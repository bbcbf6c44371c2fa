"""A model with three classes, 68 points, plain values and further points, from its checkpoint to results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine import Detections, InvalidArgumentError, TRTRetinaFace
from engine.cli import main
from engine.config.detection import InputSize, Thresholds
from engine.config.heads import ValueHead
from engine.model.retinaface import RetinaFace
from engine.protocol.tensors import output_infos, outputs_of
from engine.rows import Detection, columns_of
from engine.runtime.cpu.session import detect
from engine.runtime.letterbox import Letterbox
from engine.types import Image
from tests.support.engines import build
from tests.support.family import settled_model

SIDE = 96
THRESHOLDS = Thresholds(score=0.4, iou=0.3, max_detections=40)
MIRRORED = tuple(i ^ 1 for i in range(68))  # pairs


@pytest.fixture(scope="module")
def model() -> RetinaFace:
    return settled_model(
        "mobilenet0.25",
        name="own",
        classes=("mask", "no mask"),
        mirrored_points=MIRRORED,
        values=(ValueHead("age", 1), ValueHead("pose", 3), ValueHead("ears", 4, "points")),
    )


@pytest.fixture(scope="module")
def engine(model: RetinaFace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    torch.save(model.state_dict(), folder / "own.pth")
    build(
        folder / "own.engine",
        config=model.config,
        weights=str(folder / "own.pth"),
        precision="fp32",
        size=InputSize.fixed(SIDE, SIDE),
        thresholds=THRESHOLDS,
    )
    return folder / "own.engine"


@pytest.fixture(scope="module")
def detector(engine: Path) -> TRTRetinaFace:
    return TRTRetinaFace(engine, device="cpu", threads=1)


@pytest.fixture(scope="module")
def images() -> list[Image]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((120, 80), (SIDE, SIDE))]


def test_faces_are_those_of_the_model_in_pytorch(
    detector: TRTRetinaFace, model: RetinaFace, images: list[Image]
) -> None:
    letterbox = Letterbox((SIDE, SIDE), model.config, enlarge=True)
    with torch.no_grad():
        heads = [head.numpy() for head in model(torch.from_numpy(letterbox.batch(images)))]
    wanted = letterbox.undo(detect(heads, model.config, THRESHOLDS), [image.shape[:2] for image in images])
    for found, expected in zip(detector.detect(images, score_threshold=THRESHOLDS.score), wanted, strict=True):
        assert len(found) == len(expected) > 3
        assert found.class_names == expected.class_names == ("mask", "no mask")
        assert [face.class_id for face in found] == [face.class_id for face in expected]
        # Convolutions of another library, in another order.
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)
        for face, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.asarray(face.landmarks), np.asarray(other.landmarks), atol=0.05)
        assert found.values.keys() == {"age", "pose", "ears"}
        for name, values in expected.values.items():
            np.testing.assert_allclose(found.values[name], values, atol=0.05 if name == "ears" else 1e-3)
        # In pixels of the picture, around their faces.
        centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        assert np.abs(found.values["ears"].reshape(-1, 2, 2) - centres[:, None]).max() < 4 * SIDE


def test_results_reach_every_reader(detector: TRTRetinaFace, images: list[Image]) -> None:
    found = detector.detect(images, score_threshold=THRESHOLDS.score)
    outputs = outputs_of(found)
    infos = output_infos(detector.config)
    assert list(outputs) == [info.name for info in infos]
    for info in infos:
        expected = [len(images), *(max(map(len, found)) if side < 0 else side for side in info.shape)]
        assert list(outputs[info.name].shape) == expected
    assert Detections.from_json(found[0].to_json()).class_names == found[0].class_names
    drawn = found[0].plot(images[0]).astype(int)
    points = found[0].landmarks
    assert points is not None
    inside = [(round(float(x)), round(float(y))) for x, y in points[0] if 1 < x < 78 and 1 < y < 118]
    assert inside
    assert all(np.abs(drawn[y, x] - images[0][y, x]).max() > 0 for x, y in inside)


def test_sidecars_name_what_the_engine_needs(detector: TRTRetinaFace, model: RetinaFace) -> None:
    sidecar = detector.sidecar
    assert sidecar.config == model.config
    assert sidecar.plugins.versions == {"RetinaFaceDecode": "2", "RetinaFaceNMS": "2"}
    assert {output.name: output.shape[1:] for output in sidecar.io.outputs} == {
        **{"num_detections": (), "boxes": (40, 4), "scores": (40,), "landmarks": (40, 136)},
        **{"classes": (40,), "age": (40, 1), "pose": (40, 3), "ears": (40, 4)},
    }


def test_points_and_values_are_evaluated(
    detector: TRTRetinaFace, engine: Path, images: list[Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine is compared with itself, and with labels of its own faces whose ages are 2 more."""
    twin, photos, lines = tmp_path / "twin.engine", tmp_path / "photos", []
    for file in engine.parent.glob("own.*"):
        shutil.copy(file, twin.with_name(file.name.replace("own", "twin")))
    photos.mkdir()
    for index, image in enumerate(images):
        cv2.imwrite(str(photos / f"{index}.png"), image)
        entry = {"image": f"{index}.png", **detector.detect(image, score_threshold=0.5).to_json()}
        for face in entry["faces"]:
            face["values"]["age"][0] += 2
        lines.append(json.dumps(entry))
    labels, report = tmp_path / "labels.jsonl", tmp_path / "report.json"
    labels.write_text("\n".join(lines))
    arguments = ["--reference", str(engine), "--engine", str(twin), "--images", str(photos), "--device", "cpu"]
    assert main(["evaluate", "agreement", *arguments, "--labels", str(labels), "--json", str(report)]) == 0
    printed = capsys.readouterr().out
    for expected in ("age, difference: median / 95 % below", "landmark error / size against labels", "pose, error"):
        assert expected in printed
    written = json.loads(report.read_text())
    (entry,) = written["engines"]
    most = {name: values["maximum"] for name, values in entry["agreement"]["values"].items()}
    assert most == {"age": 0, "pose": 0, "ears": 0}
    for errors in (written["head_errors"], entry["head_errors"]):
        assert errors["landmarks"]["count"] == errors["values"]["age"]["count"] > 3
        assert errors["landmarks"]["maximum"] < 1e-3  # JSON has two decimals of pixels
        assert errors["values"]["age"]["median"] == pytest.approx(2, abs=1e-3)


def test_tables_have_columns_of_the_heads(detector: TRTRetinaFace, engine: Path, images: list[Image]) -> None:
    columns = Detection(engine, meshes=True).columns()  # this engine gives no meshes
    found = detector.detect(images, score_threshold=THRESHOLDS.score)
    table = columns_of(found, columns)
    assert list(table)[1:] == [
        *("height", "width", "boxes", "scores"),
        *("landmarks", "classes", "values_age", "values_pose", "values_ears"),
    ]
    for column in columns[2:]:
        for row, faces in zip(table[column.name], found, strict=True):
            assert np.shape(row) == (len(faces), *column.shape[1:])
    assert table["classes"] == [[face.class_name for face in faces] for faces in found]


def test_what_such_heads_have_not_is_refused(detector: TRTRetinaFace, images: list[Image]) -> None:
    found = detector.detect(images[0], score_threshold=THRESHOLDS.score)
    with pytest.raises(InvalidArgumentError, match="faces has 68 landmarks a face, expected five"):
        found.align(images[0])
    with pytest.raises(InvalidArgumentError, match="nothing says what age, pose of own are in a mirror image"):
        detector.detect(images[0], flip=True)
