"""A deployment of Ray Serve: pictures over HTTP, or from other deployments, in shared batches."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from engine.errors import DeviceLostError, InvalidArgumentError, RetinaFaceError
from engine.faces import Detections
from engine.rows import Detection, options_of
from engine.runtime.queue import BatchQueue
from engine.scale.folder import Workers
from engine.serve.refusals import refusal_of
from engine.untrusted.image_header import claim_within
from engine.untrusted.limits import MAX_SERVED_PIXELS

_log = logging.getLogger("ray.serve")
_IN_PROGRESS = 64  # requests of a replica; what is more waits in Ray's proxy


class FaceService:
    """A replica: one detector, whose requests share batches. Use it through face_service."""

    def __init__(self, detection: Detection, max_pixels: int = MAX_SERVED_PIXELS) -> None:
        """Open the detector, in the replica's process; pictures that claim more pixels are not decoded.

        Raises:
            RetinaFaceError: see TRTRetinaFace.
        """
        self._detection, self._max_pixels, self._lost = detection, max_pixels, False
        self._detector = detection.open()
        self._queue = BatchQueue([self._detector])

    async def detect(
        self,
        picture: bytes,
        score_threshold: float | None = None,
        min_size: float | None = None,
        max_faces: int | None = None,
    ) -> Detections:
        """Return the faces of a picture file's content, to other deployments: await handle.detect.remote(picture).

        They are those that TRTRetinaFace.detect returns, with meshes if the engine gives meshes.

        Raises:
            InvalidArgumentError: it is no picture, or claims too many pixels, or a setting is out of range; other
                requests are not affected.
            InferenceError: the engine failed.
        """
        claim_within(picture, self._max_pixels, "the picture")
        given = self._detection
        request = await asyncio.to_thread(
            self._queue.submit,
            picture,
            score_threshold=score_threshold,
            min_size=given.min_size if min_size is None else min_size,
            max_faces=given.max_faces if max_faces is None else max_faces,
        )
        try:
            return await asyncio.wrap_future(request)
        except DeviceLostError:
            self._lost = True
            raise

    async def __call__(self, request: Request) -> JSONResponse:
        """Answer a picture file, the body of a request, as POST /detect of retinaface-trt serve does.

        The address may have the options score_threshold, min_size, max_faces and meshes.
        """
        try:
            options = options_of(request.query_params)
            content = await request.body()
            if not content:
                raise InvalidArgumentError("the body is empty, expected a picture")
            meshes = options.pop("meshes", self._detection.meshes)
            faces = await self.detect(content, **options)
            # Meshes have megabytes, whose text takes a while.
            return await asyncio.to_thread(lambda: JSONResponse(faces.to_json(meshes=meshes)))
        except RetinaFaceError as error:
            refusal = refusal_of(error)
            if refusal.status == 500:
                _log.error("a request failed: %s", error)
            return JSONResponse({"error": str(refusal)}, refusal.status, refusal.headers)

    def check_health(self) -> None:
        """Called by Ray Serve, which replaces a replica whose GPU is lost."""
        if self._lost:
            raise DeviceLostError("the GPU is lost: this replica has to be replaced")


def face_service(
    detection: Detection,
    workers: Workers = Workers(),  # noqa: B008 - it cannot be changed
    max_pixels: int = MAX_SERVED_PIXELS,
) -> Any:
    """Return an application, serve.run(face_service(detection), route_prefix="/detect"); see FaceService.

    Args:
        detection: the engine and its settings.
        workers: how many replicas there are, and with what.
        max_pixels: a picture that claims more is not decoded.
    """
    deployment = serve.deployment(FaceService).options(
        name="faces",
        num_replicas=workers.count,
        max_ongoing_requests=_IN_PROGRESS,
        ray_actor_options={"num_cpus": workers.cpus, "num_gpus": workers.gpus},
    )
    return deployment.bind(detection, max_pixels)
