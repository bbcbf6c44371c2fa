"""insightface's mnet.25 (detection/retinaface) as a state_dict of this project.

The network is the same, written otherwise. Its convolutions behind the body have biases, its normalisations there
another epsilon, its class heads list all anchors' backgrounds before all faces, and its anchors are centred 8 pixels
behind the corner of each cell, whatever the stride. All of that moves into the tensors, so the results are equal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError, WeightsError
from engine.model.weights.mxnet.arrays import read_arrays

if TYPE_CHECKING:
    import torch

    Arrays = dict[str, NDArray[Any]]

_CONFIG = "insightface-mobilenet0.25"
_PYRAMID = {
    "c3_lateral": "fpn.output3",
    "c2_lateral": "fpn.output2",
    "c1_red_conv": "fpn.output1",
    "c2_aggr": "fpn.merge2",
    "c1_aggr": "fpn.merge1",
}
_CONTEXT = {
    "conv1": "conv3X3",
    "context_conv1": "conv5X5_1",
    "context_conv2": "conv5X5_2",
    "context_conv3_1": "conv7X7_2",
    "context_conv3_2": "conv7x7_3",
}
_HEADS = {"cls_score": "ClassHead", "bbox_pred": "BboxHead", "landmark_pred": "LandmarkHead"}
_NORMALISATION = {
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_var": "running_var",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
}
_EPSILON_BEHIND_THE_BODY, _OUR_EPSILON = 2e-5, 1e-5
_ANCHOR_CENTRE = 8.0  # of the cell at 0, in pixels from the corner of the picture
_UPSAMPLING = re.compile(r"rf_c\d_upsampling_weight")
_SHOWN = 8


def state_dict_from_mxnet(content: memoryview, config: RetinaFaceConfig, source: str) -> dict[str, torch.Tensor]:
    """Return the state_dict of an MXNet parameter file with insightface's names.

    Raises:
        WeightsError: it is damaged, holds another network, or the config says what insightface's code does not.
    """
    import torch

    try:
        arrays = read_arrays(content)
    except InvalidArgumentError as error:
        raise WeightsError(f"{source} cannot be read as an MXNet parameter file: it {error}") from error
    _refuse_others(arrays, source)
    for name, given, expected in (
        ("backbone", config.backbone, "mobilenet0.25"),
        ("slopes", config.slopes, (0.0, 0.0)),
        ("variances", config.variances, (1.0, 1.0)),
        ("color_order", config.color_order, "rgb"),
    ):
        if given != expected:
            raise WeightsError(
                f"{source} holds insightface's mnet.25, whose {name} is {expected}, but config {config.name!r} has "
                f"{given}. Use --config {_CONFIG}"
            )
    native: Arrays = {}
    for name, array in arrays.items():
        if not _UPSAMPLING.fullmatch(name):
            native[_native_name(name)] = array
    try:
        _rewrite(native, config)
    except (ValueError, IndexError, KeyError) as error:  # shapes that no such network has
        raise WeightsError(f"{source} holds arrays of shapes or names that mnet.25 does not have ({error})") from error
    return {name: torch.from_numpy(array.copy()) for name, array in native.items()}


def _refuse_others(arrays: Arrays, source: str) -> None:
    if "mobilenet0_conv0_weight" not in arrays:
        why = (
            "a ResNet that normalises before it convolves, which this project does not have"
            if "bn_data_gamma" in arrays or any(re.match(r"stage\d_unit\d_bn1_", name) for name in arrays)
            else "another network than mnet.25"
        )
        raise WeightsError(
            f"{source} is an MXNet parameter file of {why} ({', '.join(list(arrays)[:_SHOWN])} ...). Give a checkpoint "
            "of a PyTorch port"
        )
    for name, array in arrays.items():
        if _UPSAMPLING.fullmatch(name) and not (array.shape[2:] == (2, 2) and np.all(array == 1)):
            raise WeightsError(f"{source}: {name} does not repeat each value, which this project's pyramid does")


def _native_name(name: str) -> str:
    """Return this project's name of an array; an unknown name unchanged, which is refused later.

    mobilenet0_conv3_weight                     body.stage1.2.0.weight
    rf_c1_red_conv_bn_gamma                     fpn.output1.1.weight
    rf_c2_det_context_conv3_1_bias              ssh2.conv7X7_2.0.bias
    face_rpn_bbox_pred_stride16_weight          BboxHead.1.conv1x1.weight
    """
    if found := re.fullmatch(r"mobilenet0_(conv|batchnorm)(\d{1,2})_(\w+)", name):
        block, half = divmod(int(found[2]) + 1, 2)  # a pair is a depthwise convolution and the one behind it
        stage, index = (1, block) if block < 6 else (2, block - 6) if block < 12 else (3, block - 12)
        place = 3 * half if block else 0
        if found[1] == "conv":
            return f"body.stage{stage}.{index}.{place}.{found[3]}"
        return f"body.stage{stage}.{index}.{place + 1}.{_NORMALISATION.get(found[3], found[3])}"
    if found := re.fullmatch(r"rf_(\w+?)(_bn)?_(weight|bias|gamma|beta|moving_mean|moving_var)", name):
        context = re.fullmatch(r"c(\d)_det_(\w+)", found[1])
        part = _CONTEXT.get(context[2]) if context else _PYRAMID.get(found[1])
        if part is not None:
            module = f"ssh{context[1]}.{part}" if context else part
            return f"{module}.1.{_NORMALISATION.get(found[3], found[3])}" if found[2] else f"{module}.0.{found[3]}"
    if found := re.fullmatch(r"face_rpn_(cls_score|bbox_pred|landmark_pred)_stride(8|16|32)_(weight|bias)", name):
        return f"{_HEADS[found[1]]}.{('8', '16', '32').index(found[2])}.conv1x1.{found[3]}"
    return name


def _rewrite(state: Arrays, config: RetinaFaceConfig) -> None:
    """Move into the tensors what is written otherwise; see the top of this file."""
    for name in [name for name in state if re.fullmatch(r"(fpn|ssh\d)\..*\.0\.bias", name)]:
        norm = name.replace(".0.bias", ".1.running_mean")
        state[norm] = state[norm] - state.pop(name)
    for name in [name for name in state if re.fullmatch(r"(fpn|ssh\d)\..*\.running_var", name)]:
        state[name] = state[name] + np.float32(_EPSILON_BEHIND_THE_BODY - _OUR_EPSILON)
    for i, level in enumerate(config.levels):
        anchors = len(level.anchors)
        for part in ("weight", "bias"):
            head = f"ClassHead.{i}.conv1x1.{part}"
            state[head] = state[head].reshape(2, anchors, -1).swapaxes(0, 1).reshape(state[head].shape)
        sides = np.array(level.anchors, np.float32)  # [anchors, 2]
        shift = (_ANCHOR_CENTRE - level.stride / 2) / sides
        box, points = f"BboxHead.{i}.conv1x1.bias", f"LandmarkHead.{i}.conv1x1.bias"
        state[box] = state[box] + np.concatenate([shift, np.zeros_like(shift)], 1).ravel()
        state[points] = state[points] + np.tile(shift, 5).ravel()
