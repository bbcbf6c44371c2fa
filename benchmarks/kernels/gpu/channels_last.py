"""The deformable convolution in the layout that TensorRT may choose for the plugin, which engine.ops does not have."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.kernels.document import ROOT

LIBRARY = ROOT / "build" / "device" / "librf_textbook.so"


def channels_last(x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor, mask: Tensor) -> Callable[[], object] | None:
    """Return a call of a 3x3 convolution with padding 1, of float16 tensors in NCHW.

    None where the library of the textbook kernels has not been built for this GPU.
    """
    if not LIBRARY.exists() or not x.is_cuda:
        return None
    function = ctypes.CDLL(str(LIBRARY)).deform_conv_channels_last
    batch, channels, height, width = x.shape
    placed = x.permute(0, 2, 3, 1).contiguous()
    result = torch.empty(batch, height, width, len(weight), device=x.device, dtype=x.dtype)
    shape = (ctypes.c_int * 5)(batch, channels, len(weight), height, width)

    def call() -> object:
        pointers = [t.data_ptr() for t in (placed, weight, offset, bias, mask, result)]
        status = function(*map(ctypes.c_void_p, pointers), shape)
        if status != 0:
            raise RuntimeError(f"deform_conv_channels_last gave CUDA status {status}")
        return result

    return call
