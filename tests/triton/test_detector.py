"""The model `retinaface` in Triton's Python backend answers as detect() does, whoever asks and however."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from engine import TRTRetinaFace
from engine.images import decode_image
from engine.sidecar import EngineFiles
from engine.triton.repository import write_repository
from tests.triton.server import Triton, assert_equal, picture_files, pixels, triton

pytestmark = pytest.mark.triton

PROTOCOLS = pytest.mark.parametrize("protocol", [tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])


@PROTOCOLS
def test_files_and_arrays_of_all_sizes_have_the_faces_that_detect_finds(
    server: Triton, alone: TRTRetinaFace, pictures: list[bytes], protocol: ModuleType
) -> None:
    with server.client(protocol) as client:
        assert_equal(client.infer("retinaface", [picture_files(pictures[:4], protocol)]), alone.detect(pictures[:4]))
        for picture in pictures:
            image = decode_image(picture, "picture")
            assert_equal(client.infer("retinaface", [pixels(image[None], protocol)]), [alone.detect(image)])


@PROTOCOLS
def test_options_are_parameters_of_a_request(
    server: Triton, alone: TRTRetinaFace, pictures: list[bytes], protocol: ModuleType
) -> None:
    cases: list[dict[str, Any]] = [
        {"score_threshold": 0.05},
        {"score_threshold": 0.03, "max_faces": 2},
        {"min_size": 90.5},
    ]
    with server.client(protocol) as client:
        for options in cases:
            answer = client.infer("retinaface", [picture_files([pictures[0]], protocol)], parameters=options)
            assert_equal(answer, [alone.detect(pictures[0], **options)])


def test_16_callers_share_batches_and_each_gets_its_own_faces(
    server: Triton, alone: TRTRetinaFace, pictures: list[bytes]
) -> None:
    options: list[dict[str, Any]] = [{}, {"score_threshold": 0.05}, {"max_faces": 1}]
    expected = {
        (i, j): alone.detect(picture, **options[j]) for i, picture in enumerate(pictures) for j in range(len(options))
    }

    def call(caller: int) -> None:
        with server.client() as client:
            for turn in range(6):
                i, j = (caller + turn) % len(pictures), (caller + turn) % len(options)
                given = picture_files([pictures[i]]) if turn % 2 else pixels(decode_image(pictures[i], "p")[None])
                assert_equal(client.infer("retinaface", [given], parameters=options[j]), [expected[i, j]])

    before = _counts(server)
    with ThreadPoolExecutor(16) as callers:
        assert len([*callers.map(call, range(16))]) == 16
    requests, runs = (after - first for after, first in zip(_counts(server), before, strict=True))
    assert requests == 96
    assert runs <= 96 / 2  # of batches of up to 4


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        (b"no picture", {}, "picture 0, the content of a file, is not a picture"),
        (b"BM" + bytes(16) + b"\xff\xff\x00\x00\xff\xff\x00\x00" + bytes(30), {}, "picture 0"),
        (None, {"score_threshold": 7}, "score_threshold is 7, expected"),
        (None, {"max_faces": -1}, "max_faces is -1"),
        (None, {"min_size": "big"}, "min_size"),
    ],
)
def test_a_bad_request_fails_alone(
    server: Triton, alone: TRTRetinaFace, pictures: list[bytes], file: bytes | None, options: Any, words: str
) -> None:
    good = alone.detect(pictures[0])
    bad = picture_files([file or pictures[0]])

    def call(caller: int) -> None:
        with server.client() as client:
            if caller % 2:
                assert_equal(client.infer("retinaface", [picture_files([pictures[0]])]), [good])
                return
            with pytest.raises(InferenceServerException, match=re.escape(words)) as failure:
                client.infer("retinaface", [bad], parameters=options)
        assert failure.value.status() == "400"
        assert "Traceback" not in str(failure.value)
        assert ".py" not in str(failure.value)

    with ThreadPoolExecutor(8) as callers:
        assert len([*callers.map(call, range(8))]) == 8


def test_a_request_needs_one_of_the_two_inputs(server: Triton, pictures: list[bytes]) -> None:
    image = decode_image(pictures[0], "picture")
    with server.client() as client, pytest.raises(InferenceServerException, match="expected one: encoded or image"):
        client.infer("retinaface", [picture_files([pictures[0]]), pixels(image[None])])


def test_metrics_count_what_was_answered(server: Triton, pictures: list[bytes]) -> None:
    before = _counts(server)
    with server.client() as client:
        client.infer("retinaface", [picture_files(pictures[:3])])
    requests, runs = _counts(server)
    assert (requests - before[0], runs - before[1]) == (1, 1)
    assert re.search(r'nv_inference_count\{model="retinaface",version="1"\} [1-9]', server.metrics())


@PROTOCOLS
def test_sigterm_loses_no_accepted_request(
    files: EngineFiles, alone: TRTRetinaFace, pictures: list[bytes], tmp_path: Path, protocol: ModuleType
) -> None:
    write_repository(files, tmp_path / "repository")
    expected = [alone.detect(pictures[0])]
    with triton(tmp_path / "repository") as server, ThreadPoolExecutor(16) as threads:
        server.wait_until_ready()

        def call(_: int) -> str:
            while True:
                # Triton goes on answering an HTTP connection that stays open, until its time to exit is over.
                with server.client(protocol) as client:
                    try:
                        answer = client.infer("retinaface", [picture_files([pictures[0]], protocol)])
                    except Exception as error:  # of the clients' libraries: it is looked at below
                        return str(error)
                assert_equal(answer, expected)

        calls = [threads.submit(call, caller) for caller in range(16)]
        time.sleep(2)
        assert _counts(server)[0] > 0
        assert server.stop() == 0
        errors = [call.result() for call in calls]
    # Not accepted: nobody listens, the server says so, the model is unloaded already, or the server never took the
    # connection, which the kernel then resets.
    refused = "refused|failed to connect|Server is stopping|has no available versions|^connection closed.$"
    assert not [text for text in errors if not re.search(refused, text, re.I)]
    # Accepted: all of them were answered before the models were unloaded.
    assert "Found 0 model versions that have in-flight inferences" in server.log
    assert "Exiting immediately" not in server.log


def _counts(server: Triton) -> tuple[int, int]:
    """Return how many requests succeeded so far, and in how many runs of the model."""
    text = server.metrics()
    names = ("nv_inference_request_success", "nv_inference_exec_count")
    found = [re.search(rf'{name}{{model="retinaface",version="1"}} (\d+)', text) for name in names]
    values = [int(match.group(1)) for match in found if match]
    return values[0], values[1]
