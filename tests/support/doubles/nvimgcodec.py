"""A double of nvidia.nvimgcodec that decodes with OpenCV, on a stream of cupy.py's double."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from tests.support.doubles.cupy import FakeCuda


@dataclass
class _Decoder:
    codec: NvImageCodec
    device_id: int
    options: str
    used: set[int] = field(default_factory=set)  # streams

    def decode(self, streams: list[bytes], *, params: dict[str, Any], cuda_stream: int) -> list[Any]:
        assert params == {"apply_exif_orientation": True, "color_spec": "sRGB", "sample_format": "BGR"}
        self.used.add(cuda_stream)
        if self.codec.fails:
            raise RuntimeError("CUDA Runtime failure: '#2'")
        return [self._decode(stream, cuda_stream) for stream in streams]

    def _decode(self, content: bytes, stream: int) -> Any:
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            return None
        image = np.zeros_like(decoded)
        self.codec.cuda.streams[stream].add(lambda: np.copyto(image, decoded))
        return image


class NvImageCodec:
    """The module, as far as GpuImageDecoder uses it.

    Attributes:
        decoders: that were made.
        fails: whether decoding fails as CUDA does.
    """

    ColorSpec = SimpleNamespace(SRGB="sRGB")
    SampleFormat = SimpleNamespace(I_BGR="BGR")
    DecodeParams = dict
    CodeStream = bytes

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.fails = cuda, False
        self.decoders: list[_Decoder] = []

    def Decoder(self, *, device_id: int, options: str) -> _Decoder:  # noqa: N802
        self.decoders.append(_Decoder(self, device_id, options))
        return self.decoders[-1]
