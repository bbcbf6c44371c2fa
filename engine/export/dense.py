"""The dense branch behind its values as ONNX, in plain operators: alone, or at the end of a detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config.detection import OPSET
from engine.errors import BuildError
from engine.export.exporter import quiet, remove_traces
from engine.mesh.dense.output import COLOURS, HEAD, VERTICES, MeshOutput

if TYPE_CHECKING:
    import onnx
    import torch

    from engine.mesh.dense.faces import DenseFaces
    from engine.mesh.dense.weights import DecoderWeights

INPUTS, OUTPUTS = ("values", "boxes"), (VERTICES, COLOURS)
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


def export_meshes(weights: DecoderWeights, meshes: MeshOutput) -> onnx.GraphProto:
    """Export what decodes the values of a detector's best faces, for attach_meshes.

    Raises:
        BuildError: the exporter failed.
    """
    import torch
    from onnx import compose

    from engine.mesh.dense.decoder import MeshDecoder
    from engine.mesh.dense.faces import DenseFaces, FirstMeshes
    from engine.mesh.dense.values import DENSE_VALUES

    faces = DenseFaces(weights.levels, MeshDecoder.of(weights))
    first = FirstMeshes(faces, meshes.max_meshes, colours=meshes.colours)
    example = torch.zeros(2, meshes.max_meshes + 1, DENSE_VALUES), torch.zeros(2, meshes.max_meshes + 1, 4)
    return compose.add_prefix_graph(_export(first, example, meshes.names, "batch").graph, _PREFIX)


def attach_meshes(detector: onnx.ModelProto, meshes: onnx.GraphProto) -> None:
    """Append the decoding of meshes to a detector, behind the values and boxes of its faces.

    Its outputs are `vertices` float32 [N, max_meshes, V, 3], in pixels of the network's input, and, if the meshes have
    them, `colours` of the same shape. Both are zero for faces that are not there, whose boxes are.
    """
    names = dict(zip((entry.name for entry in meshes.input), (HEAD, "boxes"), strict=True))
    names |= {entry.name: entry.name.removeprefix(_PREFIX) for entry in meshes.output}
    graph = detector.graph
    begin = len(graph.node)
    graph.node.extend(meshes.node)
    for node in graph.node[begin:]:
        for ends in (node.input, node.output):
            ends[:] = [names.get(name, name) for name in ends]
    graph.initializer.extend(meshes.initializer)
    for entry in meshes.output:
        graph.output.add().CopyFrom(entry)
        graph.output[-1].name = names[entry.name]


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
