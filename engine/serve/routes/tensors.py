"""Tensors of the Open Inference Protocol, as JSON or in its binary extension.

The protocol: https://github.com/kserve/open-inference-protocol (inference_rest.md); the binary extension:
https://github.com/triton-inference-server/server (protocol/extension_binary_data.md).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.text import represented
from engine.untrusted.json_text import check_number_of_values, count_values, parse_json
from engine.untrusted.limits import MIB

BINARY_HEADER = "inference-header-content-length"
# Input tensors: what their values are. BYTES is a list of byte strings.
_DTYPES = {"UINT8": np.dtype(np.uint8)}
_NAMES = {np.dtype(np.float32): "FP32", np.dtype(np.int32): "INT32"}
_MOST_DIMENSIONS = 4
MOST_JSON_BYTES = 4 * MIB


def read_request(body: bytes, header_bytes: str | None) -> tuple[dict[str, Any], bytes]:
    """Return the JSON of a request, and the binary data behind it.

    Args:
        body: of the request.
        header_bytes: the header Inference-Header-Content-Length; None if there is none.

    Raises:
        InvalidArgumentError: it is no JSON object, or the length is none.
    """
    length = len(body)
    if header_bytes is not None:
        if not (header_bytes.isascii() and header_bytes.isdigit() and int(header_bytes) <= len(body)):
            raise InvalidArgumentError(
                f"Inference-Header-Content-Length is {represented(header_bytes)}, expected 0 to {len(body)}"
            )
        length = int(header_bytes)
    if length > MOST_JSON_BYTES:
        raise InvalidArgumentError(
            f"the request has {length:,} bytes of JSON, expected at most {MOST_JSON_BYTES:,}: send tensors as binary "
            "data"
        )
    try:
        text = body[:length].decode()
        check_number_of_values(count_values(text))
        request = parse_json(text)
    except ValueError as error:
        raise InvalidArgumentError(f"the request is no JSON: {error}") from error
    if not isinstance(request, dict):
        raise InvalidArgumentError("the request is no JSON object")
    return request, body[length:]


class InputTensors(Mapping[str, "NDArray[np.uint8] | list[bytes]"]):
    """The inputs of a request by name: arrays of UINT8, and lists of BYTES."""

    def __init__(self, request: Mapping[str, Any], binary: bytes, most_strings: int) -> None:
        """Read them; a tensor may have so many byte strings.

        Raises:
            InvalidArgumentError: one of them is malformed, or the binary data is not what they say.
        """
        given = request.get("inputs")
        if not isinstance(given, list) or not all(isinstance(tensor, dict) for tensor in given):
            raise InvalidArgumentError("inputs is no list of tensors")
        self._tensors: dict[str, NDArray[np.uint8] | list[bytes]] = {}
        at = 0
        for tensor in given:
            name, size = _name(tensor), _parameters(tensor).get("binary_data_size")
            if size is None:
                self._tensors[name] = _from_json(tensor, name)
                continue
            if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary) - at:
                raise InvalidArgumentError(
                    f"input {name}: binary_data_size is {represented(size)}, expected at most the {len(binary) - at} "
                    "bytes that are left"
                )
            self._tensors[name] = _from_bytes(tensor, name, binary[at : at + size], most_strings)
            at += size
        if at != len(binary):
            raise InvalidArgumentError(f"{len(binary) - at} bytes behind the last input belong to none")

    def __getitem__(self, name: str) -> NDArray[np.uint8] | list[bytes]:
        """Return an input."""
        return self._tensors[name]

    def __iter__(self) -> Any:
        """Iterate over the names."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self._tensors)


