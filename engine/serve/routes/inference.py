"""The Open Inference Protocol, version 2: `/v2/...`, which tritonclient and others speak."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.protocol.tensors import INPUTS, MODEL_NAME, OPTIONS, images_of, output_infos, outputs_of
from engine.serve.refusals import Refusal
from engine.serve.routes.tensors import InputTensors, read_request, write_response
from engine.serve.service import Options, Service
from engine.text import represented
from engine.types import Image
from engine.version import project_version

VERSION = "1"
_MODEL = f"/models/{MODEL_NAME}"
_MICROSECONDS = 1e-6


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
        outputs = output_infos(service.detector.config, service.detector.sidecar.meshes)
        return {
            "name": MODEL_NAME,
            "versions": [VERSION],
            "platform": "retinaface-trt",
            "inputs": [tensor.to_json() for tensor in INPUTS],
            "outputs": [tensor.to_json() for tensor in outputs],
            "parameters": {
                "description": service.description,
                "least_score_threshold": service.detector.sidecar.thresholds.score,
                **({"classes": json.dumps(classes)} if len(classes := service.detector.config.classes) > 1 else {}),
            },
        }


def _add_inference(router: APIRouter, service: Service) -> None:
    @router.post(f"{_MODEL}/infer")
    @router.post(f"{_MODEL}/versions/{VERSION}/infer")
    async def infer(request: Request) -> Response:
        """Find the faces in `encoded`, picture files, or in `image`, arrays in BGR order.

        Parameters: score_threshold, min_size, max_faces, and timeout in microseconds. Outputs, for N images with at
        most K faces: num_faces [N], boxes [N, K, 4], scores [N, K], landmarks [N, K, L, 2], and what else the metadata
        lists, with 0 behind an image's faces. If an image fails, the request fails.
        """
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refusal(415, "encoding", "the body is compressed, expected it as it is")
        body, header_bytes = await request.body(), request.headers.get("inference-header-content-length")
        # In a thread: a long JSON takes seconds, in which others want answers.
        given, images = await asyncio.to_thread(_read, body, header_bytes, service.settings.max_images)
        options = _options(given.get("parameters", {}))
        with service.admitted(len(images)):
            work = [_faces(service, image, i, options) for i, image in enumerate(images)]
            done = await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), options.timeout)
        found = [_unless_failed(faces) for faces in done]
        answer: dict[str, Any] = {"model_name": MODEL_NAME, "model_version": VERSION}
        if isinstance(given.get("id"), str):
            answer["id"] = given["id"]
        content, headers = await asyncio.to_thread(lambda: write_response(answer, outputs_of(found), given))
        return Response(content, headers=headers)


def _read(body: bytes, header_bytes: str | None, most: int) -> tuple[dict[str, Any], Sequence[bytes | Image]]:
    """Return the JSON of a request, and its images."""
    given, binary = read_request(body, header_bytes)
    return given, images_of(InputTensors(given, binary, most), most)


def _options(parameters: Any) -> Options:
    if not isinstance(parameters, dict):
        raise InvalidArgumentError("parameters is no JSON object")
    timeout = parameters.get("timeout")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise InvalidArgumentError(f"timeout is {represented(timeout)}, expected microseconds")
    return Options(
        **{name: parameters[name] for name in OPTIONS if name in parameters},
        timeout=timeout * _MICROSECONDS if timeout else None,  # 0 is none, as in Triton
    )


def _unless_failed(faces: Detections | BaseException) -> Detections:
    if isinstance(faces, BaseException):
        raise faces
    return faces


async def _faces(service: Service, given: bytes | Image, index: int, options: Options) -> Detections:
    if isinstance(given, bytes):
        return (await service.find(given, f"picture {index}", options)).faces
    return (await service.answer(given, options)).faces
