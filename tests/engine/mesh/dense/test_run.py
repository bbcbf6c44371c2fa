"""The dense branch on the CPU against PyTorch's; its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import InvalidArgumentError
from engine.mesh.arrays import write_arrays
from engine.mesh.dense.decoder import MeshDecoder
from engine.mesh.dense.faces import DenseFaces
from engine.mesh.dense.output import MeshOutput
from engine.mesh.dense.run import BestMeshes, DenseDecoder
from engine.mesh.dense.weights import DecoderWeights, load_weights, weights_of
from engine.mesh.levels import make_levels
from engine.types import RawDetections
from engine.untrusted.limits import MAX_DECODER_BYTES
from tests.engine.mesh.meshes import icosphere, mask

LEVELS = make_levels(mask(8, 7), [18, 6])


def decoder(channels: tuple[int, ...], order: int) -> MeshDecoder:
    torch.manual_seed(2)
    made = MeshDecoder(LEVELS, channels, order)
    torch.nn.init.normal_(made.last.weight, std=0.1)
    return made.eval()


@pytest.mark.parametrize(("channels", "order"), [((4, 5, 6), 3), ((8, 7, 6), 1), ((3, 9, 4), 5)])
def test_numpy_gives_what_pytorch_gives(
    channels: tuple[int, ...], order: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    pytorch = decoder(channels, order)
    pytorch.weights().save(tmp_path / "dense.npz")
    numpy = DenseDecoder.load(tmp_path / "dense.npz")
    faces = DenseFaces(LEVELS, MeshDecoder.of(load_weights(tmp_path / "dense.npz")))
    for number in (0, 1, 4):
        values = rng.normal(0, 0.6, (number, 144)).astype(np.float32)
        corners = rng.uniform(-20, 50, (number, 2, 2)).astype(np.float32)
        boxes = np.concatenate([corners[:, 0], corners[:, 0] + np.abs(corners[:, 1]) + 5], axis=1)
        meshes = numpy.decode(values, boxes)
        with torch.no_grad():
            expected = faces(torch.from_numpy(values), torch.from_numpy(boxes))
        assert meshes.vertices.dtype == meshes.colours.dtype == np.float32
        assert meshes.vertices.shape == meshes.colours.shape == (number, 56, 3)
        # Pixels up to about 200, in float32.
        assert np.allclose(meshes.vertices, expected[0].numpy(), atol=1e-3, rtol=1e-5)
        assert np.allclose(meshes.colours, expected[1].numpy(), atol=1e-5)
    assert np.array_equal(numpy.triangles, LEVELS.topology.triangles)


def test_many_faces_are_decoded_in_parts(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = decoder((4, 5, 6), 2).weights()
    values = rng.normal(0, 0.6, (7, 144)).astype(np.float32)
    boxes = np.tile(np.array([3, 4, 40, 50], np.float32), (7, 1))
    whole = DenseDecoder(weights).decode(values, boxes)
    monkeypatch.setattr("engine.mesh.dense.run._VALUES_AT_ONCE", 2 * 2 * 56 * 6)  # of two faces
    for one, other in zip(whole, DenseDecoder(weights).decode(values, boxes), strict=True):
        assert np.allclose(one, other, atol=1e-4)  # sums of matrix products in another order


def test_a_mesh_of_one_level_runs() -> None:
    weights = MeshDecoder(make_levels(icosphere(0))).weights()
    meshes = DenseDecoder(weights).decode(np.zeros((2, 144), np.float32), np.array([[0, 0, 50, 50]] * 2, np.float32))
    assert meshes.vertices.shape == (2, 12, 3)
    assert -5 < meshes.vertices[..., :2].min() < 5  # what is nearer than the centre is drawn larger than the box
    assert 45 < meshes.vertices[..., :2].max() < 55


@pytest.mark.parametrize(
    ("values", "boxes", "message"),
    [
        ((2, 143), (2, 4), r"values \(2, 143\) and boxes \(2, 4\) were given, expected \[M, 144\]"),
        ((2, 144), (1, 4), r"boxes \(1, 4\)"),
        ((144,), (1, 4), r"values \(144,\)"),
    ],
)
def test_other_shapes_are_refused(values: tuple[int, ...], boxes: tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        DenseDecoder(decoder((2, 2, 2), 2).weights()).decode(np.zeros(values, np.float32), np.zeros(boxes, np.float32))


def test_values_that_are_not_finite_are_refused() -> None:
    run = DenseDecoder(decoder((2, 2, 2), 2).weights())
    for bad in (np.nan, np.inf):
        values, boxes = np.zeros((1, 144), np.float32), np.zeros((1, 4), np.float32)
        values[0, 140] = bad
        with pytest.raises(InvalidArgumentError, match="is not finite"):
            run.decode(values, boxes)
        with pytest.raises(InvalidArgumentError, match="is not finite"):
            run.decode(np.zeros_like(values), np.full_like(boxes, bad))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("last.bias", None, "it has no 'last.bias'"),
        ("kept_1", None, "it has no 'kept_1'"),
        (
            "start.weight",
            np.zeros((18, 127), np.float32),
            r"start\.weight has the shape \(18, 127\).*expected \(18, 128\)",
        ),
        ("stages.0.weight", np.zeros((2, 3), np.float32), "expected \\[K, C, C'\\]"),
        ("stages.1.weight", np.zeros((2, 5, 3), np.float32), r"stages\.0\.weight has the shape"),
        ("last.weight", np.zeros((2, 0, 6), np.float32), "expected \\[K, C, C'\\]"),
        ("last.weight", np.zeros((17, 3, 6), np.float32), "K of 1 to 16"),
        ("last.weight", np.zeros((3, 3, 6), np.float32), r"last\.weight has the shape \(3, 3, 6\)"),
        ("last.bias", np.full(6, np.nan, np.float32), r"last\.bias has .* values that are not finite"),
        ("last.bias", np.zeros(6), "is of float64, expected float32"),
    ],
)
def test_files_of_other_weights_are_refused(tmp_path: Path, name: str, value: Any, message: str) -> None:
    arrays = {**LEVELS.arrays(), **decoder((3, 3, 3), 2).weights().tensors}
    del arrays[name]
    path = tmp_path / "dense.npz"
    write_arrays(path, arrays if value is None else {**arrays, name: value})
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        DenseDecoder.load(path)
    assert f"{path} does not hold the weights of a dense branch" in str(refused.value)


def test_decoders_that_take_too_much_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bases have 56 x 56, 56 x 18 and 18 x 6 values, twice; the last layer computes 2 x 56 x 6 values."""
    content = {**LEVELS.arrays(), **decoder((3, 3, 3), 2).weights().tensors}
    write_arrays(tmp_path / "dense.npz", content)
    for name, least in (
        ("MAX_DECODER_MEMORY_BYTES", 4 * 2 * (56 * 56 + 56 * 18 + 18 * 6)),
        ("MAX_DECODER_VALUES", 672),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"engine.mesh.dense.weights.{name}", least)
            load_weights(tmp_path / "dense.npz")
            patch.setattr(f"engine.mesh.dense.weights.{name}", least - 1)
            with pytest.raises(
                InvalidArgumentError, match=r"polynomials take 34,016 bytes|computes 672 values for a face"
            ):
                load_weights(tmp_path / "dense.npz")
    write_arrays(tmp_path / "large.npz", {**content, "more": np.zeros(MAX_DECODER_BYTES, np.uint8)})
    with pytest.raises(InvalidArgumentError, match=r"unpacks to 16,[0-9,]* bytes, expected at most 16,777,216"):
        weights_of((tmp_path / "large.npz").read_bytes())


