"""Tensors of the Open Inference Protocol: what tritonclient writes is read, anything else is refused."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.errors import InvalidArgumentError
from engine.serve.routes.tensors import BINARY_HEADER, MOST_JSON_BYTES, InputTensors, read_request, write_response

_IMAGES = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, max_side=5))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), _IMAGES, st.booleans())
def test_what_tritonclient_writes_is_read(files: list[bytes], image: np.ndarray, binary: bool) -> None:
    encoded = triton.InferInput("encoded", [len(files)], "BYTES")
    encoded.set_data_from_numpy(np.array([*files, None], np.object_)[:-1])
    pixels = triton.InferInput("image", list(image.shape), "UINT8")
    pixels.set_data_from_numpy(image, binary_data=binary)
    body, length = triton.InferenceServerClient.generate_request_body([pixels, encoded])
    request, rest = read_request(body, None if length is None else str(length))
    tensors = InputTensors(request, rest, 4)
    assert tensors["encoded"] == files
    np.testing.assert_array_equal(tensors["image"], image, strict=True)


@given(arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=4)), st.booleans())
def test_what_is_written_tritonclient_reads(values: np.ndarray, binary: bool) -> None:
    counts = np.arange(3, dtype=np.int32)
    asked = {"outputs": [{"name": "v", "parameters": {"binary_data": binary}}, {"name": "n"}]}
    finite = np.nan_to_num(values)
    body, headers = write_response({"model_name": "m"}, {"n": counts, "v": finite}, asked)
    length = headers.get(BINARY_HEADER)
    result = triton.InferenceServerClient.parse_response_body(body, header_length=length and int(length))
    np.testing.assert_array_equal(result.as_numpy("v"), finite)
    np.testing.assert_array_equal(result.as_numpy("n"), counts)


@given(st.binary(max_size=60), st.integers(0, 80), st.sampled_from(["BYTES", "UINT8"]), st.integers(0, 9))
def test_binary_data_that_do_not_fit_are_refused(data: bytes, size: int, datatype: str, count: int) -> None:
    tensor = {"name": "t", "datatype": datatype, "shape": [count], "parameters": {"binary_data_size": size}}
    try:
        tensors = InputTensors({"inputs": [tensor]}, data, 9)
    except InvalidArgumentError:
        return
    assert size == len(data)
    assert len(tensors["t"]) == count
    if datatype == "BYTES":
        assert sum(map(len, tensors["t"])) + 4 * count == size
    else:
        assert count == size


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["inputs", "name", "datatype", "shape", "data", "parameters", "binary_data_size", "outputs"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_json_is_read_or_refused(values: object) -> None:
    with suppress(InvalidArgumentError):
        request, rest = read_request(json.dumps(values).encode(), None)
        InputTensors(request, rest, 4)
        write_response({}, {"boxes": np.zeros((1, 0, 4), np.float32)}, request)


@pytest.mark.parametrize(
    "data", [[1.5], ["a"], ["a" * 8000, ""], [[1], 2], [[1], [2, 3]], [-1], [256], None, [True], [10**30]]
)
def test_json_data_are_whole_numbers_of_a_byte(data: object) -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1], "data": data}
    with pytest.raises(InvalidArgumentError, match="input image"):
        InputTensors({"inputs": [tensor]}, b"", 4)


def test_an_output_is_given_once() -> None:
    twice = {"outputs": [{"name": "n"}, {"name": "n"}]}
    with pytest.raises(InvalidArgumentError, match="twice"):
        write_response({}, {"n": np.zeros(1, np.int32)}, twice)


@pytest.mark.parametrize(("shape", "data"), [([5], b""), ([1], bytes(8)), ([4], bytes(4 * 1_000_000))])
def test_byte_strings_are_counted_before_they_are_split(shape: list[int], data: bytes) -> None:
    tensor = {"name": "t", "datatype": "BYTES", "shape": shape, "parameters": {"binary_data_size": len(data)}}
    began = time.process_time()
    with pytest.raises(InvalidArgumentError, match="byte strings"):
        InputTensors({"inputs": [tensor]}, data, 4)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("datatype", [[], {}, None, 1, "FP32"])
@pytest.mark.parametrize("parameters", [{}, {"binary_data_size": 0}])
def test_other_types_are_refused(datatype: object, parameters: dict[str, int]) -> None:
    tensor = {"name": "t", "datatype": datatype, "shape": [0], "data": [], "parameters": parameters}
    with pytest.raises(InvalidArgumentError, match="datatype is"):
        InputTensors({"inputs": [tensor]}, b"", 4)


def test_json_is_bounded() -> None:
    with pytest.raises(InvalidArgumentError, match="send tensors as binary data"):
        read_request(b" " * (MOST_JSON_BYTES + 1), None)
