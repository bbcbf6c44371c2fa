"""The deployment of Ray Serve, over HTTP and by its handle."""

from __future__ import annotations

import json
import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from ray import serve

from engine import TRTRetinaFace
from engine.errors import InvalidArgumentError
from engine.rows import Detection
from engine.scale import Workers, face_service

pytestmark = pytest.mark.ray
# A picture's header.
LARGE = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", 50_000_001, 1, 8, 0, 0, 0, 0, 0)
Post = Callable[[bytes, str], tuple[int, Any]]


@pytest.fixture(scope="module")
def port() -> int:
    """A free one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def handle(cluster: None, detection: Detection, port: int) -> Iterator[Any]:
    """A running deployment with two replicas."""
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    yield serve.run(face_service(detection, Workers(2, cpus=0.5)), route_prefix="/detect")
    serve.shutdown()


@pytest.fixture(scope="module")
def own_handle(handle: Any, own: Detection) -> Any:
    """Another application, of a model with other heads and meshes."""
    service = face_service(replace(own, meshes=False), Workers(1, cpus=0.5))
    return serve.run(service, name="own", route_prefix="/own")


@pytest.fixture
def post(handle: Any, port: int) -> Post:
    """Send a body, and return the status and the answer."""

    def send(body: bytes, path: str) -> tuple[int, Any]:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return send


def test_answers_under_load_are_those_of_detect(
    handle: Any, post: Post, alone: TRTRetinaFace, pictures: dict[str, bytes]
) -> None:
    good = [content for name, content in pictures.items() if name != "broken.jpg"]
    wanted = [alone.detect(content) for content in good]
    responses = [handle.detect.remote(content) for content in good * 3]
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda content: post(content, "/detect"), good * 3))
    assert [response.result() for response in responses] == wanted * 3
    assert answers == [(200, faces.to_json()) for faces in wanted] * 3


def test_options(handle: Any, post: Post, alone: TRTRetinaFace, pictures: dict[str, bytes]) -> None:
    picture = next(content for content in pictures.values() if content[:2] == b"\xff\xd8" and len(content) > 999)
    wanted = alone.detect(picture, score_threshold=0.05, max_faces=2, min_size=5)
    assert post(picture, "/detect?score_threshold=0.05&max_faces=2&min_size=5") == (200, wanted.to_json())
    assert handle.detect.remote(picture, 0.05, 5, 2).result() == wanted


def test_other_heads_and_meshes(
    own_handle: Any, post: Post, own_alone: TRTRetinaFace, pictures: dict[str, bytes]
) -> None:
    """What POST /detect of the service answers is to_json() of what detect() finds."""
    good = [content for name, content in pictures.items() if name != "broken.jpg"]
    found = [own_alone.detect(content) for content in good]
    assert {min(len(faces), 4) for faces in found} >= {0, 4}  # with 3 meshes at most
    for meshes, path in ((False, "/own"), (False, "/own?meshes=false"), (True, "/own?meshes=true")):
        wanted = [(200, faces.to_json(meshes=meshes)) for faces in found]
        assert [post(content, path) for content in good] == wanted
    assert [own_handle.detect.remote(content).result() for content in good] == found


@pytest.mark.parametrize(
    ("body", "query", "words"),
    [
        (b"no picture", "", "is not a picture"),
        (LARGE, "", "the picture claims 50,000,001 pixels, expected at most 50,000,000"),
        (b"", "", "the body is empty"),
        (None, "?score_threshold=7", "score_threshold is 7.0, expected"),
        (None, "?meshes=7", "meshes is '7', expected true or false"),
        (None, "?crops=box", "there is no option 'crops'"),
    ],
)
def test_a_bad_request_is_refused_in_words(
    body: bytes | None, query: str, words: str, post: Post, pictures: dict[str, bytes]
) -> None:
    status, answer = post(next(reversed(pictures.values())) if body is None else body, f"/detect{query}")
    assert status == 400
    assert words in answer["error"]


def test_another_deployment_gets_the_engines_error(handle: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="is not a picture"):
        handle.detect.remote(b"no picture").result()
