"""The pictures of many requests, decoded on all cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.inputs import as_image
from engine.protocol.tensors import images_of
from engine.threads import available_threads
from engine.triton.models.backend import each, for_the_rest
from engine.types import Image
from engine.untrusted.image_header import claim_within


class PictureReader:
    """Reads the pictures of requests."""

    def __init__(self, max_pixels: int) -> None:
        """Refuse pictures that claim more pixels, before they are decoded."""
        self._max_pixels = max_pixels
        self._threads = ThreadPoolExecutor(available_threads(), thread_name_prefix="retinaface-decode")

    def read(self, requests: Sequence[Mapping[str, NDArray[Any]]]) -> list[list[Image] | Exception]:
        """Return the images of each request, uint8 [H, W, 3] in BGR order, or an error, from its inputs."""
        return for_the_rest(each(requests, self._start), lambda started: each(started, _results))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _start(self, tensors: Mapping[str, NDArray[Any]]) -> list[Future[Image]]:
        inputs = {name: [*values.flat] if values.dtype == np.object_ else values for name, values in tensors.items()}
        return [
            self._threads.submit(partial(self._decode, picture, f"picture {index}"))
            for index, picture in enumerate(images_of(inputs))
        ]

    def _decode(self, picture: bytes | Image, name: str) -> Image:
        if isinstance(picture, bytes):
            claim_within(picture, self._max_pixels, name)
        return as_image(picture, name)


def _results(started: Sequence[Future[Image]]) -> list[Image]:
    return [future.result() for future in started]
