"""A network file, read without any package and strictly: only the fields of ONNX that builds write.

Whatever else a file holds (subgraphs, functions, external data, training, sparse tensors) is refused. So is a second
value of a field that has one: readers differ in which of them they take.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from engine.errors import InvalidArgumentError
from engine.untrusted.limits import MAX_ONNX_FIELDS, MAX_ONNX_TEXT_BYTES
from engine.untrusted.protobuf import BYTES, FIXED32, VARINT, fields

# The messages of onnx.proto. Of each field: its name, and its kind or the message that it holds; "*" may repeat.
_MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "model": {
        1: ("ir_version", "integer"),
        2: ("producer_name", "text"),
        3: ("producer_version", "text"),
        7: ("graph", "graph"),
        8: ("opsets", "opset*"),
        14: ("metadata", "entry*"),
    },
    "graph": {
        1: ("nodes", "node*"),
        2: ("name", "text"),
        5: ("constants", "tensor*"),
        11: ("inputs", "value*"),
        12: ("outputs", "value*"),
    },
    "node": {
        1: ("inputs", "text*"),
        2: ("outputs", "text*"),
        3: ("name", "text"),
        4: ("operator", "text"),
        5: ("attributes", "attribute*"),
        6: ("doc_string", "text"),
    },
    "attribute": {
        1: ("name", "text"),
        2: ("float", "float"),
        3: ("integer", "integer"),
        4: ("text", "text"),
        8: ("integers", "integer*"),
        20: ("type", "integer"),
    },
    "tensor": {
        1: ("shape", "integer*"),
        2: ("type", "integer"),
        5: ("packed", "data"),
        8: ("name", "text"),
        9: ("raw", "data"),
    },
    "value": {1: ("name", "text"), 2: ("type", "type")},
    "type": {1: ("tensor", "tensor type")},
    "tensor type": {1: ("type", "integer"), 2: ("shape", "shape")},
    "shape": {1: ("sides", "side*")},
    "side": {1: ("length", "integer"), 2: ("symbol", "text")},
    "opset": {1: ("domain", "text"), 2: ("version", "integer")},
    "entry": {1: ("key", "text"), 2: ("value", "text")},
}
_WIRE_TYPES = {"integer": VARINT, "float": FIXED32}  # those of the others are BYTES
# What the fields that other files have are called.
_UNWANTED = {
    ("attribute", 5): "a constant",
    ("attribute", 6): "a subgraph",
    ("attribute", 11): "subgraphs",
    ("graph", 15): "sparse constants",
    ("model", 20): "training",
    ("model", 25): "functions",
    ("node", 7): "an operator of another domain",
    ("tensor", 13): "values in another file (ONNX external data)",
    ("tensor", 14): "values in another file (ONNX external data)",
}
_ATTRIBUTE_KINDS = {1: "float", 2: "integer", 3: "text", 7: "integers"}
_MOST_FIELDS_FOR_A_NAME = 1000
_MOST_INTEGERS = 64  # of an attribute or a shape: builds write up to 8
_LARGEST_INTEGER = (1 << 63) - 1

Attribute = float | int | str | tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """A tensor in the file.

    Attributes:
        type: number of its element type.
        shape: lengths of its axes.
        raw: its values as bytes, empty if they are packed.
        packed: its values as variable-length integers, empty if they are raw.
    """

    type: int
    shape: tuple[int, ...]
    raw: memoryview
    packed: memoryview


@dataclass(frozen=True)
class ValueInfo:
    """An input or output: its element type, and its shape, with text where a length is free."""

    type: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Node:
    """A node of the graph: an operator on named tensors."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class OnnxNetwork:
    """What a network file holds.

    Attributes:
        opset: version of ONNX's operators.
        inputs: by name.
        outputs: by name, in their order.
        nodes: in their order.
        constants: by name.
        metadata: by key.
    """

    opset: int
    inputs: Mapping[str, ValueInfo]
    outputs: Mapping[str, ValueInfo]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    metadata: Mapping[str, str]


def read_network(content: bytes) -> OnnxNetwork:
    """Read a network file.

    Raises:
        InvalidArgumentError: it is damaged, or holds what no build writes; the message does not contain its name.
    """
    model = _Reader().read("model", memoryview(content))
    graph = model.get("graph", {})
    if [opset.get("domain", "") for opset in model.get("opsets", [])] != [""]:
        raise InvalidArgumentError("does not use the operators of ONNX alone")
    return OnnxNetwork(
        model["opsets"][0].get("version", 0),
        {name: _value(value) for name, value in _named("input", graph.get("inputs", []))},
        {name: _value(value) for name, value in _named("output", graph.get("outputs", []))},
        tuple(map(_node, graph.get("nodes", []))),
        {name: _constant(value) for name, value in _named("constant", graph.get("constants", []))},
        {name: value.get("value", "") for name, value in _named("value", model.get("metadata", []), key="key")},
    )


