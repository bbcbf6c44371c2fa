"""The dense branch behind its values as ONNX, in plain operators: alone, or at the end of a detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config.detection import OPSET
from engine.errors import BuildError
from engine.export.exporter import quiet, remove_traces
from engine.mesh.dense.output import HEAD, VERTICES, MeshOutput

if TYPE_CHECKING:
    import onnx
    import torch

    from engine.mesh.dense.faces import DenseFaces
    from engine.mesh.dense.weights import DecoderWeights

INPUTS, OUTPUTS = ("values", "boxes"), ("vertices", "colours")
_PREFIX = "mesh_"


def export_dense(faces: DenseFaces) -> onnx.ModelProto:
    """Export what maps the values and boxes of kept detections to meshes.

    Returns:
        A checked ONNX model, float32: inputs `values` [faces, 144] and `boxes` [faces, 4], outputs `vertices` and
        `colours` [faces, V, 3]; their number is dynamic.

    Raises:
        BuildError: the exporter failed.
    """
    import torch

    from engine.mesh.dense.values import DENSE_VALUES

    return _export(faces, (torch.zeros(2, DENSE_VALUES), torch.zeros(2, 4)), OUTPUTS, "faces")


def attach_meshes(detector: onnx.ModelProto, weights: DecoderWeights, meshes: MeshOutput) -> None:
    """Append to a detector what decodes the values of its best faces.

    Their output is `vertices` float32 [N, max_meshes, V, 3], in pixels of the network's input. Faces that are not there
    have a box of zeros, and so vertices of zeros.

    Raises:
        BuildError: the exporter failed.
    """
    import torch
    from onnx import TensorProto, compose, helper

    from engine.mesh.dense.decoder import MeshDecoder
    from engine.mesh.dense.faces import BestMeshes, DenseFaces
    from engine.mesh.dense.values import DENSE_VALUES

    best = BestMeshes(DenseFaces(weights.levels, MeshDecoder.of(weights)), meshes.max_meshes)
    example = torch.zeros(2, meshes.max_meshes + 1, DENSE_VALUES), torch.zeros(2, meshes.max_meshes + 1, 4)
    own = compose.add_prefix_graph(_export(best, example, (VERTICES,), "batch").graph, _PREFIX)
    given = dict(zip((entry.name for entry in own.input), (HEAD, "boxes"), strict=True))
    given[own.output[0].name] = VERTICES
    for node in own.node:
        for names in (node.input, node.output):
            names[:] = [given.get(name, name) for name in names]
    graph = detector.graph
    graph.node.extend(own.node)
    graph.initializer.extend(own.initializer)
    graph.output.append(helper.make_tensor_value_info(VERTICES, TensorProto.FLOAT, ["batch", *meshes.shape]))


def _export(
    module: torch.nn.Module, example: tuple[Any, ...], outputs: tuple[str, ...], number: str
) -> onnx.ModelProto:
    """Export a module that takes values and boxes; the length of their first axis is dynamic and has a name."""
    import onnx
    import torch

    length = torch.export.Dim(number, min=1)
    try:
        with quiet():
            program = torch.onnx.export(
                module.eval(),
                example,
                input_names=list(INPUTS),
                output_names=list(outputs),
                dynamic_shapes=tuple({0: length} for _ in example),
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
