"""Export of a model to ONNX: from normalised pixels to raw heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.config.detection import INPUT_NAME, OPSET, InputSize
from engine.config.model import BODY_STRIDE, RetinaFaceConfig
from engine.errors import BuildError, InvalidArgumentError, WeightsError
from engine.export.exporter import quiet, remove_traces
from engine.export.folding import fold_batch_normalisations

if TYPE_CHECKING:
    import onnx

    from engine.model.retinaface import RetinaFace


def export_network(model: RetinaFace, size: InputSize) -> onnx.ModelProto:
    """Export a model with a dynamic batch and, if `size` is a range, dynamic height and width.

    Args:
        model: in evaluation mode.
        size: allowed input sizes.

    Returns:
        A checked ONNX model, float32: input `images` [N, 3, H, W], outputs named by RetinaFaceConfig.head_names,
        NCHW, batch normalisations folded.

    Raises:
        InvalidArgumentError: a size is not a multiple of 32, or a head of values has the name of another tensor.
        BuildError: the exporter failed.
        WeightsError: a weight of the network is not finite.
    """
    import onnx
    import torch

    from engine.model.deform_conv import onnx_translations

    config = model.config
    size.check(config)
    batch = torch.export.Dim("batch", min=1)
    dynamic: dict[int, object] = {0: batch}
    # At least two along each dynamic axis: the exporter takes a length of one for a constant.
    example = [2, 3, *size.optimum]
    for axis, name in ((2, "height"), (3, "width")):
        if size.minimum[axis - 2] != size.maximum[axis - 2]:
            cells = torch.export.Dim(f"{name}_cells", min=1, max=size.maximum[axis - 2] // BODY_STRIDE)
            dynamic[axis] = BODY_STRIDE * cells
            example[axis] = max(example[axis], 2 * config.max_stride)
    try:
        with quiet():
            program = torch.onnx.export(
                model,
                (torch.zeros(example),),
                input_names=[INPUT_NAME],
                output_names=config.head_names(),
                dynamic_shapes=(dynamic,),
                opset_version=OPSET,
                custom_translation_table=onnx_translations(),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter's stages raise many kinds
        reason = str(error).strip().splitlines()
        raise BuildError(
            f"{config.name} could not be exported to ONNX for sizes {size.minimum} to {size.maximum}: "
            f"{reason[0] if reason else type(error).__name__}"
        ) from error
    assert program is not None
    network = program.model_proto
    _strip(network)
    check_names(network.graph, config)
    fold_batch_normalisations(network.graph)
    _check_finite(network.graph, config.name)
    onnx.checker.check_model(network, full_check=True)
    return network


def check_names(graph: onnx.GraphProto, config: RetinaFaceConfig) -> None:
    """Raise InvalidArgumentError for heads of values with the name of a tensor: they are tensors behind the network."""
    names = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    taken = [head.name for head in config.values if head.name in names]
    if taken:
        raise InvalidArgumentError(
            f"config: values is {taken}, expected other names: tensors inside the network of {config.name} are called "
            "like that"
        )


def _check_finite(graph: onnx.GraphProto, name: str) -> None:
    """Raise WeightsError for weights that are not finite: finite ones can overflow where normalisations are folded."""
    from onnx import numpy_helper

    bad = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad.append(tensor.name)
    if bad:
        raise WeightsError(
            f"the network of {name} has NaN or infinity in {len(bad)} of {len(graph.initializer)} tensors, first "
            f"{bad[0]}: its weights are too large for float32 when batch normalisations are folded into convolutions. "
            "Take another checkpoint"
        )


def _strip(network: onnx.ModelProto) -> None:
    """Remove the exporter's metadata and name the dynamic axes."""
    remove_traces(network)
    graph = network.graph
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for axis, name in ((2, "height"), (3, "width")):
        dimension = graph.input[0].type.tensor_type.shape.dim[axis]
        if dimension.dim_param:
            dimension.dim_param = name