def test_weights_know_their_channels() -> None:
    weights = decoder((4, 5, 6), 3).weights()
    assert isinstance(weights, DecoderWeights)
    assert (weights.channels(), weights.order) == ([4, 5, 6], 3)


def test_the_first_faces_of_each_image_are_decoded(rng: np.random.Generator) -> None:
    """Images of no, of some and of more faces than meshes."""
    numpy = DenseDecoder(decoder((4, 5, 6), 2).weights())
    counts = np.array([0, 2, 5], np.int32)
    values = rng.normal(0, 0.6, (3, 6, 144)).astype(np.float32)
    values[2, 4] = values[1, 2] = np.nan  # neither is decoded
    boxes = np.tile(np.array([3, 4, 40, 50], np.float32), (3, 6, 1))
    raw = RawDetections(counts, boxes, np.zeros((3, 6), np.float32), values={"age": values[..., :1], "dense": values})
    plain, coloured = (
        BestMeshes(numpy, MeshOutput("a", "0" * 64, 56, 3, colours)).add_to(raw) for colours in (False, True)
    )
    assert plain.colours is None
    assert plain.vertices is not None
    assert np.array_equal(plain.vertices, np.asarray(coloured.vertices))
    for name in ("vertices", "colours"):
        given = getattr(coloured, name)
        assert given.dtype == np.float32
        assert given.shape == (3, 3, 56, 3)
        assert not given[0].any()
        assert not given[1, 2].any()
        for image, face in ((1, 0), (1, 1), (2, 0), (2, 1), (2, 2)):
            alone = getattr(numpy.decode(values[image, face][None], boxes[image, face][None]), name)[0]
            # Sums of matrix products in another order.
            assert np.allclose(given[image, face], alone, atol=1e-4)
