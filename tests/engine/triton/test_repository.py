"""A written repository: what Triton's own messages read from its configs, and that its tensors are the engine's."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from engine.backend.plugin_library import PluginLibrary
from engine.config.detection import INTEGER_OUTPUTS, output_shapes
from engine.config.heads import ValueHead
from engine.config.presets import preset
from engine.errors import OutputError
from engine.faces import Detections
from engine.mesh.dense.output import MeshOutput
from engine.protocol.tensors import INPUTS, output_infos, outputs_of
from engine.sidecar import EngineFiles
from engine.sidecar.content import OutputSpec, Sidecar, TensorSpecs
from engine.sidecar.schema import read_sidecar
from engine.triton import repository
from engine.triton.repository import write_repository
from tests.engine.sidecar.test_content import VALUES

AROUND_THE_PLAN = {"retinaface_ensemble", "retinaface_letterbox", "retinaface_plan", "retinaface_undo"}


def sidecar(runtime: str = "tensorrt", dtype: str = "float32") -> Sidecar:
    """An engine for 1 to 4 images of a range of sizes."""
    read = read_sidecar(VALUES)
    given = replace(read.io.input, dtype=dtype)
    return replace(read, runtime=replace(read.runtime, name=runtime), io=replace(read.io, input=given))


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A stand-in for the plugin library."""
    path = tmp_path / "libretinaface_plugins.so"
    path.write_bytes(b"the library")
    monkeypatch.setattr(repository, "plugin_library", lambda: PluginLibrary(path, ""))
    return path.read_bytes()


def written(folder: Path, about: Sidecar) -> dict[str, Any]:
    """Write the repository of an engine, and return the configs of its models by name."""
    files = EngineFiles(Path("faces.engine"), b"the plan", b"the network", about)
    names = write_repository(files, folder)
    configs = {
        name: text_format.Parse((folder / name / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        for name in names
    }
    assert all(config.name == name for name, config in configs.items())
    assert all((folder / name / "1").is_dir() for name in names)
    return configs


def shapes(tensors: Any) -> dict[str, tuple[str, list[int]]]:
    """Types and shapes of one image's part, as the model sees them."""
    return {
        tensor.name: (
            model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_"),
            list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims),
        )
        for tensor in tensors
    }


def as_shapes(infos: Any) -> dict[str, tuple[str, list[int]]]:
    """The same of the protocol's tensors."""
    return {info.name: (info.datatype.replace("BYTES", "STRING"), list(info.shape)) for info in infos}


def test_the_detectors_tensors_are_those_of_the_service(tmp_path: Path) -> None:
    about = sidecar("tensorrt-rtx")
    configs = written(tmp_path / "r", about)
    assert configs.keys() == {"retinaface"}  # Triton has no backend for plans of TensorRT-RTX
    config = configs["retinaface"]
    assert (config.backend, config.max_batch_size) == ("python", 4)
    assert shapes(config.input) == {"encoded": ("STRING", []), "image": ("UINT8", [-1, -1, 3])} == as_shapes(INPUTS)
    outputs = {
        "num_faces": ("INT32", []),
        "boxes": ("FP32", [-1, 4]),
        "scores": ("FP32", [-1]),
        "landmarks": ("FP32", [-1, 5, 2]),
    }
    infos = output_infos(preset("mobilenet0.25"))
    assert shapes(config.output) == outputs == as_shapes(infos)
    assert all(tensor.optional for tensor in config.input)
    assert [tensor.allow_ragged_batch for tensor in config.input] == [False, True]
    assert config.dynamic_batching.priority_levels == 2
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 4]
    version = tmp_path / "r" / "retinaface" / "1"
    assert (version / "retinaface.engine").read_bytes() == b"the plan"
    assert (version / "retinaface.network.onnx").read_bytes() == b"the network"
    assert read_sidecar(json.loads((version / "retinaface.engine.json").read_text())) == about


@pytest.mark.parametrize("colours", [False, True])
def test_meshes_are_among_the_outputs_of_all_models(tmp_path: Path, library: bytes, colours: bool) -> None:
    given, config = sidecar(), preset("mobilenet0.25-dense")
    meshes = MeshOutput("dense.npz", "0" * 64, 468, 5, colours)
    io = TensorSpecs.of(given.io.input, config, given.thresholds, meshes)
    configs = written(tmp_path / "r", replace(given, config=config, io=io, meshes=meshes))
    for kind, expected in (("vertices", True), ("colours", colours)):
        for name in ("retinaface", "retinaface_ensemble", "retinaface_undo"):
            assert shapes(configs[name].output).get(kind) == (("FP32", [-1, 468, 3]) if expected else None)
        for tensors in (configs["retinaface_plan"].output, configs["retinaface_undo"].input):
            assert shapes(tensors).get(kind) == (("FP32", [5, 468, 3]) if expected else None)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_plans_tensors_are_those_of_the_engine(tmp_path: Path, library: bytes, dtype: str) -> None:
    about = sidecar(dtype=dtype)
    configs = written(tmp_path / "r", about)
    assert configs.keys() == {"retinaface", *AROUND_THE_PLAN}
    plan = configs["retinaface_plan"]
    assert (plan.platform, plan.max_batch_size) == ("tensorrt_plan", 4)
    assert shapes(plan.input) == {"images": ("FP16" if dtype == "float16" else "FP32", [3, -1, -1])}
    assert {name: tuple(shape) for name, (_, shape) in shapes(plan.output).items()} == output_shapes(
        about.config, about.thresholds
    )
    assert [list(group.profile) for group in plan.instance_group] == [["0", "1"]]
    assert {tuple(warmup.inputs["images"].dims) for warmup in plan.model_warmup} == {(3, 320, 640)}
    assert (tmp_path / "r" / "retinaface_plan" / "1" / "model.plan").read_bytes() == b"the plan"
    assert (tmp_path / "r" / "retinaface_plan" / "libretinaface_plugins.so").read_bytes() == library


