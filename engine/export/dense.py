"""The dense branch behind its values as ONNX, in plain operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.detection import OPSET
from engine.errors import BuildError
from engine.export.exporter import quiet, remove_traces

if TYPE_CHECKING:
    import onnx

    from engine.mesh.dense.faces import DenseFaces

INPUTS, OUTPUTS = ("values", "boxes"), ("vertices", "colours")


def export_dense(faces: DenseFaces) -> onnx.ModelProto:
    """Export what maps the values and boxes of kept detections to meshes.

    Returns:
        A checked ONNX model, float32: inputs `values` [faces, 144] and `boxes` [faces, 4], outputs `vertices` and
        `colours` [faces, V, 3]; their number is dynamic.

    Raises:
        BuildError: the exporter failed.
    """
    import onnx
    import torch

    from engine.mesh.dense.values import DENSE_VALUES

    number = torch.export.Dim("faces", min=1)
    try:
        with quiet():
            program = torch.onnx.export(
                faces.eval(),
                (torch.zeros(2, DENSE_VALUES), torch.zeros(2, 4)),
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                dynamic_shapes=({0: number}, {0: number}),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter's stages raise many kinds
        raise BuildError(f"the dense branch could not be exported to ONNX: {error}") from error
    assert program is not None
    network = program.model_proto
    remove_traces(network)
    onnx.checker.check_model(network, full_check=True)
    return network
