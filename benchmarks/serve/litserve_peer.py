"""LitServe with the same engine: one worker that gathers batches. Started by benchmarks/serve/peers.py.

    python -m benchmarks.serve.litserve_peer ENGINE DEVICE THREADS PORT

Annotations are no strings here, because LitServe looks at them.
"""

import sys
from typing import Annotated, Any

import litserve
from fastapi import Body

from engine import TRTRetinaFace
from engine.faces import Detections
from engine.images import decode_image
from engine.types import Image

_PICTURE = Annotated[bytes, Body(media_type="application/octet-stream")]
_MAX_BATCH = 4
_BATCH_TIMEOUT_S = 0.002


class Faces(litserve.LitAPI):  # type: ignore[misc]
    """Picture files in, faces as JSON out."""

    def __init__(self, engine: str, engine_device: str, threads: int) -> None:
        """Remember what to open in the worker."""
        super().__init__(max_batch_size=_MAX_BATCH, batch_timeout=_BATCH_TIMEOUT_S)
        self._arguments = (engine, engine_device, threads)

    def setup(self, device: str) -> None:
        """Open the engine, in the worker."""
        engine, engine_device, threads = self._arguments
        self._detector = TRTRetinaFace(engine, engine_device, threads=threads)

    def decode_request(self, request: _PICTURE) -> Image:
        """Decode a picture file."""
        return decode_image(request)

    def batch(self, inputs: list[Image]) -> list[Image]:
        """Leave a batch a list, as images differ in size."""
        return inputs

    def predict(self, images: list[Image]) -> list[Detections]:
        """Find the faces of a batch."""
        return self._detector.detect(images)

    def unbatch(self, output: list[Detections]) -> list[Detections]:
        """Give each request its faces."""
        return output

    def encode_response(self, output: Detections) -> dict[str, Any]:
        """Write faces as JSON."""
        return output.to_json()


if __name__ == "__main__":
    path, kind, count, port = sys.argv[1:]
    server = litserve.LitServer(Faces(path, kind, int(count)), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="warning")
