"""The application: the routes of a service behind its guard."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from engine.errors import RetinaFaceError
from engine.serve.guard import GONE, Guard, log
from engine.serve.lifetime import reload_all
from engine.serve.metrics import CONTENT_TYPE, Metrics
from engine.serve.refusals import Refusal, refusal_of
from engine.serve.routes.detect import detect_routes
from engine.serve.routes.inference import inference_routes
from engine.serve.routes.page import page_routes
from engine.serve.service import Service
from engine.serve.settings import ServeSettings
from engine.version import project_version


def create_app(settings: ServeSettings) -> Any:
    """Return the ASGI application of a service; it opens the engine when its lifespan starts."""
    metrics = Metrics()
    service = Service(settings, metrics)

    app = FastAPIOffline(  # whose page /docs needs no other server
        redoc_url=None, title="retinaface-trt", version=project_version(), summary="Finds faces in pictures."
    )
    app.include_router(detect_routes(service))
    app.include_router(inference_routes(service))

    @app.get("/metrics")
    async def numbers() -> Response:
        """Return what the service counts and times, in Prometheus's text format."""
        return Response(metrics.exposition(service.device_memory), media_type=CONTENT_TYPE)

    app.include_router(page_routes())
    if settings.allow_reload:

        @app.post("/admin/reload", status_code=202)
        async def reload() -> dict[str, str]:
            """Open the engine's files anew, in every process; requests in progress keep the old engine."""
            await asyncio.shield(asyncio.ensure_future(reload_all(service)))  # also if the caller does not wait
            return {"engine": "opened anew"}

    _refuse_in_words(app)
    return Guard(app, service)


def _refuse_in_words(app: FastAPI) -> None:
    """Answer errors with {"error": TEXT, "request": ID}."""

    def answer(request: Request, refusal: Refusal) -> JSONResponse:
        request.state.refused = refusal.reason
        content = {"error": str(refusal), "request": request.state.request_id}
        return JSONResponse(content, refusal.status, refusal.headers)

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> JSONResponse:
        return answer(request, error)

    @app.exception_handler(RetinaFaceError)
    @app.exception_handler(asyncio.TimeoutError)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        refusal = refusal_of(error)
        if refusal.status == 500:
            log.error("request %s failed: %s", request.state.request_id, error)
        return answer(request, refusal)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=GONE)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return answer(request, refusal_of(error))  # raised further, to the guard, which logs it

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:]))
        return answer(request, Refusal(400, "invalid", f"{where}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def not_there(request: Request, error: HTTPException) -> JSONResponse:
        return answer(request, Refusal(error.status_code, "route", str(error.detail)))
