"""Number formats, and the precisions that a network can be built in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NumberFormat:
    """A number format of weights and activations.

    Attributes:
        name: in options, sidecars, calibration caches and names of ONNX tensors.
        onnx_type: name of the element type in onnx.TensorProto.
        torch_type: name of the dtype in torch.
        lowest: most negative finite value.
        largest: largest finite value.
        quantised: whether values are divided by a scale before they are rounded (QuantizeLinear).
        capability: lowest compute capability (major, minor) of GPUs with kernels for it; None is every GPU that
            TensorRT supports.
        channel_multiple: TensorRT has kernels only for ungrouped convolutions whose channels are multiples of this;
            None is no such limit.
    """

    name: str
    onnx_type: str
    torch_type: str
    lowest: float
    largest: float
    quantised: bool = False
    capability: tuple[int, int] | None = None
    channel_multiple: int | None = None

    @property
    def is_integer(self) -> bool:
        """Whether values are integers: evenly spaced, unlike those of a floating-point format."""
        return self.onnx_type.startswith("INT")

    def __str__(self) -> str:
        """Return the name."""
        return self.name


_FP32_MAX, _BF16_MAX = 3.4028234663852886e38, 3.3895313892515355e38

FP32 = NumberFormat("fp32", "FLOAT", "float32", -_FP32_MAX, _FP32_MAX)
# In memory these are float32 numbers; the GPU rounds them as it multiplies.
TF32 = NumberFormat("tf32", "FLOAT", "float32", -_FP32_MAX, _FP32_MAX, capability=(8, 0))
FP16 = NumberFormat("fp16", "FLOAT16", "float16", -65504.0, 65504.0)
BF16 = NumberFormat("bf16", "BFLOAT16", "bfloat16", -_BF16_MAX, _BF16_MAX, capability=(8, 0))
INT8 = NumberFormat("int8", "INT8", "int8", -128.0, 127.0, quantised=True)
FP8 = NumberFormat(
    "fp8", "FLOAT8E4M3FN", "float8_e4m3fn", -448.0, 448.0, quantised=True, capability=(8, 9), channel_multiple=16
)
# Formats that a network's tensors have.
FORMATS = (FP32, FP16, BF16, INT8, FP8)
QUANTISED_FORMATS = tuple(number_format for number_format in FORMATS if number_format.quantised)

# Formats of each precision's convolutions. The first is needed; the others are used where the GPUs have them.
PRECISIONS: dict[str, tuple[NumberFormat, ...]] = {
    **{number_format.name: (number_format,) for number_format in (FP32, TF32, *FORMATS[1:])},
    "mixed": (INT8, FP8),
}
QUANTISED_PRECISIONS = tuple(name for name, formats in PRECISIONS.items() if formats[0].quantised)
