"""The config.pbtxt of each model of a repository.

Source: https://github.com/triton-inference-server/common (protobuf/model_config.proto).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.protocol.tensors import INPUTS, MODEL_NAME, TensorInfo, output_infos
from engine.sidecar.content import Sidecar
from engine.triton.text_format import Name, to_text
from engine.untrusted.limits import MAX_SERVED_PIXELS

PLAN, LETTERBOX, UNDO = f"{MODEL_NAME}_plan", f"{MODEL_NAME}_letterbox", f"{MODEL_NAME}_undo"
ENSEMBLE = f"{MODEL_NAME}_ensemble"
SIZES = TensorInfo("sizes", "INT32", (2,))  # (height, width) of the pictures
_DATATYPES = {"BYTES": "STRING", "float32": "FP32", "float16": "FP16", "int32": "INT32"}
_QUEUE = {
    "timeout_action": Name("REJECT"),
    "default_timeout_microseconds": 30_000_000,
    "allow_timeout_override": True,
    "max_queue_size": 256,
}


def detector_config(sidecar: Sidecar) -> str:
    """Return the config of the model that runs TRTRetinaFace in Triton's Python backend."""
    batching = {"max_queue_delay_microseconds": 0, "priority_levels": 2, "default_priority_level": 2}
    return to_text(
        {
            **_python(MODEL_NAME, sidecar),
            "input": _given(),
            "output": _found(sidecar),
            # On a GPU, an instance for each.
            "instance_group": [{"count": 1, "kind": Name("KIND_AUTO")}],
            "dynamic_batching": {**batching, "default_queue_policy": _QUEUE},
            "model_warmup": _warmup(sidecar, "image", "UINT8", (*sidecar.io.input.size.optimum, 3)),
            "parameters": [
                _parameter("device", "auto"),  # of instances that Triton gives no GPU
                _parameter("threads", ""),  # of the CPU; empty is all cores
                _parameter("max_pixels", str(MAX_SERVED_PIXELS)),
                *_class_names(sidecar),
            ],
        }
    )


def letterbox_config(sidecar: Sidecar) -> str:
    """Return the config of the ensemble's first model: pictures to the network's input."""
    height, width = sidecar.io.input.size.optimum
    return to_text(
        {
            **_python(LETTERBOX, sidecar),
            "input": _given(),
            "output": [_tensor(_network_input(sidecar, (3, height, width))), _tensor(SIZES)],
            "instance_group": [{"count": 1, "kind": Name("KIND_CPU")}],
            "dynamic_batching": {"default_queue_policy": _QUEUE},
            "parameters": [_parameter("max_pixels", str(MAX_SERVED_PIXELS))],
        }
    )


def plan_config(sidecar: Sidecar, profiles: int) -> str:
    """Return the config of the plan with so many optimisation profiles, which Triton's TensorRT backend runs."""
    given = sidecar.io.input
    free = zip(given.minimum[1:], given.maximum[1:], strict=True)
    return to_text(
        {
            "name": PLAN,
            "platform": "tensorrt_plan",
            "max_batch_size": given.maximum[0],
            "input": [_tensor(_network_input(sidecar, tuple(low if low == high else -1 for low, high in free)))],
            "output": [_tensor(info) for info in _raw_outputs(sidecar)],
            # Triton takes the profile that fits a batch best.
            "instance_group": [{"count": 1, "kind": Name("KIND_GPU"), "profile": list(map(str, range(profiles)))}],
            "dynamic_batching": {"max_queue_delay_microseconds": 0},
            "model_warmup": _warmup(sidecar, given.name, _DATATYPES[given.dtype], given.optimum[1:]),
        }
    )


def undo_config(sidecar: Sidecar) -> str:
    """Return the config of the ensemble's last model: the plan's outputs to faces in the pictures."""
    return to_text(
        {
            **_python(UNDO, sidecar),
            "input": [_tensor(info) for info in (*_raw_outputs(sidecar), SIZES)],
            "output": _found(sidecar),
            "instance_group": [{"count": 1, "kind": Name("KIND_CPU")}],
            "dynamic_batching": {"max_queue_delay_microseconds": 0},
        }
    )


