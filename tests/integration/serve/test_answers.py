"""What a service answers is what the detector finds, whoever asks and however."""

from __future__ import annotations

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from engine import TRTRetinaFace, align
from engine.images import decode_image
from tests.integration.serve.service import Served


def test_answers_to_16_callers_equal_direct_calls(
    client: httpx.Client, alone: TRTRetinaFace, pictures: list[bytes]
) -> None:
    expected = [alone.detect(picture).to_json() for picture in pictures]
    assert len({len(values["faces"]) for values in expected}) > 1

    def call(caller: int) -> int:
        order = [(caller + i) % len(pictures) for i in range(6)]
        return sum(client.post("/detect", content=pictures[i]).json() == expected[i] for i in order)

    with ThreadPoolExecutor(16) as callers:
        assert sum(callers.map(call, range(16))) == 96


def test_options_are_those_of_detect(client: httpx.Client, alone: TRTRetinaFace, pictures: list[bytes]) -> None:
    options: dict[str, Any] = {"score_threshold": 0.1, "max_faces": 2, "min_size": 8}
    answer = client.post("/detect", params=options, content=pictures[0])
    assert answer.json() == alone.detect(pictures[0], **options).to_json()
    assert re.search(r'decode;dur=.*, network;dur=[0-9.]+, .*batch;desc="1"', answer.headers["server-timing"])


def test_the_files_of_a_form_fail_alone(client: httpx.Client, alone: TRTRetinaFace, pictures: list[bytes]) -> None:
    files = [("a", ("one.png", pictures[0])), ("b", ("no.png", b"no picture")), ("a", ("two.png", pictures[2]))]
    images = client.post("/detect", files=files).json()["images"]
    assert [entry.pop("name") for entry in images] == ["one.png", "no.png", "two.png"]
    assert images[0] == alone.detect(pictures[0]).to_json()
    assert images[2] == alone.detect(pictures[2]).to_json()
    assert list(images[1]) == ["error"]
    assert "not a picture" in images[1]["error"]


@pytest.mark.parametrize("kind", ["box", "aligned"])
def test_crops_are_those_of_the_faces(
    kind: str, client: httpx.Client, alone: TRTRetinaFace, pictures: list[bytes]
) -> None:
    faces = alone.detect(pictures[0])
    image = decode_image(pictures[0])
    expected = list(align(image, faces)) if kind == "aligned" else faces.crops(image)
    found = client.post("/detect", params={"crops": kind}, content=pictures[0]).json()["faces"]
    assert len(found) == len(expected) > 0
    for face, crop in zip(found, expected, strict=True):
        np.testing.assert_array_equal(decode_image(base64.b64decode(face["crop"])), crop)


def test_tritonclient_gets_the_same_faces(served: Served, alone: TRTRetinaFace, pictures: list[bytes]) -> None:
    client = triton.InferenceServerClient(served.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("retinaface")
    assert client.is_model_ready("retinaface", "1")
    metadata = client.get_model_metadata("retinaface")
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["encoded", "image"]
    chosen = [pictures[0], pictures[-1], pictures[2]]
    encoded = triton.InferInput("encoded", [3], "BYTES")
    encoded.set_data_from_numpy(np.array(chosen, np.object_))
    answer = client.infer("retinaface", [encoded], request_id="7", parameters={"max_faces": 3})
    assert answer.get_response()["id"] == "7"
    assert answer.get_response()["model_version"] == "1"
    _check(answer, [alone.detect(picture, max_faces=3) for picture in chosen])


def test_tritonclient_may_send_arrays_and_ask_for_json(
    served: Served, alone: TRTRetinaFace, pictures: list[bytes]
) -> None:
    client = triton.InferenceServerClient(served.url.removeprefix("http://"))
    image = decode_image(pictures[3])
    for binary in (True, False):
        given = triton.InferInput("image", [1, *image.shape], "UINT8")
        given.set_data_from_numpy(image[None], binary_data=binary)
        wanted = [triton.InferRequestedOutput(name, binary_data=not binary) for name in ("scores", "boxes")]
        answer = client.infer("retinaface", [given], outputs=wanted)
        expected = alone.detect(image)
        np.testing.assert_array_equal(answer.as_numpy("boxes")[0], expected.boxes)
        np.testing.assert_array_equal(answer.as_numpy("scores")[0], expected.scores)
        assert answer.as_numpy("landmarks") is None


def test_a_failing_picture_fails_its_inference(served: Served, pictures: list[bytes]) -> None:
    client = triton.InferenceServerClient(served.url.removeprefix("http://"))
    encoded = triton.InferInput("encoded", [2], "BYTES")
    encoded.set_data_from_numpy(np.array([pictures[0], b"no picture"], np.object_))
    with pytest.raises(triton.InferenceServerException, match=r"picture 1, .*not a picture"):
        client.infer("retinaface", [encoded])


def test_metrics_count_what_was_done(served: Served, client: httpx.Client, pictures: list[bytes]) -> None:
    before = _numbers(client)
    client.post("/detect", content=pictures[0])
    client.post("/detect", content=b"no picture")

    def added(name: str) -> float:
        return _numbers(client).get(name, 0) - before.get(name, 0)

    # A request is counted when it has been answered.
    served.wait_for(lambda: added('retinaface_requests_total{route="/detect",status="400"}') == 1)
    assert added('retinaface_requests_total{route="/detect",status="200"}') == 1
    assert added('retinaface_rejected_total{reason="invalid"}') == 1
    assert added("retinaface_images_total") == 1
    assert added("retinaface_faces_total") >= 1
    assert added('retinaface_stage_seconds_count{stage="network"}') == 1
    assert added("retinaface_batch_size_sum") == 1
    assert _numbers(client)["retinaface_images_in_progress"] == 0


def test_the_schema_names_the_routes(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/detect", "/metrics", "/v2/health/ready", "/v2/models/retinaface/infer"} <= paths.keys()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', client.get("/docs").text)
    assert loaded
    assert [path for path in loaded if client.get(path).status_code != 200] == []


def _check(answer: Any, expected: list[Any]) -> None:
    counts = answer.as_numpy("num_faces")
    assert counts.tolist() == list(map(len, expected))
    for name, of in (("boxes", "boxes"), ("scores", "scores"), ("landmarks", "landmarks")):
        values = answer.as_numpy(name)
        assert values.shape[:2] == (len(expected), max(counts))
        for index, faces in enumerate(expected):
            np.testing.assert_array_equal(values[index, : len(faces)], getattr(faces, of))
            assert not values[index, len(faces) :].any()


def _numbers(client: httpx.Client) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
