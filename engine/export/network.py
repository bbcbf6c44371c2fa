"""Exporting the network: normalised pixels in, raw heads out."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.config.detection import INPUT_NAME, OPSET, InputSize
from engine.config.model import BODY_STRIDE
from engine.errors import BuildError
from engine.export.folding import fold_batch_normalisations

if TYPE_CHECKING:
    import onnx

    from engine.model.retinaface import RetinaFace


def export_network(model: RetinaFace, size: InputSize) -> onnx.ModelProto:
    """Export a model with a dynamic batch and, where `size` is a range, dynamic height and width.

    Args:
        model: in evaluation mode.
        size: the input sizes to allow.

    Returns:
        A checked ONNX model, float32: input `images` [N, 3, H, W], outputs named by RetinaFaceConfig.head_names,
        NCHW, batch normalisations folded.

    Raises:
        InvalidArgumentError: a size is not a multiple of the body's stride.
        BuildError: the exporter failed.
    """
    import onnx
    import torch

    from engine.model.deform_conv import onnx_translations

    config = model.config
    size.check(config)
    batch = torch.export.Dim("batch", min=1)
    dynamic: dict[int, object] = {0: batch}
    # At least two of everything that may vary: the exporter takes a one for a constant.
    example = [2, 3, *size.optimum]
    for axis, name in ((2, "height"), (3, "width")):
        if size.minimum[axis - 2] != size.maximum[axis - 2]:
            cells = torch.export.Dim(f"{name}_cells", min=1, max=size.maximum[axis - 2] // BODY_STRIDE)
            dynamic[axis] = BODY_STRIDE * cells
            example[axis] = max(example[axis], 2 * config.max_stride)
    try:
        with _quiet():
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
    except Exception as error:  # the exporter's stages raise what they like
        reason = str(error).strip().splitlines()
        raise BuildError(
            f"{config.name} could not be exported to ONNX for sizes {size.minimum} to {size.maximum}: "
            f"{reason[0] if reason else type(error).__name__}"
        ) from error
    assert program is not None
    network = program.model_proto
    _strip(network)
    fold_batch_normalisations(network.graph)
    onnx.checker.check_model(network, full_check=True)
    return network


def _strip(network: onnx.ModelProto) -> None:
    """Drop the exporter's notes (traces, names of source files) and name the free axes plainly."""
    graph = network.graph
    del network.metadata_props[:], graph.metadata_props[:], network.functions[:], graph.value_info[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for axis, name in ((2, "height"), (3, "width")):
        dimension = graph.input[0].type.tensor_type.shape.dim[axis]
        if dimension.dim_param:
            dimension.dim_param = name


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its notes on optional packages off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
