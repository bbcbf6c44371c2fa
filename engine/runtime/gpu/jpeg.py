"""Decoding pictures on a GPU with nvImageCodec: encoded bytes become arrays in its memory, which detectors take."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from engine.errors import DeviceError, InvalidArgumentError
from engine.runtime.gpu.opening import load_cupy
from engine.untrusted.image_header import claim_of
from engine.untrusted.limits import MAX_IMAGE_BYTES, MAX_IMAGE_SIDE

# Chroma is interpolated as the CPU's decoder does, not repeated.
_OPTIONS = ":fancy_upsampling=1"


class GpuImageDecoder:
    """Decodes JPEG on an NVIDIA GPU; other formats that nvImageCodec knows on the CPU.

    It needs the extra gpu-decode. Detectors never use it by themselves. Threads need one each.
    """

    def __init__(self, index: int = 0) -> None:
        """Start nvImageCodec on GPU `index`.

        Raises:
            DeviceError: nvImageCodec or CuPy is missing, or there is no such GPU.
        """
        try:
            codec = importlib.import_module("nvidia.nvimgcodec")
        except ImportError as error:
            raise DeviceError(
                f"decoding on a GPU needs nvImageCodec ({error}): pip install 'nvidia-nvimgcodec-cu13[nvjpeg]>=0.9'"
            ) from error
        self._codec, self._cupy, self._index = codec, load_cupy(index), index
        try:
            with self._cupy.cuda.Device(index):
                self._decoder = codec.Decoder(device_id=index, options=_OPTIONS)
        except RuntimeError as error:
            raise DeviceError(f"nvImageCodec cannot use cuda:{index}: {error}") from error
        self._parameters = codec.DecodeParams(
            apply_exif_orientation=True, color_spec=codec.ColorSpec.SRGB, sample_format=codec.SampleFormat.I_BGR
        )

    def decode(self, contents: Sequence[bytes]) -> list[Any]:
        """Decode the contents of image files, all in one batch, on CuPy's current stream.

        Pictures are turned as their EXIF orientation says. Grey levels differ from those of OpenCV by 5 at most.

        Args:
            contents: of files.

        Returns:
            CuPy arrays, uint8 [H, W, 3] in BGR order, ready for every stream. Their memory is freed in the order of the
            stream that they were decoded on, as that of other CuPy arrays.

        Raises:
            InvalidArgumentError: one is no picture, is damaged, or claims sides that are too long.
            DeviceError: the GPU failed, most often for lack of memory.
        """
        for index, content in enumerate(contents):
            _check(f"contents[{index}]", content)
        codec, cuda = self._codec, self._cupy.cuda
        try:
            with cuda.Device(self._index):
                # Not a stream of our own: work on the caller's, which may read an array until later, is not ordered
                # before what frees it there.
                stream = cuda.get_current_stream()
                encoded = [codec.CodeStream(content) for content in contents]
                images = self._decoder.decode(encoded, params=self._parameters, cuda_stream=stream.ptr)
                stream.synchronize()
                for index, image in enumerate(images):
                    if image is None:
                        raise InvalidArgumentError(f"contents[{index}] {_UNREADABLE}")
                return [self._cupy.asarray(image) for image in images]
        except RuntimeError as error:
            raise DeviceError(f"nvImageCodec failed on cuda:{self._index}: {error}") from error


_UNREADABLE = (
    "is not a picture that nvImageCodec can decode. Decode it on the CPU, with cv2.imdecode, which knows more formats "
    "and takes pictures whose end is missing"
)


def _check(name: str, content: bytes) -> None:
    """Check what a picture claims, before memory is taken for it."""
    if len(content) > MAX_IMAGE_BYTES:
        raise InvalidArgumentError(f"{name} has {len(content):,} bytes, expected at most {MAX_IMAGE_BYTES:,}")
    claim = claim_of(content)
    if claim is None:
        raise InvalidArgumentError(f"{name} {_UNREADABLE}")
    if claim.side > MAX_IMAGE_SIDE:
        raise InvalidArgumentError(
            f"{name} is a picture with a side of {claim.side} pixels, expected sides up to {MAX_IMAGE_SIDE}"
        )
