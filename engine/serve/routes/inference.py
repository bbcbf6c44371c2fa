"""The Open Inference Protocol, version 2: `/v2/...`, which tritonclient and others speak."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.serve.refusals import Refusal
from engine.serve.routes.tensors import InputTensors, read_request, write_response
from engine.serve.service import Options, Service
from engine.serve.settings import MODEL_NAME
from engine.text import represented
from engine.types import Image
from engine.version import project_version

VERSION = "1"
_MODEL = f"/models/{MODEL_NAME}"
_OPTIONS = ("score_threshold", "min_size", "max_faces")
_MICROSECONDS = 1e-6
INPUTS = (
    {"name": "encoded", "datatype": "BYTES", "shape": [-1]},
    {"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
)
_OUTPUTS = (
    {"name": "num_faces", "datatype": "INT32", "shape": [-1]},
    {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]},
    {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
)
_LANDMARKS = {"name": "landmarks", "datatype": "FP32", "shape": [-1, -1, 5, 2]}


def inference_routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v2")
    _add_health(router, service)
    _add_metadata(router, service)
    _add_inference(router, service)
    return router


def _add_health(router: APIRouter, service: Service) -> None:
    @router.get("/health/live")
    async def live() -> Response:
        """Say that the process answers."""
        return Response()

    @router.get("/health/ready")
    @router.get(f"{_MODEL}/ready")
    @router.get(f"{_MODEL}/versions/{VERSION}/ready")
    async def ready() -> Response:
        """Say whether images are answered: status 200, else 503."""
        return Response(status_code=200 if service.ready else 503)


def _add_metadata(router: APIRouter, service: Service) -> None:
    @router.get("")
    async def server() -> dict[str, Any]:
        """Say what this server is."""
        return {"name": "retinaface-trt", "version": project_version(), "extensions": ["binary_tensor_data"]}

    @router.get(_MODEL)
    @router.get(f"{_MODEL}/versions/{VERSION}")
    async def metadata() -> dict[str, Any]:
        """Say which tensors the model takes and gives."""
        outputs = [*_OUTPUTS, *([_LANDMARKS] if service.detector.config.has_landmarks else [])]
        return {
            "name": MODEL_NAME,
            "versions": [VERSION],
            "platform": "retinaface-trt",
            "inputs": list(INPUTS),
            "outputs": outputs,
            "parameters": {
                "description": service.description,
                "least_score_threshold": service.detector.sidecar.thresholds.score,
            },
        }


def _add_inference(router: APIRouter, service: Service) -> None:
    @router.post(f"{_MODEL}/infer")
    @router.post(f"{_MODEL}/versions/{VERSION}/infer")
    async def infer(request: Request) -> Response:
        """Find the faces in `encoded`, picture files, or in `image`, arrays in BGR order.

        Parameters: score_threshold, min_size, max_faces, and timeout in microseconds. Outputs, for N images with at
        most K faces: num_faces [N], boxes [N, K, 4], scores [N, K], landmarks [N, K, 5, 2], with 0 behind an image's
        faces. If an image fails, the request fails.
        """
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refusal(415, "encoding", "the body is compressed, expected it as it is")
        body = await request.body()
        given, binary = read_request(body, request.headers.get("inference-header-content-length"))
        options = _options(given.get("parameters", {}))
        inputs = InputTensors(given, binary)
        images = _images(inputs, service.settings.max_images)
        with service.admitted(len(images)):
            work = [_faces(service, image, i, options) for i, image in enumerate(images)]
            done = await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), options.timeout)
        found = [_unless_failed(faces) for faces in done]
        answer: dict[str, Any] = {"model_name": MODEL_NAME, "model_version": VERSION}
        if isinstance(given.get("id"), str):
            answer["id"] = given["id"]
        content, headers = write_response(answer, outputs_of(found), given)
        return Response(content, headers=headers)


def outputs_of(found: Sequence[Detections]) -> dict[str, NDArray[Any]]:
    """Return the faces of N images as the output tensors."""
    counts = [len(faces) for faces in found]
    most = max(counts, default=0)
    outputs: dict[str, NDArray[Any]] = {
        "num_faces": np.array(counts, np.int32),
        "boxes": np.zeros((len(found), most, 4), np.float32),
        "scores": np.zeros((len(found), most), np.float32),
    }
    if all(faces.landmarks is not None for faces in found):
        outputs["landmarks"] = np.zeros((len(found), most, 5, 2), np.float32)
    for index, faces in enumerate(found):
        outputs["boxes"][index, : len(faces)] = faces.boxes
        outputs["scores"][index, : len(faces)] = faces.scores
        if "landmarks" in outputs:
            outputs["landmarks"][index, : len(faces)] = faces.landmarks
    return outputs


def _options(parameters: Any) -> Options:
    if not isinstance(parameters, dict):
        raise InvalidArgumentError("parameters is no JSON object")
    timeout = parameters.get("timeout")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise InvalidArgumentError(f"timeout is {represented(timeout)}, expected microseconds")
    return Options(
        **{name: parameters[name] for name in _OPTIONS if name in parameters},
        timeout=timeout * _MICROSECONDS if timeout else None,  # 0 is none, as in Triton
    )


def _images(inputs: Mapping[str, NDArray[np.uint8] | list[bytes]], most: int) -> Sequence[bytes | Image]:
    """Return the files or the arrays of a request."""
    if len(inputs) != 1 or next(iter(inputs)) not in ("encoded", "image"):
        names = ", ".join(map(represented, inputs)) or "none"
        raise InvalidArgumentError(f"the inputs are {names}, expected one: encoded or image")
    ((name, values),) = inputs.items()
    if name == "encoded":
        if not isinstance(values, list):
            raise InvalidArgumentError("input encoded: datatype is UINT8, expected BYTES")
        _check_count(len(values), most)
        return values
    if isinstance(values, list):
        raise InvalidArgumentError("input image: datatype is BYTES, expected UINT8")
    images = values[None] if values.ndim == 3 else values
    if images.ndim != 4 or images.shape[3] != 3 or not images.size:
        raise InvalidArgumentError(f"input image: shape is {list(values.shape)}, expected [H, W, 3] or [N, H, W, 3]")
    _check_count(len(images), most)
    return list(images)


def _check_count(images: int, most: int) -> None:
    if images > most:
        raise InvalidArgumentError(f"{images} images, expected at most {most}")


def _unless_failed(faces: Detections | BaseException) -> Detections:
    if isinstance(faces, BaseException):
        raise faces
    return faces


async def _faces(service: Service, given: bytes | Image, index: int, options: Options) -> Detections:
    if isinstance(given, bytes):
        return (await service.find(given, f"picture {index}", options)).faces
    return (await service.answer(given, options)).faces
