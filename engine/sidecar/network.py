"""The check of a network file, before any library loads it: networks can be made to hurt.

It knows what builds write: operators (sidecar.operators), the tensors between them, and what they cost at most. So
nothing can be reached that libraries do for other networks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from engine.config.detection import INPUT_NAME, OPSET, InputSize
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.sidecar.operators import (
    ELEMENT_BYTES,
    FLOAT,
    OPERATORS,
    Tensor,
    Value,
    Weights,
    multiplications,
    output_of,
    shown,
)
from engine.untrusted.limits import (
    MAX_MULTIPLICATIONS_PER_PIXEL,
    MAX_NETWORK_MEMORY_BYTES,
    MAX_NODES,
    MAX_VALUES_AT_A_TIME_PER_PIXEL,
    MAX_VALUES_PER_PIXEL,
    MIB,
)
from engine.untrusted.onnx_network import Constant, Node, OnnxNetwork, ValueInfo

_VALUE_BYTES = 4  # libraries compute smaller types as float32 too


def check_network(network: OnnxNetwork, config: RetinaFaceConfig, size: InputSize) -> None:
    """Check that a network is as builds write it for a model and for input sizes.

    Raises:
        InvalidArgumentError: it is not; the message does not contain the name of the file.
    """
    if network.opset != OPSET or len(network.nodes) > MAX_NODES:
        raise InvalidArgumentError(
            f"has opset {network.opset} and {len(network.nodes):,} nodes, expected {OPSET} and at most {MAX_NODES:,}"
        )
    for node in network.nodes:  # before the constants: other operators read other types
        if node.operator not in OPERATORS:
            raise _refusal(node, f"the operator is {node.operator!r:.80}, expected one of: {', '.join(OPERATORS)}")
    _check_constants(network)
    slopes = {float(np.float32(slope)) for slope in config.slopes}
    for node in network.nodes:
        if node.operator == "LeakyRelu" and node.attributes.get("alpha") not in slopes:
            expected = " or ".join(map(str, sorted({*config.slopes})))
            raise _refusal(node, f"alpha, its slope, is {shown(node.attributes.get('alpha'))}, expected {expected}")
    for height, width in dict.fromkeys((size.minimum, size.optimum, size.maximum)):
        _check_at(network, config, height, width)


def _check_constants(network: OnnxNetwork) -> None:
    readers = Counter(name for node in network.nodes for name in node.inputs)
    for name, constant in network.constants.items():
        if name in network.inputs:
            raise InvalidArgumentError(f"has an input {name!r:.80} that is also a constant")
        if not _holds_its_shape(constant):
            raise InvalidArgumentError(
                f"has a constant {name!r:.80} of element type {constant.type} and shape {constant.shape!s:.80}, whose "
                "values are of another number or type than builds write"
            )
        # What is read several times could be made larger several times.
        many = len(constant.shape) == 4 and ELEMENT_BYTES[constant.type] == 1
        if not 1 <= readers[name] <= (1 if many else MAX_NODES):
            raise InvalidArgumentError(f"has a constant {name!r:.80} that {readers[name]} nodes read")


def _holds_its_shape(constant: Constant) -> bool:
    size = ELEMENT_BYTES.get(constant.type)
    if size is None or len(constant.shape) > 4:  # before the product, which takes long for many axes
        return False
    count = math.prod(constant.shape)
    if count < 1:
        return False
    if constant.packed:
        ends = np.frombuffer(constant.packed, np.uint8) < 0x80  # the last byte of each value
        return not constant.raw and np.count_nonzero(ends) == count and bool(ends[-1])
    return len(constant.raw) == size * count


def _check_at(network: OnnxNetwork, config: RetinaFaceConfig, height: int, width: int) -> None:
    """Check the tensors for one input size, (height, width)."""
    image = Tensor(FLOAT, 3, height, width)
    values = _values(network, image)
    heads = {name: Tensor(FLOAT, *shape) for name, shape in config.head_shapes(height, width).items()}
    for kind, given, expected in (("input", network.inputs, {INPUT_NAME: image}), ("output", network.outputs, heads)):
        if [*given] != [*expected]:
            raise InvalidArgumentError(f"has {kind}s {[*given]!s:.200}, expected {[*expected]!s:.400}")
        for name, tensor in expected.items():
            if values.get(name) != tensor or not _is_declared_as(tensor, given[name]):
                raise InvalidArgumentError(
                    f"has an {kind} {name!r} that is not {tensor} for an input of {height} x {width}"
                )
    _check_cost(network, values, height, width)


def _values(network: OnnxNetwork, image: Tensor) -> dict[str, Value]:
    """Return all tensors by name, where nodes come after those that they read."""
    values: dict[str, Value] = {
        name: Weights(c.type, c.shape, c.raw, c.packed) for name, c in network.constants.items()
    }
    values |= dict.fromkeys(network.inputs, image)
    most = MAX_VALUES_AT_A_TIME_PER_PIXEL * image.height * image.width
    for node in network.nodes:
        inputs = [values[name] if name else None for name in node.inputs if not name or name in values]
        written = node.outputs[0] if len(node.outputs) == 1 else ""
        if len(inputs) != len(node.inputs) or not written or written in values:
            raise _refusal(node, "it reads what no node before it writes, or writes what another does")
        try:
            output = output_of(node, inputs)
        except InvalidArgumentError as error:
            raise _refusal(node, str(error)) from error
        if isinstance(output, Tensor) and output.elements > most:  # before the next node makes it larger
            raise _refusal(node, f"its output {output} is too large")
        values[written] = output
    return values


def _check_cost(network: OnnxNetwork, values: Mapping[str, Value], height: int, width: int) -> None:
    """Check how much a run computes, and how much it holds at a time: a tensor is freed after its last reader."""
    sizes = {name: value.elements for name, value in values.items() if isinstance(value, Tensor)}
    readers = Counter(name for node in network.nodes for name in node.inputs) + Counter(network.outputs.keys())
    computed, held, products, most_held = 0, sizes[INPUT_NAME], 0, 0
    for node in network.nodes:
        name = node.outputs[0]
        computed, held = computed + sizes.get(name, 0), held + sizes.get(name, 0)
        products += multiplications(node, values)
        most_held = max(most_held, held)
        for what, given, limit in (
            ("values", computed, MAX_VALUES_PER_PIXEL),
            ("values at a time", held, MAX_VALUES_AT_A_TIME_PER_PIXEL),
            ("multiplications", products, MAX_MULTIPLICATIONS_PER_PIXEL),
        ):
            if given > limit * height * width:
                raise _refusal(node, f"with it a run takes more than {limit:,} {what} for each pixel")
        for name in node.inputs:
            readers[name] -= 1
            held -= 0 if readers[name] else sizes.get(name, 0)
    if most_held * _VALUE_BYTES > MAX_NETWORK_MEMORY_BYTES:
        raise InvalidArgumentError(
            f"takes {most_held * _VALUE_BYTES // MIB:,} MiB of memory for one input of {height} x {width}, expected at "
            f"most {MAX_NETWORK_MEMORY_BYTES // MIB:,} MiB: build the engine for smaller inputs"
        )


def _refusal(node: Node, problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"has a node {node.name!r:.80} ({node.operator!r:.80}) that no build writes: {problem}")


def _is_declared_as(tensor: Tensor, info: ValueInfo) -> bool:
    """Return whether a declaration fits a tensor; only the batch, the height and the width may be left open."""
    if info.type != tensor.type or len(info.shape) != 4 or not isinstance(info.shape[0], str):
        return False
    channels, height, width = info.shape[1:]
    return channels == tensor.channels and all(
        isinstance(given, str) or given == side for given, side in ((height, tensor.height), (width, tensor.width))
    )
