"""Writes MXNet's parameter files, as its NDArray::Save does, and makes the arrays of insightface's mnet.25."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}
Arrays = dict[str, NDArray[np.float32]]


def params_file(arrays: Mapping[str, NDArray[np.generic]], version: int = V2) -> bytes:
    """Return a file of arrays; version 0 is the form before V1."""
    content = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for array in arrays.values():
        lengths = struct.pack(f"<{array.ndim}{'q' if version else 'I'}", *array.shape)
        content += struct.pack("<I", version) if version else b""
        content += struct.pack("<i", 0) if version in (V2, V3) else b""  # dense
        content += struct.pack("<I", array.ndim) + lengths
        content += struct.pack("<iii", 1, 0, _TYPES[array.dtype.name])  # CPU 0
        content += array.tobytes()
    content += struct.pack("<Q", len(arrays))
    for name in arrays:
        content += struct.pack("<Q", len(name.encode())) + name.encode()
    return content


def mnet25(seed: int = 3) -> Arrays:
    """Return random arrays of mnet.25 by insightface's names, so scaled that activations neither vanish nor explode."""
    arrays = _Arrays(np.random.default_rng(seed))
    arrays.body(0, 3, 8, 3)
    arrays.all["arg:mobilenet0_conv0_weight"] /= 128  # of grey levels
    channels = 8
    for i, width in enumerate((16, 32, 32, 64, 64, *[128] * 6, 256, 256)):
        arrays.body(2 * i + 1, 1, channels, 3)
        arrays.body(2 * i + 2, channels, width, 1)
        channels = width
    for name, inner, kernel in (
        ("c3_lateral", 256, 1), ("c2_lateral", 128, 1), ("c1_red_conv", 64, 1), ("c2_aggr", 64, 3), ("c1_aggr", 64, 3)
    ):  # fmt: skip
        arrays.behind(f"rf_{name}", inner, 64, kernel)
    for level, stride in ((1, 8), (2, 16), (3, 32)):
        for name, inner, outer in (
            ("conv1", 64, 32), ("context_conv1", 64, 16), ("context_conv2", 16, 16), ("context_conv3_1", 16, 16),
            ("context_conv3_2", 16, 16),
        ):  # fmt: skip
            arrays.behind(f"rf_c{level}_det_{name}", inner, outer, 3)
        for name, outer in (("cls_score", 4), ("bbox_pred", 8), ("landmark_pred", 20)):
            arrays.convolution(f"face_rpn_{name}_stride{stride}", 64, outer, 1, bias=True)
    return arrays.all


class _Arrays:
    # Of the convolutions' outputs. The epsilons of normalisations are a thousandth of their squares.
    _SPREAD = np.float32(0.1)

    def __init__(self, random: np.random.Generator) -> None:
        self.all: Arrays = {}
        self._random = random

    def body(self, index: int, inner: int, outer: int, kernel: int) -> None:
        self.convolution(f"mobilenet0_conv{index}", inner, outer, kernel, bias=False)
        self._normalisation(f"mobilenet0_batchnorm{index}", outer, "running")

    def behind(self, name: str, inner: int, outer: int, kernel: int) -> None:
        self.convolution(name, inner, outer, kernel, bias=True)
        self._normalisation(f"{name}_bn", outer, "moving")

    def convolution(self, name: str, inner: int, outer: int, kernel: int, bias: bool) -> None:
        scale = self._SPREAD * (2 / (inner * kernel**2)) ** 0.5
        self.all[f"arg:{name}_weight"] = self._draw(outer, inner, kernel, kernel) * np.float32(scale)
        if bias:
            self.all[f"arg:{name}_bias"] = self._draw(outer) * self._SPREAD

    def _normalisation(self, name: str, channels: int, statistics: str) -> None:
        self.all[f"arg:{name}_gamma"] = np.float32(1) + self._SPREAD * self._draw(channels)
        self.all[f"arg:{name}_beta"] = self._draw(channels) * np.float32(0.5)
        self.all[f"aux:{name}_{statistics}_mean"] = self._draw(channels) * self._SPREAD
        spread = self._SPREAD * np.exp(self._draw(channels) * np.float32(0.125))
        self.all[f"aux:{name}_{statistics}_var"] = spread * spread

    def _draw(self, *shape: int) -> NDArray[np.float32]:
        return self._random.normal(size=shape).astype(np.float32)
