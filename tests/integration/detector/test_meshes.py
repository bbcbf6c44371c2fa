"""Meshes of faces, from a decoder's file through an engine's three files to results."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import httpx
import numpy as np
import onnxruntime
import pytest
import torch

from engine import Detections, InvalidArgumentError, TRTRetinaFace
from engine.build.onnx_file import ExportOptions, export_onnx
from engine.config.detection import InputSize, Thresholds
from engine.config.heads import ValueHead
from engine.config.presets import preset
from engine.mesh.dense.decoder import MeshDecoder
from engine.mesh.dense.run import DenseDecoder
from engine.mesh.dense.source import MeshOptions
from engine.mesh.levels import make_levels
from engine.protocol.tensors import output_infos, outputs_of
from engine.rows import Detection, columns_of
from engine.types import Image
from tests.engine.mesh.meshes import mask
from tests.integration.serve.service import serving
from tests.support.engines import build
from tests.support.family import settled_model

SIDE, MESHES = 96, 3
THRESHOLDS = Thresholds(score=0.4, iou=0.3, max_detections=40)
SIZES = ((120, 80), (SIDE, SIDE), (40, 64))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What builds and exports take: a model with the dense branch's values, and a decoder of a mesh of 56 vertices."""
    folder = tmp_path_factory.mktemp("meshes")
    model = settled_model("mobilenet0.25", name="own", values=(ValueHead("age", 1), ValueHead("dense", 144)))
    torch.save(model.state_dict(), folder / "own.pth")
    torch.manual_seed(2)
    decoder = MeshDecoder(make_levels(mask(8, 7), [18, 6]))
    torch.nn.init.normal_(decoder.last.weight, std=0.1)
    decoder.weights().save(folder / "dense.npz")
    return {
        "config": model.config,
        "weights": str(folder / "own.pth"),
        "precision": "fp32",
        "size": InputSize.fixed(SIDE, SIDE),
        "thresholds": THRESHOLDS,
        "meshes": MeshOptions(folder / "dense.npz", MESHES, colours=True),
    }


@pytest.fixture(scope="module")
def decoder(options: dict[str, object]) -> DenseDecoder:
    meshes = options["meshes"]
    assert isinstance(meshes, MeshOptions)
    return DenseDecoder.load(Path(meshes.decoder))


