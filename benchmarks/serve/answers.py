"""Pictures of mixed sizes with the answer that a detector alone gives to each, bit for bit."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass

import cv2
import numpy as np

from engine import TRTRetinaFace
from engine.bench.load.workload import generated
from engine.faces import Detections
from engine.images import decode_image

PATH = "/v2/models/retinaface/infer"
_OUTPUTS = ("num_faces", "boxes", "scores", "landmarks")
_LEAST, _MOST = 40, 700  # shorter side of a picture


@dataclass(frozen=True)
class Question:
    """A picture file and the bytes of its faces."""

    content: bytes
    expected: bytes

    def request(self) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of a request of the Open Inference Protocol, with binary tensors."""
        data = len(self.content).to_bytes(4, "little") + self.content
        tensor = {"name": "encoded", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}
        outputs = [{"name": name, "parameters": {"binary_data": True}} for name in _OUTPUTS]
        head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
        return head + data, {"Inference-Header-Content-Length": str(len(head))}


def questions(detector: TRTRetinaFace, count: int, seed: int) -> list[Question]:
    """Return pictures with faces, each of another size, and the answers of a detector that nobody else calls."""
    rng = np.random.default_rng(seed)
    sources = [decode_image(picture.content) for picture in generated(seed).pictures]
    made = []
    for index in range(count):
        image = sources[index % len(sources)]
        scale = rng.integers(_LEAST, _MOST) / min(image.shape[:2])
        resized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".jpg", resized)[1].tobytes()
        (faces,) = detector.detect([decode_image(content)])
        made.append(Question(content, _bytes_of(faces)))
    return made


def faces_of(response: http.client.HTTPResponse, body: bytes) -> bytes:
    """Return the bytes of the faces in an answer."""
    return body[int(response.getheader("Inference-Header-Content-Length", "0")) :]


def _bytes_of(faces: Detections) -> bytes:
    landmarks = b"" if faces.landmarks is None else faces.landmarks.tobytes()
    return len(faces).to_bytes(4, "little") + faces.boxes.tobytes() + faces.scores.tobytes() + landmarks
