"""Number formats against ml_dtypes, ONNX and PyTorch."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch

from engine.config.formats import BF16, FORMATS, FP8, FP16, FP32, INT8, PRECISIONS, QUANTISED_PRECISIONS, NumberFormat

DTYPES = {
    FP32: np.float32,
    FP16: np.float16,
    BF16: ml_dtypes.bfloat16,
    INT8: np.int8,
    FP8: ml_dtypes.float8_e4m3fn,
}


@pytest.mark.parametrize("number_format", FORMATS, ids=str)
def test_ranges_and_types(number_format: NumberFormat) -> None:
    dtype, torch_type = np.dtype(DTYPES[number_format]), getattr(torch, number_format.torch_type)
    limits = torch.iinfo(torch_type) if number_format.is_integer else torch.finfo(torch_type)
    assert (number_format.lowest, number_format.largest) == (limits.min, limits.max)
    onnx_type = onnx.TensorProto.DataType.Value(number_format.onnx_type)
    assert onnx.helper.tensor_dtype_to_np_dtype(onnx_type) == dtype
    assert torch_type.is_floating_point != number_format.is_integer
    assert torch_type.itemsize == dtype.itemsize
    assert number_format.quantised == (dtype.itemsize == 1)


def test_every_format_is_a_precision() -> None:
    for number_format in FORMATS:
        assert PRECISIONS[str(number_format)] == (number_format,)
    assert QUANTISED_PRECISIONS == ("int8", "fp8", "mixed")