def test_the_ensemble_connects_tensors_of_the_same_type_and_shape(tmp_path: Path, library: bytes) -> None:
    configs = written(tmp_path / "r", sidecar())
    ensemble = configs["retinaface_ensemble"]
    known = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        model = configs[step.model_name]
        assert {tensor.name for tensor in model.input} == {*step.input_map}
        assert {tensor.name for tensor in model.output} == {*step.output_map}
        for tensor in model.input:
            kind, dims = known[step.input_map[tensor.name]]
            assert kind == tensor.data_type
            assert len(dims) == len(tensor.dims)
            assert all(-1 in pair or pair[0] == pair[1] for pair in zip(dims, tensor.dims, strict=True))
        known.update({step.output_map[t.name]: (t.data_type, list(t.dims)) for t in model.output})
    detector = configs["retinaface"]
    for kind in ("input", "output"):
        expected = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in getattr(detector, kind)}
        assert {t.name: (t.data_type, list(t.dims)) for t in getattr(ensemble, kind)} == expected
        assert {name: known[name] for name in expected} == expected


def test_an_engine_for_single_images_has_one_profile(tmp_path: Path, library: bytes) -> None:
    about = sidecar()
    given = about.io.input
    single = replace(given, optimum=(1, *given.optimum[1:]), maximum=(1, *given.maximum[1:]))
    plan = written(tmp_path / "r", replace(about, io=replace(about.io, input=single)))["retinaface_plan"]
    assert [list(group.profile) for group in plan.instance_group] == [["0"]]
    assert [warmup.batch_size for warmup in plan.model_warmup] == [1]


def test_a_model_without_landmarks_has_none_in_triton(tmp_path: Path, library: bytes) -> None:
    about = sidecar()
    config = replace(about.config, heads=about.config.heads[:2])
    outputs = tuple(tensor for tensor in about.io.outputs if tensor.name != "landmarks")
    configs = written(tmp_path / "r", replace(about, config=config, io=replace(about.io, outputs=outputs)))
    assert "landmarks" not in "".join(map(str, configs.values()))


def test_classes_and_values_reach_tritons_callers(tmp_path: Path, library: bytes) -> None:
    about = sidecar()
    own = replace(
        about.config,
        classes=("mask, of cloth", 'no "mask"'),
        mirrored_points=tuple(range(68)),
        values=(ValueHead("age", 1), ValueHead("pose", 3)),
    )
    raw = tuple(
        OutputSpec(name, "int32" if name in INTEGER_OUTPUTS else "float32", ("batch", *shape))
        for name, shape in output_shapes(own, about.thresholds).items()
    )
    configs = written(tmp_path / "r", replace(about, config=own, io=replace(about.io, outputs=raw)))
    for name in ("retinaface", "retinaface_ensemble"):
        assert configs[name].parameters["classes"].string_value == json.dumps(["mask, of cloth", 'no "mask"'])
    wanted = {
        **{"landmarks": ("FP32", [-1, 68, 2]), "classes": ("INT32", [-1])},
        **{"age": ("FP32", [-1, 1]), "pose": ("FP32", [-1, 3])},
    }
    for name in ("retinaface", "retinaface_undo"):
        assert {key: value for key, value in shapes(configs[name].output).items() if key in wanted} == wanted
    assert shapes(configs["retinaface_plan"].output)["classes"] == ("INT32", [about.thresholds.max_detections])
    assert shapes(configs["retinaface_plan"].output) == shapes(configs["retinaface_undo"].input[:-1])


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    written(tmp_path / "r", sidecar("tensorrt-rtx"))  # an empty one is taken
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="it exists and is no empty folder"):
        written(tmp_path / "r", sidecar("tensorrt-rtx"))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_start_script_runs_the_python_that_is_named(tmp_path: Path) -> None:
    written(tmp_path / "a folder", sidecar("tensorrt-rtx"))
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PWD" "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["a folder/start", "--http-port=1"], cwd=tmp_path, env={**os.environ, "PYTHON": "./python"},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{tmp_path / 'a folder'} -m engine.triton.start . --http-port=1\n"


def test_outputs_are_padded_with_zeros() -> None:
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    marks = np.arange(20, dtype=np.float32).reshape(2, 5, 2)
    scores = np.array([0.9, 0.8], np.float32)
    two = Detections(boxes, scores, marks, (10, 10))
    one = Detections(boxes[:1], scores[:1], marks[:1], (10, 10))
    outputs = outputs_of([one, two])
    assert {name: values.dtype.name for name, values in outputs.items()} == {
        "num_faces": "int32", "boxes": "float32", "scores": "float32", "landmarks": "float32"
    }  # fmt: skip
    assert outputs["num_faces"].tolist() == [1, 2]
    assert outputs["boxes"].tolist() == [[[1, 2, 3, 4], [0, 0, 0, 0]], boxes.tolist()]
    assert outputs["scores"].tolist() == [[scores[0], 0], scores.tolist()]
    assert not outputs["landmarks"][0, 1].any()
    np.testing.assert_array_equal(outputs["landmarks"][1], marks)
