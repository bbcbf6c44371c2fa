"""The models around a plan: what Triton says of their configs, and what they find."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tritonclient.utils import InferenceServerException

from engine import TRTRetinaFace
from engine.images import decode_image
from engine.sidecar import EngineFiles
from tests.triton.server import Triton, assert_equal, picture_files, pixels, triton

pytestmark = pytest.mark.triton

# Runs the engine's network on the CPU, in the place of the plan.
_STAND_IN = """\
from pathlib import Path
from dataclasses import asdict
import triton_python_backend_utils as backend
from engine.runtime.device import open_session
from engine.sidecar import read_engine

class TritonPythonModel:
    def initialize(self, arguments):
        engine = Path(arguments["model_repository"]).with_name("retinaface") / "1" / "retinaface.engine"
        self._session, _ = open_session(read_engine(engine), "cpu")

    def execute(self, requests):
        return [self._answer(*request.inputs()) for request in requests]

    def _answer(self, images):
        raw = asdict(self._session.run(images.as_numpy()))
        return backend.InferenceResponse([backend.Tensor(name, values) for name, values in raw.items()])
"""


@pytest.fixture(scope="module")
def validation(with_plan: Path) -> str:
    """What the server says when it is to load the plan as it was written."""
    with triton(with_plan, "--disable-auto-complete-config", "--load-model=retinaface_ensemble") as server:
        assert server.process.wait(60) == 1
        return server.log


@pytest.fixture(scope="module")
def server(validation: str, with_plan: Path) -> Iterator[Triton]:
    """A server of the ensemble with a stand-in for the plan, which has the plan's tensors."""
    config = with_plan / "retinaface_plan" / "config.pbtxt"
    text = config.read_text().replace('platform: "tensorrt_plan"', 'backend: "python"').replace("KIND_GPU", "KIND_CPU")
    config.write_text(re.sub(r"  profile: .*\n", "", text))
    (with_plan / "retinaface_plan" / "1" / "model.py").write_text(_STAND_IN)
    with triton(with_plan, "--disable-auto-complete-config", "--load-model=retinaface_ensemble") as server:
        server.wait_until_ready()
        yield server


def test_nothing_but_the_backend_is_missing_for_the_plan(validation: str) -> None:
    errors = re.findall(r"failed to load '(\w+)' version 1: (.*?)\"", validation)
    assert errors == [
        ("retinaface_plan", "Invalid argument: unable to find backend library for backend 'tensorrt', try specifying "
         "runtime on the model configuration.")
    ]  # fmt: skip
    for name in ("retinaface", "retinaface_letterbox", "retinaface_undo"):
        assert re.search(rf"\| {name} +\| 1 +\| READY", validation)


def test_without_the_backend_the_other_model_is_served(with_plan: Path, validation: str) -> None:
    assert "only retinaface is served" in validation
    with triton(with_plan) as server:
        server.wait_until_ready()
        with server.client() as client:
            assert client.is_model_ready("retinaface")
            assert not client.is_model_ready("retinaface_plan")


def test_the_ensemble_finds_what_detect_finds(server: Triton, alone: TRTRetinaFace, pictures: list[bytes]) -> None:
    options: dict[str, Any] = {"score_threshold": 0.05, "max_faces": 3, "min_size": 20}
    with server.client() as client:
        assert_equal(client.infer("retinaface_ensemble", [picture_files(pictures[:4])]), alone.detect(pictures[:4]))
        for picture in pictures:
            image = decode_image(picture, "picture")
            assert_equal(client.infer("retinaface_ensemble", [pixels(image[None])]), [alone.detect(image)])
        answer = client.infer("retinaface_ensemble", [picture_files([pictures[0]])], parameters=options)
        assert_equal(answer, [alone.detect(pictures[0], **options)])


@pytest.mark.parametrize(("file", "options"), [(b"no picture", {}), (None, {"score_threshold": 0.0001})])
def test_the_ensemble_refuses_as_the_detector_does(
    server: Triton, pictures: list[bytes], file: bytes | None, options: dict[str, float]
) -> None:
    words = []
    for model in ("retinaface", "retinaface_ensemble"):
        with server.client() as client, pytest.raises(InferenceServerException) as failure:
            client.infer(model, [picture_files([file or pictures[0]])], parameters=options)
        words.append(re.sub(r"^.*?(picture|score)", r"\1", failure.value.message()))
    assert words[0] == words[1]


def test_both_models_have_the_same_tensors(server: Triton, files: EngineFiles) -> None:
    with server.client() as client:
        models = [client.get_model_metadata(name) for name in ("retinaface", "retinaface_ensemble")]
    for kind in ("inputs", "outputs"):
        assert models[0][kind] == models[1][kind]
