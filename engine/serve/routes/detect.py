"""`POST /detect`: pictures in, faces as JSON out."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import cv2
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from engine.errors import InvalidArgumentError, RetinaFaceError
from engine.faces.align import align
from engine.serve.guard import log
from engine.serve.refusals import Refusal, refusal_of
from engine.serve.service import Answer, Options, Service
from engine.text import printable
from engine.types import Image

_LONGEST_NAME = 255
_MOST_FIELDS = 8  # of a form, beside its files

_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_FILES = {"type": "object", "properties": {"file": {"type": "array", "items": _PICTURE["schema"]}}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"image/*": _PICTURE, "multipart/form-data": {"schema": _FILES}},
    }
}


class DetectQuery(BaseModel):
    """The options in the address."""

    model_config = ConfigDict(extra="forbid")

    score_threshold: float | None = None
    min_size: float | None = None
    max_faces: int | None = None
    timeout: float | None = None
    crops: Literal["box", "aligned"] | None = None
    meshes: bool = False

    def options(self) -> Options:
        """Return what concerns the detection; InvalidArgumentError for a timeout that is none."""
        return Options(self.score_threshold, self.min_size, self.max_faces, self.timeout)


def detect_routes(service: Service) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    @router.post("/detect", openapi_extra=_BODY)
    async def detect(request: Request, query: Annotated[DetectQuery, Query()]) -> Response:
        """Find the faces in the picture that is the body, or in each file of a form.

        The answer to a picture is {"image_size": [height, width], "faces": [{"box": [x1, y1, x2, y2], "score": S,
        "landmarks": [[x, y], ...]}, ...]}, in pixels, the best face first, with what else the model has (see
        Detections.to_json); with `crops`, a face has a "crop", the base64 of a PNG file; with `meshes`, the faces have
        "vertices", and perhaps "colours", if the engine gives meshes. The answer to a form is {"images": [...]}, in the
        order of its files, each with its "name"; one that fails has an "error" instead of faces, and does not affect
        the others.
        """
        options = query.options()
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            files = await _files(request, service.settings.max_images, service.settings.max_body_bytes)
            with service.admitted(len(files)):
                work = [_of_file(service, file, options, query) for file in files]
                return await asyncio.to_thread(JSONResponse, {"images": await asyncio.gather(*work)})
        content = await request.body()
        if not content:
            raise InvalidArgumentError("the body is empty, expected a picture")
        with service.admitted(1):
            answer = await _answer(service, content, "the picture", options)
            values = await _values(answer, query)
            headers = {"Server-Timing": _server_timing(answer)}
            # Meshes have megabytes, whose text takes a while.
            return await asyncio.to_thread(JSONResponse, values, headers=headers)

    return router


async def _files(request: Request, most: int, most_bytes: int) -> list[tuple[str, bytes]]:
    """Return the name and the content of each file of a form."""
    parser = MultiPartParser(request.headers, request.stream(), max_files=most, max_fields=_MOST_FIELDS)
    parser.spool_max_size = most_bytes  # all of it stays in memory: there may be no disk to write to
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidArgumentError(f"the form cannot be read: {error.message}") from error
    uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    files = [(printable(upload.filename or "", _LONGEST_NAME), await upload.read()) for upload in uploads]
    if not files:
        raise InvalidArgumentError("the form has no files, expected at least one picture")
    return files


async def _of_file(service: Service, file: tuple[str, bytes], options: Options, query: DetectQuery) -> dict[str, Any]:
    name, content = file
    try:
        answer = await _answer(service, content, "the file", options)
        return {"name": name, **await _values(answer, query)}
    except Exception as error:
        refusal = error if isinstance(error, Refusal) else refusal_of(error)
        if not isinstance(error, Refusal | RetinaFaceError | asyncio.TimeoutError):
            log.exception("an image of a form failed")
        return {"name": name, "error": str(refusal)}


async def _answer(service: Service, content: bytes, name: str, options: Options) -> Answer:
    return await asyncio.wait_for(service.find(content, name, options), options.timeout)


async def _values(answer: Answer, query: DetectQuery) -> dict[str, Any]:
    values = await asyncio.to_thread(answer.faces.to_json, meshes=query.meshes)
    if query.crops is not None:
        crops = await asyncio.to_thread(_crops, answer, query.crops)
        for face, crop in zip(values["faces"], crops, strict=True):
            face["crop"] = crop
    return values


def _server_timing(answer: Answer) -> str:
    """Return the stages as the header Server-Timing has them: https://www.w3.org/TR/server-timing."""
    stages = [f"{name.replace(' ', '-')};dur={seconds * 1000:.2f}" for name, seconds in answer.stages.items()]
    return ", ".join([*stages, f'batch;desc="{answer.batch_size}"'])


def _crops(answer: Answer, kind: str) -> list[str]:
    """Return the base64 of a PNG file for each face."""
    crops: Iterable[Image]
    if kind == "aligned":
        crops = align(answer.image, answer.faces)
    else:  # one at a time, as each may be as large as the image
        crops = (answer.faces[i : i + 1].crops(answer.image)[0] for i in range(len(answer.faces)))
    return [base64.b64encode(cv2.imencode(".png", crop)[1].tobytes()).decode() for crop in crops]