def write_response(
    response: Mapping[str, Any], outputs: Mapping[str, NDArray[Any]], request: Mapping[str, Any]
) -> tuple[bytes, dict[str, str]]:
    """Return the body with the outputs that the request asks for, all if it names none, and its headers.

    Raises:
        InvalidArgumentError: it asks for an output that there is not.
    """
    asked = request.get("outputs") or [{"name": name} for name in outputs]
    if not isinstance(asked, list) or not all(isinstance(tensor, dict) for tensor in asked):
        raise InvalidArgumentError("outputs is no list of tensors")
    all_binary = _parameters(request).get("binary_data_output") is True
    if len({_name(tensor) for tensor in asked}) < len(asked):
        raise InvalidArgumentError("an output is named twice")
    tensors, binary = [], b""
    for tensor in asked:
        name = _name(tensor)
        if name not in outputs:
            raise InvalidArgumentError(f"there is no output {represented(name)}, expected {', '.join(outputs)}")
        values = outputs[name]
        written: dict[str, Any] = {"name": name, "datatype": _NAMES[values.dtype], "shape": list(values.shape)}
        if _parameters(tensor).get("binary_data", all_binary) is True:
            data = values.astype(values.dtype.newbyteorder("<")).tobytes()
            written["parameters"] = {"binary_data_size": len(data)}
            binary += data
        else:
            written["data"] = values.reshape(-1).tolist()
        tensors.append(written)
    header = json.dumps({**response, "outputs": tensors}).encode()
    if not binary:
        return header, {"content-type": "application/json"}
    return header + binary, {"content-type": "application/octet-stream", BINARY_HEADER: str(len(header))}


def _name(tensor: Mapping[str, Any]) -> str:
    name = tensor.get("name")
    if not isinstance(name, str):
        raise InvalidArgumentError(f"the name of a tensor is {represented(name)}, expected a string")
    return name


def _parameters(given: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidArgumentError("parameters is no JSON object")
    return parameters


def _shape(tensor: Mapping[str, Any], name: str) -> tuple[int, ...]:
    shape = tensor.get("shape")
    ok = isinstance(shape, list) and 1 <= len(shape) <= _MOST_DIMENSIONS
    if not ok or not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1 << 31 for v in shape or ()):
        raise InvalidArgumentError(f"input {name}: shape is {represented(shape)}, expected 1 to 4 sizes")
    return tuple(shape or ())


def _from_json(tensor: Mapping[str, Any], name: str) -> NDArray[np.uint8]:
    datatype, data = tensor.get("datatype"), tensor.get("data")
    if not isinstance(datatype, str) or datatype not in _DTYPES:
        raise InvalidArgumentError(
            f"input {name}: datatype is {represented(datatype)}, expected UINT8 in JSON; the bytes of pictures (BYTES) "
            "need the binary extension, which clients such as tritonclient use"
        )
    try:
        while isinstance(data, list) and data and isinstance(data[0], list):
            data = list(chain.from_iterable(data))
        if not isinstance(data, list) or any(type(value) is not int for value in data):
            raise TypeError
        values = np.frombuffer(bytes(data), np.uint8)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"input {name}: data are not whole numbers from 0 to 255") from error
    return _shaped(values, _shape(tensor, name), name)


def _from_bytes(
    tensor: Mapping[str, Any], name: str, data: bytes, most_strings: int
) -> NDArray[np.uint8] | list[bytes]:
    shape, datatype = _shape(tensor, name), tensor.get("datatype")
    if datatype == "BYTES":
        if math.prod(shape) > most_strings:
            raise InvalidArgumentError(
                f"input {name}: shape is {list(shape)}, expected at most {most_strings} byte strings"
            )
        strings = _byte_strings(data, name, most_strings)
        if len(strings) != math.prod(shape):
            raise InvalidArgumentError(f"input {name}: {len(strings)} byte strings for shape {list(shape)}")
        return strings
    if not isinstance(datatype, str) or datatype not in _DTYPES:
        raise InvalidArgumentError(f"input {name}: datatype is {represented(datatype)}, expected UINT8 or BYTES")
    return _shaped(np.frombuffer(data, _DTYPES[datatype]), shape, name)


def _shaped(values: NDArray[np.uint8], shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    if values.size != math.prod(shape):
        raise InvalidArgumentError(f"input {name}: {values.size} values for shape {list(shape)}")
    return values.reshape(shape)


def _byte_strings(data: bytes, name: str, most: int) -> list[bytes]:
    """Split byte strings, each behind its length in four bytes, the lowest first."""
    strings: list[bytes] = []
    at = 0
    while at < len(data) and len(strings) <= most:
        length = struct.unpack_from("<I", data, at)[0] if at + 4 <= len(data) else len(data)
        at += 4
        if length > len(data) - at:
            raise InvalidArgumentError(f"input {name}: a byte string is cut off")
        strings.append(data[at : at + length])
        at += length
    return strings