@pytest.fixture(scope="module")
def engine(options: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine of TensorRT-RTX, which builds the decoder inside."""
    path = tmp_path_factory.mktemp("engine") / "own.engine"
    report = build(path, **options)
    assert report.sidecar.meshes is not None
    assert report.sidecar.meshes.shape == (MESHES, 56, 3)
    return path


@pytest.fixture(scope="module")
def detector(engine: Path) -> TRTRetinaFace:
    return TRTRetinaFace(engine, device="cpu", threads=1, enlarge=True)


@pytest.fixture(scope="module")
def images() -> list[Image]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


def test_the_best_faces_have_the_meshes_of_their_values_and_boxes(
    detector: TRTRetinaFace, decoder: DenseDecoder, images: list[Image]
) -> None:
    for found in detector.detect(images, score_threshold=THRESHOLDS.score):
        assert len(found) > MESHES
        assert found.vertices is not None
        assert np.isnan(found.vertices[MESHES:]).all()
        first = found[:MESHES]
        expected = decoder.decode(first.values["dense"], first.boxes)
        # The letterbox maps boxes and meshes one after the other, with sides that are rounded to whole pixels.
        np.testing.assert_allclose(found.vertices[:MESHES], expected.vertices, atol=0.05, rtol=0.02)
        np.testing.assert_allclose(np.asarray(found.colours)[:MESHES], expected.colours, atol=1e-5)
        assert expected.colours.std() > 0.03
        assert np.isnan(np.asarray(found.colours)[MESHES:]).all()
        assert np.array_equal(np.asarray(found.triangles), decoder.triangles)
        assert [face.vertices is None for face in found] == [False] * MESHES + [True] * (len(found) - MESHES)


def test_tables_have_meshes_if_they_are_wanted(detector: TRTRetinaFace, engine: Path, images: list[Image]) -> None:
    found = detector.detect(images[0], score_threshold=THRESHOLDS.score)
    assert "vertices" not in columns_of([found], Detection(engine).columns())
    columns = Detection(engine, meshes=True).columns()
    for column in columns[-2:]:
        assert column.shape == (-1, 56, 3)
        (meshes,) = columns_of([found], columns)[column.name]
        assert meshes == [*getattr(found, column.name)[:MESHES].tolist(), *[None] * (len(found) - MESHES)]
    assert [column.name for column in columns[-2:]] == ["vertices", "colours"]


def test_a_scale_moves_meshes_like_boxes(engine: Path, decoder: DenseDecoder, images: list[Image]) -> None:
    with TRTRetinaFace(engine, device="cpu", threads=1) as detector:
        found = detector.detect(images[2], scales=[60], score_threshold=THRESHOLDS.score)
    assert found.vertices is not None
    faces = found[[face.vertices is not None for face in found]]
    assert len(faces)
    expected = decoder.decode(faces.values["dense"], faces.boxes)
    np.testing.assert_allclose(np.asarray(faces.vertices), expected.vertices, atol=0.05, rtol=0.02)
    np.testing.assert_allclose(np.asarray(faces.colours), expected.colours, atol=1e-5)


def test_an_exported_detector_gives_the_same(
    detector: TRTRetinaFace, options: dict[str, object], images: list[Image], tmp_path: Path
) -> None:
    """ONNX Runtime runs the nodes that engines have at their end."""
    network = export_onnx(ExportOptions(**options, output=tmp_path / "own.onnx"))  # type: ignore[arg-type]
    about = {entry.key: entry.value for entry in network.metadata_props}["retinaface-trt-detector"]
    meshes = detector.sidecar.meshes
    assert meshes is not None
    assert json.loads(about)["meshes"] == {
        "decoder": meshes.decoder,
        "sha256": meshes.sha256,
        "num_vertices": 56,
        "max_meshes": MESHES,
        "colours": True,
    }
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = images[1].transpose(2, 0, 1)[None].astype(np.float32)
    names = [entry.name for entry in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {session.get_inputs()[0].name: pixels}), strict=True))
    found = detector.detect(images[1], score_threshold=THRESHOLDS.score)
    assert found.vertices is not None
    assert outputs["vertices"].shape == (1, MESHES, 56, 3)
    np.testing.assert_allclose(outputs["vertices"][0], found.vertices[:MESHES], atol=0.05)
    assert names[-2:] == ["vertices", "colours"]
    np.testing.assert_allclose(outputs["colours"][0], np.asarray(found.colours)[:MESHES], atol=1e-4)


def test_results_reach_every_reader(detector: TRTRetinaFace, images: list[Image]) -> None:
    found = detector.detect(images, score_threshold=THRESHOLDS.score)
    outputs = outputs_of(found)
    infos = output_infos(detector.config, detector.sidecar.meshes)
    assert [info.name for info in infos] == list(outputs) == [*list(outputs)[:-2], "vertices", "colours"]
    assert infos[-1].shape == infos[-2].shape == (-1, 56, 3)
    assert outputs["vertices"].shape == (len(images), MESHES, 56, 3)
    assert np.array_equal(outputs["vertices"][0], np.asarray(found[0].vertices)[:MESHES])
    assert np.array_equal(outputs["colours"][0], np.asarray(found[0].colours)[:MESHES])
    fewer = outputs_of([found[0][1:2], found[1][MESHES:]])["vertices"]
    assert np.array_equal(fewer[0], np.asarray(found[0].vertices)[1:2])
    assert not fewer[1].any()
    again = Detections.from_json(found[0].to_json(meshes=True))
    np.testing.assert_allclose(np.asarray(again.vertices), np.asarray(found[0].vertices), atol=0.0051)
    np.testing.assert_allclose(np.asarray(again.colours), np.asarray(found[0].colours), atol=0.000051)
    assert np.array_equal(np.asarray(again.triangles), np.asarray(found[0].triangles))
    assert Detections.from_json(found[0].to_json()).vertices is None


def test_a_service_answers_with_meshes_if_asked(engine: Path, images: list[Image]) -> None:
    picture = cv2.imencode(".png", images[1])[1].tobytes()
    with TRTRetinaFace(engine, device="cpu:onnxruntime") as detector:
        expected = detector.detect(picture)
    assert len(expected) > MESHES
    with serving(engine) as service:
        plain, meshes = (
            httpx.post(f"{service.url}/detect", params=asked, content=picture).json()
            for asked in ({}, {"meshes": True})
        )
        described = httpx.get(f"{service.url}/v2/models/retinaface").json()["outputs"]
    assert plain == expected.to_json()
    assert described[-2:] == [
        {"name": name, "datatype": "FP32", "shape": [-1, -1, 56, 3]} for name in ("vertices", "colours")
    ]
    faces = Detections.from_json(meshes)
    np.testing.assert_allclose(np.asarray(faces.vertices), np.asarray(expected.vertices), atol=0.05)
    np.testing.assert_allclose(np.asarray(faces.colours), np.asarray(expected.colours), atol=0.001)
    assert np.array_equal(np.asarray(faces.triangles), np.asarray(expected.triangles))


def test_the_command_prints_meshes_if_asked(engine: Path, images: list[Image], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), images[1])
    command = ["detect", "--engine", engine, "--device", "cpu", tmp_path / "a.png"]
    plain, meshes = (
        json.loads(subprocess.check_output([sys.executable, "-m", "engine", *map(str, command), *more], text=True))
        for more in ([], ["--meshes"])
    )
    assert ["vertices" in face for face in meshes["faces"][: MESHES + 1]] == [True] * MESHES + [False]
    assert {key: value for key, value in meshes.items() if key not in ("faces", "triangles")} == {
        key: value for key, value in plain.items() if key != "faces"
    }
    assert not any({"vertices", "colours"} & face.keys() for face in plain["faces"])


def test_a_build_refuses_what_does_not_go_together(options: dict[str, object], tmp_path: Path) -> None:
    out = tmp_path / "own.engine"
    meshes = options["meshes"]
    assert isinstance(meshes, MeshOptions)
    with pytest.raises(InvalidArgumentError, match=r"config mobilenet0.25 has heads of plain values of no kind, but"):
        build(out, precision="fp32", weights="random", meshes=meshes)
    places = replace(preset("mobilenet0.25-dense"), values=(ValueHead("dense", 144, "points"),))
    with pytest.raises(InvalidArgumentError, match="has heads of plain values of no kind, but"):
        build(out, precision="fp32", weights="random", meshes=meshes, config=places)
    for number in (0, 41, 2.5, True):
        said = rf"max_meshes is {number}, expected 1 to 40, the faces that the engine gives \(max_detections\)"
        with pytest.raises(InvalidArgumentError, match=said):
            build(out, **{**options, "meshes": MeshOptions(meshes.decoder, number)})  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"mesh decoder .*nothing.npz cannot be read: No such file"):
        build(out, **{**options, "meshes": MeshOptions(tmp_path / "nothing.npz")})
    (tmp_path / "other.npz").write_bytes(b"PK")
    with pytest.raises(
        InvalidArgumentError, match=r"other.npz: the weights of a dense branch cannot be read: is no zip"
    ):
        build(out, **{**options, "meshes": MeshOptions(tmp_path / "other.npz")})
    assert not out.exists()