class _Reader:
    def __init__(self) -> None:
        self._left, self._text_left = MAX_ONNX_FIELDS, MAX_ONNX_TEXT_BYTES

    def read(self, message: str, content: memoryview) -> dict[str, Any]:
        """Return the fields of a message by name. Its messages nest as deep as _MESSAGES says, and no deeper."""
        known, found = _MESSAGES[message], dict[str, Any]()
        for number, wire_type, value in fields(content):
            self._left -= 1
            if self._left < 0:
                raise InvalidArgumentError(f"has more than {MAX_ONNX_FIELDS:,} fields")
            name, kind = known.get(number, ("", ""))
            one = kind.removesuffix("*")
            if not name or wire_type != _WIRE_TYPES.get(one, BYTES):
                unwanted = _UNWANTED.get((message, number), f"field {number}")
                raise InvalidArgumentError(f"has {unwanted} in its {message}, which no build writes")
            if one in _MESSAGES:
                assert isinstance(value, memoryview)  # of wire type BYTES
                read: Any = self.read_node(value) if one == "node" else self.read(one, value)
            else:
                self._text_left -= len(value) if one == "text" else 0  # type: ignore[arg-type]
                if self._text_left < 0:
                    raise InvalidArgumentError(f"has names and metadata of more than {MAX_ONNX_TEXT_BYTES:,} bytes")
                read = _SCALARS[one](value)
            if kind != one:
                values = found.setdefault(name, [])
                values.append(read)
                if one == "integer" and len(values) > _MOST_INTEGERS:
                    raise InvalidArgumentError(f"has more than {_MOST_INTEGERS} {name} in its {message}")
            elif name in found:
                raise InvalidArgumentError(f"has two values of {name} in its {message}")
            else:
                found[name] = read
        return found

    def read_node(self, content: memoryview) -> dict[str, Any]:
        """Like read, but errors say which node it is: its name may come after what is wrong with it."""
        try:
            return self.read("node", content)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{error}, in {_words(content)}") from error


def _words(node: memoryview) -> str:
    """Name a node that cannot be read."""
    texts = {3: "", 4: ""}
    with suppress(InvalidArgumentError):  # it is cut off
        for number, _, value in islice(fields(node), _MOST_FIELDS_FOR_A_NAME):
            if number in texts and isinstance(value, memoryview):
                texts[number] = str(value[:80], "utf-8", "replace")
    return f"node {texts[3]!r} ({texts[4]!r})"


def _integer(value: int) -> int:
    if value > _LARGEST_INTEGER:
        raise InvalidArgumentError("has a negative integer, which no build writes")
    return value


def _float(value: memoryview) -> float:
    (number,) = struct.unpack("<f", value)
    if not math.isfinite(number):
        raise InvalidArgumentError("has an attribute that is not finite")
    return float(number)


def _text(value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError("has a name that is not UTF-8") from error


_SCALARS: dict[str, Callable[[Any], Any]] = {"integer": _integer, "float": _float, "text": _text, "data": lambda v: v}


def _named(what: str, messages: list[dict[str, Any]], key: str = "name") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the messages with their names, of which none may come twice."""
    names = set()
    for message in messages:
        name = message.get(key, "")
        if name in names:
            raise InvalidArgumentError(f"has two {what}s called {name!r:.80}")
        names.add(name)
        yield name, message


def _value(message: dict[str, Any]) -> ValueInfo:
    tensor = message.get("type", {}).get("tensor", {})
    sides = tensor.get("shape", {}).get("sides", [])
    if any(len(side) > 1 for side in sides):
        raise InvalidArgumentError("has an axis with two lengths")
    return ValueInfo(tensor.get("type", 0), tuple(side.get("length", side.get("symbol", "")) for side in sides))


def _constant(message: dict[str, Any]) -> Constant:
    nothing = memoryview(b"")
    shape = tuple(message.get("shape", []))
    return Constant(message.get("type", 0), shape, message.get("raw", nothing), message.get("packed", nothing))


def _node(message: dict[str, Any]) -> Node:
    attributes = {name: _attribute(value) for name, value in _named("attribute", message.get("attributes", []))}
    inputs, outputs = (tuple(message.get(ends, [])) for ends in ("inputs", "outputs"))
    return Node(message.get("name", ""), message.get("operator", ""), inputs, outputs, attributes)


def _attribute(message: dict[str, Any]) -> Attribute:
    kind = _ATTRIBUTE_KINDS.get(message.get("type", 0))
    if kind is None or message.keys() != {"name", "type", kind}:
        raise InvalidArgumentError(f"has an attribute {message.get('name', '')!r:.80} of a kind that no build writes")
    value: Attribute = tuple(message[kind]) if kind == "integers" else message[kind]
    return value
