"""MXNet's parameter files: read, refused, and mnet.25 as insightface's code computes it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config.presets import preset
from engine.errors import InvalidArgumentError, WeightsError
from engine.model.weights.load import load_model
from engine.model.weights.mxnet.arrays import read_arrays
from tests.support.oracles.anchor_decode import anchor_decode
from tests.support.oracles.mnet25 import decode, forward
from tests.support.oracles.mxnet import V1, V2, V3, Arrays, mnet25, params_file

CONFIG = preset("insightface-mobilenet0.25")


def written(folder: Path, arrays: Arrays) -> str:
    """Write a parameter file."""
    path = folder / "mnet.25-0000.params"
    path.write_bytes(params_file(arrays))
    return str(path)


@pytest.mark.parametrize("version", [0, V1, V2, V3])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int32", "int8", "int64"])
def test_every_form_and_type_is_read(version: int, dtype: str) -> None:
    random = np.random.default_rng(1)
    arrays = {f"arg:{n}": (random.normal(size=(n, 2)) * 50).astype(dtype) for n in (1, 3)} | {
        "aux:é": np.arange(5).astype(dtype)
    }
    found = read_arrays(params_file(arrays, version))
    assert list(found) == ["1", "3", "é"]
    for given, array in zip(arrays.values(), found.values(), strict=True):
        np.testing.assert_array_equal(array, given, strict=True)


def test_the_faces_are_those_of_insightface_s_code(tmp_path: Path) -> None:
    """Class layout, biases, epsilons, pixel conventions and the order of anchors: all anchors of a picture.

    Its boxes end at the last pixel inside, ours behind it; its points are pixels, ours lie in their middle.
    """
    arrays = mnet25()
    model, origin = load_model(CONFIG, written(tmp_path, arrays))
    assert origin.known_as is None
    image = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (1, 3, 64, 96)).astype(np.float32))
    scores, boxes, points = decode(forward(arrays, image))
    with torch.no_grad():
        heads = [head.numpy() for head in model.double()(image.double())]
    assert CONFIG.mean == (0, 0, 0)
    assert CONFIG.std == (1, 1, 1)
    (ours,) = anchor_decode(
        CONFIG.decoder_heads(heads), [8, 16, 32], [v.anchor_sizes for v in CONFIG.levels], CONFIG.variances, 0.0, 9999
    )
    order = np.array(ours.anchors)
    assert len(order) == len(scores) == 2 * (8 * 12 + 4 * 6 + 2 * 3)
    assert np.ptp(scores) > 0.05
    # The tensors are float32: 1e-7 of activations of order 10, and boxes of 512 pixels.
    np.testing.assert_allclose(ours.scores, scores[order], atol=1e-5)
    np.testing.assert_allclose(ours.boxes, boxes[order] + [0, 0, 1, 1], atol=1e-2)
    assert ours.payload is not None
    np.testing.assert_allclose(ours.payload.reshape(-1, 5, 2), points[order] + 0.5, atol=1e-2)


def test_upsampling_that_repeats_is_left_out_and_another_is_refused(tmp_path: Path) -> None:
    name = "arg:rf_c3_upsampling_weight"
    ones = np.ones((64, 1, 2, 2), np.float32)
    load_model(CONFIG, written(tmp_path, {**mnet25(), name: ones}))
    with pytest.raises(WeightsError, match="rf_c3_upsampling_weight does not repeat each value"):
        load_model(CONFIG, written(tmp_path, {**mnet25(), name: ones * np.float32(0.5)}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mobilenet0.25",
            r"whose slopes is .0.0, 0.0., but .* has .0.1, 0.1.. Use --config insightface-mobilenet0.25",
        ),
        (
            "mobilenet0.25-relu",
            r"whose variances is .1.0, 1.0., but .* has .0.1, 0.2.",
        ),
        ("resnet50", "whose backbone is mobilenet0.25"),
    ],
)
def test_other_configs_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_model(preset(name), written(tmp_path, mnet25()))


def test_settings_of_one_s_own_training_are_taken(tmp_path: Path) -> None:
    own = replace(CONFIG, name="own", mean=(127.5, 127.5, 127.5), std=(128.0, 128.0, 128.0))
    assert load_model(own, written(tmp_path, mnet25()))[0].config == own


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"arg:bn_data_gamma": np.ones(3, np.float32)}, "a ResNet that normalises before it convolves"),
        (lambda a: {"arg:fc1_weight": np.ones(3, np.float32)}, r"another network than mnet.25 \(fc1_weight ...\)"),
        (lambda a: a | {"arg:rf_c4_lateral_weight": np.ones(3, np.float32)}, "unexpected.*rf_c4_lateral_weight"),
        (lambda a: {k: v for k, v in a.items() if "stride16" not in k}, "does not have .'ClassHead.1.conv1x1.weight'"),
        (lambda a: a | {"arg:rf_c1_aggr_bias": np.ones(3, np.float32)}, "arrays of shapes or names that mnet.25 does"),
        (lambda a: a | {"arg:mobilenet0_conv0_weight": np.ones((8, 3, 1, 1), np.float32)}, "has shape .8, 3, 1, 1."),
        (lambda a: a | {"arg:mobilenet0_conv0_weight": np.full((8, 3, 3, 3), np.nan, np.float32)}, "NaN or infinity"),
        (lambda a: a | {"arg:mobilenet0_conv0_weight": np.ones((8, 3, 3, 3), np.int8)}, "holds int8"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, change: Callable[[Arrays], Arrays], message: str) -> None:
    with pytest.raises(WeightsError, match=message) as refusal:
        load_model(CONFIG, written(tmp_path, change(mnet25())))
    assert "mnet.25-0000.params" in str(refusal.value)


ONE = {"arg:a": np.zeros((2, 3), np.float32)}
COUNT, VERSION, STORAGE, AXES, LENGTH, TYPE = 16, 24, 28, 32, 36, 60  # where they lie in a file of one array


def at(place: int, form: str, value: int) -> bytes:
    """Change an integer of the file of one array."""
    content = bytearray(params_file(ONE))
    struct.pack_into(form, content, place, value)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends within an array or a name: it lacks 8 bytes"),
        (bytes(100), "does not begin like an MXNet parameter file"),
        (params_file(ONE)[:-1], "it lacks 1 bytes"),
        (params_file(ONE) + b"\0", "has 1 bytes behind its last name"),
        (at(COUNT, "<Q", 2**63), "says that it has 9223372036854775808 arrays, expected at most 10,000"),
        (at(COUNT, "<Q", 2), "array of type 979858017"),
        (at(VERSION, "<I", 0xF993FACB), "version 0xf993facb, which is unknown"),
        (at(STORAGE, "<i", 1), "a sparse array"),
        (at(STORAGE, "<i", -1), "-1 kinds of storage"),
        (at(AXES, "<I", 9), "9 axes, expected at most 8"),
        (at(AXES, "<I", 0), "without a shape"),
        (at(LENGTH, "<q", -1), "-1 values along an axis"),
        (at(LENGTH, "<q", 2**40), "it lacks 13,194,139,533,"),
        (at(TYPE, "<i", 7), "an array of type 7"),
        (params_file({"arg:a": ONE["arg:a"], "aux:a": ONE["arg:a"]}), "two arrays of one name"),
        (params_file(ONE).replace(b"arg:a", b"arg:\xff"), "not UTF-8"),
    ],
)
def test_damaged_files_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        read_arrays(content)


def test_a_file_cut_off_anywhere_is_refused() -> None:
    content = params_file(ONE)
    for end in range(len(content)):
        with pytest.raises(InvalidArgumentError):
            read_arrays(content[:end])
