"""Decoding on a GPU, against doubles of nvImageCodec and CuPy, and against nvImageCodec itself on the CPU."""

from __future__ import annotations

import struct
import sys
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from engine import DeviceError, GpuImageDecoder, InvalidArgumentError, TRTRetinaFace
from engine.images import decode_image
from engine.runtime.gpu import jpeg
from engine.types import Image
from tests.support.data import astronaut
from tests.support.doubles.cases import assert_same
from tests.support.doubles.cupy import FakeCuda
from tests.support.doubles.nvimgcodec import NvImageCodec
from tests.support.doubles.tensorrt import FakeTensorRT

# Of the GPU's decoder. Both decoders interpolate chroma alike; each component may be a level off after the inverse DCT,
# and half a level more after the interpolation: 1 + 1.77 * 1.5 + .5 for blue.
TOLERANCE = 5
MODULE = "nvidia.nvimgcodec"


@pytest.fixture
def codec(fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> NvImageCodec:
    double = NvImageCodec(fake_cuda)
    monkeypatch.setitem(sys.modules, MODULE, double)
    return double


@pytest.fixture
def real(fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library itself, whose decoders run on the CPU."""
    library = pytest.importorskip(MODULE)

    def decoder(device_id: int, options: str) -> Any:
        return library.Decoder(
            device_id=library.NVIMGCODEC_DEVICE_CPU_ONLY,
            backends=[library.Backend(library.BackendKind.CPU_ONLY)],
            options=options,
        )

    monkeypatch.setitem(sys.modules, MODULE, SimpleNamespace(**{**vars(library), "Decoder": decoder}))
    return library


def on_host(array: Any) -> Image:
    image: Image = array.read()
    return image


def encoded(image: Image, suffix: str = ".jpg", *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def turned(content: bytes, orientation: int) -> bytes:
    """Put an EXIF orientation into a JPEG."""
    entry = struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    return content[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + content[2:]


def test_pictures_are_complete_when_they_are_returned(codec: NvImageCodec) -> None:
    contents = [encoded(astronaut()), encoded(astronaut()[:33, :77], ".png")]
    found = GpuImageDecoder().decode(contents)
    for array, content in zip(found, contents, strict=True):
        assert array.dtype == np.uint8
        assert np.array_equal(on_host(array), decode_image(content))
    assert GpuImageDecoder().decode([]) == []


def test_they_are_decoded_on_the_current_stream_which_later_frees_them(
    codec: NvImageCodec, fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = fake_cuda.callers_stream(77)
    monkeypatch.setattr(fake_cuda, "get_current_stream", lambda: stream)
    (found,) = GpuImageDecoder().decode([encoded(astronaut())])
    assert [decoder.used for decoder in codec.decoders] == [{77}]
    assert np.array_equal(on_host(found), decode_image(encoded(astronaut())))


def test_detectors_take_them(
    codec: NvImageCodec, detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    contents = [encoded(astronaut()), encoded(astronaut()[:, ::-1])]
    found = detector.detect(GpuImageDecoder().decode(contents))
    assert not any(call.startswith("copy in") for call in trt.call_log)
    for ours, content in zip(found, contents, strict=True):
        theirs = on_cpu.detect(decode_image(content))
        assert len(theirs) == 1
        assert_same(ours, theirs)


def test_the_decoder_is_of_its_gpu(codec: NvImageCodec, fake_cuda: FakeCuda) -> None:
    fake_cuda.devices = 2
    fake_cuda.used.clear()
    GpuImageDecoder(1).decode([encoded(astronaut())])
    assert codec.decoders[0].device_id == 1
    assert fake_cuda.used == {1}


def test_what_is_no_picture_is_named(codec: NvImageCodec) -> None:
    good = encoded(astronaut())
    for bad in (b"", b"hello", good[:20]):
        with pytest.raises(InvalidArgumentError, match=r"contents\[1\] is not a picture .*cv2.imdecode"):
            GpuImageDecoder().decode([good, bad])
    huge = good.replace(struct.pack(">HH", 512, 512), struct.pack(">HH", 512, 16385))
    with pytest.raises(InvalidArgumentError, match=r"contents\[0\] is a picture with a side of 16385 pixels"):
        GpuImageDecoder().decode([huge])


def test_a_content_that_is_too_long_is_named(codec: NvImageCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "MAX_IMAGE_BYTES", 1000)
    with pytest.raises(InvalidArgumentError, match=r"contents\[0\] has .* bytes, expected at most 1,000"):
        GpuImageDecoder().decode([encoded(astronaut())])


def test_a_gpu_that_fails(codec: NvImageCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, codec.fails = GpuImageDecoder(), True
    with pytest.raises(DeviceError, match="failed on cuda:0: CUDA Runtime failure"):
        decoder.decode([encoded(astronaut())])

    def refuse(**_: object) -> None:
        raise RuntimeError("no driver")

    monkeypatch.setattr(codec, "Decoder", refuse)
    with pytest.raises(DeviceError, match="nvImageCodec cannot use cuda:0: no driver"):
        GpuImageDecoder()


def test_what_is_missing_is_said_with_what_to_install(fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.raises(DeviceError, match=r"needs nvImageCodec .*pip install 'nvidia-nvimgcodec-cu13\[nvjpeg\]>=0\.9'"):
        GpuImageDecoder()


def test_without_a_gpu(codec: NvImageCodec, fake_cuda: FakeCuda) -> None:
    with pytest.raises(DeviceError, match="cuda:1 does not exist"):
        GpuImageDecoder(1)
    fake_cuda.devices = -1
    with pytest.raises(DeviceError, match="cannot use the NVIDIA driver"):
        GpuImageDecoder()


def test_the_library_decodes_as_opencv_does(real: Any) -> None:
    photo = astronaut()
    contents = [turned(encoded(photo[:300, :200]), orientation) for orientation in range(1, 9)]
    contents += [encoded(photo, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), encoded(photo[..., 0])]
    contents += [encoded(photo, suffix) for suffix in (".png", ".bmp", ".webp", ".tiff")]
    for array, content in zip(GpuImageDecoder().decode(contents), contents, strict=True):
        assert np.array_equal(on_host(array), decode_image(content))


def test_the_library_refuses_a_picture_whose_end_is_missing(real: Any) -> None:
    content = encoded(astronaut())
    with pytest.raises(InvalidArgumentError, match=r"contents\[0\] is not a picture that nvImageCodec can decode"):
        GpuImageDecoder().decode([content[: len(content) // 2]])


@pytest.mark.needs_gpu
def test_the_gpu_decodes_as_opencv_does() -> None:
    """The lossless format exactly; JPEG with and without chroma of half the size, turned, grey and progressive."""
    cupy = pytest.importorskip("cupy")
    pytest.importorskip(MODULE)
    photo = astronaut()
    contents = [encoded(photo, ".png"), encoded(photo[..., 0])]
    contents += [turned(encoded(photo[:301, :203]), orientation) for orientation in range(1, 9)]
    contents += [encoded(photo, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)]
    contents += [
        encoded(photo, ".jpg", cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor)
        for factor in (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    ]
    found = [cupy.asnumpy(array) for array in GpuImageDecoder().decode(contents)]
    assert np.array_equal(found[0], photo)
    for image, content in zip(found, contents, strict=True):
        expected = decode_image(content)
        assert image.shape == expected.shape
        assert np.abs(image.astype(np.int16) - expected).max() <= TOLERANCE