def ensemble_config(sidecar: Sidecar) -> str:
    """Return the config of the three models in a row, which callers use like the detector's own model."""
    image, raw = sidecar.io.input.name, [tensor.name for tensor in sidecar.io.outputs]
    outputs = [tensor.name for tensor in output_infos(sidecar.config, sidecar.meshes)]
    prepared = {name: f"prepared_{name}" for name in (image, SIZES.name)}
    found = {name: f"raw_{name}" for name in raw}
    steps = [
        _step(LETTERBOX, {tensor.name: tensor.name for tensor in INPUTS}, prepared),
        _step(PLAN, {image: prepared[image]}, found),
        _step(UNDO, {**found, SIZES.name: prepared[SIZES.name]}, {name: name for name in outputs}),
    ]
    return to_text(
        {
            "name": ENSEMBLE,
            "platform": "ensemble",
            "max_batch_size": sidecar.io.input.maximum[0],
            "input": _given(reshaped=False),
            "output": _found(sidecar, reshaped=False),
            "ensemble_scheduling": {"step": steps},
            **({"parameters": names} if (names := _class_names(sidecar)) else {}),
        }
    )


def _python(name: str, sidecar: Sidecar) -> dict[str, Any]:
    return {"name": name, "backend": "python", "max_batch_size": sidecar.io.input.maximum[0]}


def _given(reshaped: bool = True) -> list[dict[str, Any]]:
    """Return the inputs that a caller gives: one of the two. Pictures of one batch may have different sizes."""
    return [
        {**_tensor(info, reshaped), "optional": True, **({"allow_ragged_batch": True} if -1 in info.shape else {})}
        for info in INPUTS
    ]


def _found(sidecar: Sidecar, reshaped: bool = True) -> list[dict[str, Any]]:
    return [_tensor(info, reshaped) for info in output_infos(sidecar.config, sidecar.meshes)]


def _network_input(sidecar: Sidecar, shape: tuple[int, ...]) -> TensorInfo:
    return TensorInfo(sidecar.io.input.name, sidecar.io.input.dtype, shape)


def _raw_outputs(sidecar: Sidecar) -> list[TensorInfo]:
    """Return the outputs of the plan."""
    return [TensorInfo(tensor.name, tensor.dtype, tuple(map(int, tensor.shape[1:]))) for tensor in sidecar.io.outputs]


def _tensor(info: TensorInfo, reshaped: bool = True) -> dict[str, Any]:
    """Return a tensor; Triton has no empty shape, so callers see one value an image as [N, 1], the model as [N]."""
    datatype = _DATATYPES.get(info.datatype, info.datatype)
    tensor = {"name": info.name, "data_type": Name(f"TYPE_{datatype}"), "dims": list(info.shape) or [1]}
    return tensor if info.shape or not reshaped else {**tensor, "reshape": {"shape": []}}


def _warmup(sidecar: Sidecar, name: str, datatype: str, shape: Sequence[int]) -> list[dict[str, Any]]:
    """Return warm-ups of one image and of a full batch, after which no caller waits for what is done once a shape."""
    value = {"data_type": Name(f"TYPE_{datatype}"), "dims": list(shape), "zero_data": True}
    return [
        {"name": f"batch of {size}", "batch_size": size, "inputs": {"key": name, "value": value}}
        for size in sorted({1, sidecar.io.input.maximum[0]})
    ]


def _parameter(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": {"string_value": value}}


def _class_names(sidecar: Sidecar) -> list[dict[str, Any]]:
    """Return the parameter that says to callers which names the numbers from 1 in `classes` have, a list in JSON."""
    classes = sidecar.config.classes
    return [_parameter("classes", json.dumps(classes))] if len(classes) > 1 else []


def _step(model: str, given: Mapping[str, str], made: Mapping[str, str]) -> dict[str, Any]:
    """Return a step of an ensemble: which of its tensors are the model's inputs and outputs."""
    return {
        "model_name": model,
        "model_version": -1,
        "input_map": [{"key": name, "value": tensor} for name, tensor in given.items()],
        "output_map": [{"key": name, "value": tensor} for name, tensor in made.items()],
    }
