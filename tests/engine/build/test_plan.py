"""What the parser of TensorRT makes of a detector, by its version; how the builder is configured."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from engine.backend.plugin_library import DECODE_PLUGIN, DEFORM_CONV_PLUGIN, NMS_PLUGIN, PluginLibrary
from engine.backend.tensorrt import Backend
from engine.build.plan import Plan, PlanOptions, Toolchain, build_plan
from engine.config.detection import InputSize, Thresholds
from engine.config.presets import preset
from engine.errors import BuildError
from engine.export.attach import PLUGIN_DOMAIN, attach_detection
from engine.model.weights.load import load_model
from tests.support.doubles.builder import BuilderDouble
from tests.support.shared import exported

VERSIONS = ["10.0", "10.1", "10.14", "10.15", "11.0"]
SIZE = InputSize.fixed(64, 96)  # other tests export the same


@pytest.fixture(scope="module")
def detector() -> onnx.ModelProto:
    """A detector with 25 deformable convolutions."""
    config = preset("retinaface-resnet50")
    return attach_detection(exported(load_model(config, "random")[0], SIZE), config, Thresholds())


def plan(version: str, detector: onnx.ModelProto, *, tf32: bool = False) -> tuple[Plan, BuilderDouble]:
    """Build with the double of a version of TensorRT."""
    return plan_with(PlanOptions(SIZE, 1, tf32=tf32), detector, version=version)


def plan_with(
    options: PlanOptions, detector: onnx.ModelProto, *, version: str = "11.0", runtime: str = "tensorrt"
) -> tuple[Plan, BuilderDouble]:
    """Build with other options, or with the double as another runtime."""
    double = BuilderDouble(version)
    toolchain = Toolchain(Backend(runtime, double, version), PluginLibrary(Path("unused"), ""), ("portable",))
    return build_plan(detector, toolchain, options), double


@pytest.mark.parametrize("version", VERSIONS)
def test_deformable_convolutions_are_our_plugin(version: str, detector: onnx.ModelProto) -> None:
    """The parser of TensorRT 10.1 and later imports the standard's operator as another plugin."""
    operators = {node.name: node.op_type for node in detector.graph.node}
    built, _ = plan(version, detector)
    assert [operators[name] for name in built.plugins] == [DEFORM_CONV_PLUGIN] * 25 + [DECODE_PLUGIN, NMS_PLUGIN]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_parser_that_takes_something_else_is_noticed(version: str, detector: onnx.ModelProto) -> None:
    changed = onnx.ModelProto()
    changed.CopyFrom(detector)
    for node in changed.graph.node:
        if node.op_type == DEFORM_CONV_PLUGIN:
            node.op_type = "DeformConv"
    if version == "10.0":  # falls back to plugins
        assert len(plan(version, changed)[0].plugins) == 27
    else:
        with pytest.raises(BuildError, match=r"made 2 plugin layers of 27 .*\(RetinaFaceDecode, RetinaFaceNMS\)"):
            plan(version, changed)


@pytest.mark.parametrize("tf32", [False, True])
def test_float32_is_rounded_to_tf32_only_where_that_was_asked_for(detector: onnx.ModelProto, tf32: bool) -> None:
    _, double = plan("11.0", detector, tf32=tf32)
    assert double.flags == ({"TF32"} if tf32 else set())


SIZES = InputSize((64, 96), (320, 640), (640, 960))


def test_single_images_have_a_profile_of_their_own_behind_the_one_for_every_batch(detector: onnx.ModelProto) -> None:
    every = ((1, 3, 64, 96), (16, 3, 320, 640), (16, 3, 640, 960))
    single = ((1, 3, 64, 96), (1, 3, 320, 640), (1, 3, 640, 960))
    assert plan_with(PlanOptions(SIZES, 16), detector)[1].profiles == [every, single]
    assert plan_with(PlanOptions(SIZES, 1), detector)[1].profiles == [single]


def test_rtx_has_one_profile_as_it_chooses_kernels_when_it_runs(detector: onnx.ModelProto) -> None:
    _, double = plan_with(PlanOptions(SIZES, 16), detector, runtime="tensorrt-rtx")
    assert double.profiles == [((1, 3, 64, 96), (16, 3, 320, 640), (16, 3, 640, 960))]


def test_the_plugin_s_nodes_name_its_version(detector: onnx.ModelProto) -> None:
    for node in detector.graph.node:
        attributes = {
            attribute.name: attribute.s for attribute in node.attribute if attribute.name.startswith("plugin_")
        }
        assert attributes == ({"plugin_version": b"1", "plugin_namespace": b""} if node.domain == PLUGIN_DOMAIN else {})
