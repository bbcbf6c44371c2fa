"""Checkpoints of both forms of PyTorch hold what PyTorch's own reader finds in them."""

from __future__ import annotations

import argparse
import io
import pickle
import struct
import time
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidArgumentError
from engine.model.weights.checkpoint import read_checkpoint
from engine.model.weights.stored import StoredTensor
from engine.untrusted.pickle_reader import Foreign
from tests.support.memory import at_most_more

DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.uint8, torch.int16, torch.int32,
    torch.int64, torch.bool, torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16,
]  # fmt: skip
UNTYPED = {torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16}
VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "itself": lambda t: t,
    "transposed": lambda t: t.permute(tuple(reversed(range(t.ndim)))),
    "without its first": lambda t: t[1:] if t.ndim else t,
    "every second": lambda t: t[..., ::2] if t.ndim else t,
    "one of it": lambda t: t.reshape(-1)[-1:].reshape(()) if t.numel() else t,
    "expanded": lambda t: t.unsqueeze(0).expand(3, *t.shape),
    "nothing of it": lambda t: t[:0] if t.ndim else t,
}
SAVED = ["zip", "deflated zip", "old"]


def saved(content: object, form: str = "zip", protocol: int = 2) -> bytes:
    """Return a checkpoint in one of three forms."""
    stream = io.BytesIO()
    torch.save(content, stream, pickle_protocol=protocol, _use_new_zipfile_serialization=form != "old")
    return packed(members_of(stream.getvalue()), zipfile.ZIP_DEFLATED) if form == "deflated zip" else stream.getvalue()


def members_of(content: bytes) -> dict[str, bytes]:
    """Return the members of an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def read(content: bytes) -> Any:
    """Return what a checkpoint holds."""
    return read_checkpoint(memoryview(bytearray(content)))


def by_pytorch(content: bytes) -> Any:
    """Return what PyTorch finds."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def assert_same(found: StoredTensor, expected: torch.Tensor) -> None:
    """Compare shape, type and all bits."""
    tensor = found.load()
    assert (tuple(found.shape), found.dtype) == (tuple(expected.shape), expected.dtype)
    assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype)
    assert bits(tensor) == bits(expected)


def bits(tensor: torch.Tensor) -> bytes:
    """Return the values of a tensor in order."""
    values = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    return values.reshape(-1).view(torch.uint8).numpy().tobytes()


@st.composite
def state_dicts(draw: st.DrawFn) -> dict[str, Any]:
    """Tensors of any type and shape; views of shared memory; parameters; other values beside them."""
    seed = draw(st.integers(0, 1 << 30))
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Any] = OrderedDict() if draw(st.booleans()) else {}
    for number in range(draw(st.integers(0, 4))):
        shape = draw(st.lists(st.integers(0, 4), max_size=4))
        values = torch.randint(-100, 100, shape, generator=generator).to(torch.float32)
        base = values.to(draw(st.sampled_from(DTYPES)))
        for view in draw(st.lists(st.sampled_from(sorted(VIEWS)), min_size=1, max_size=3)):
            tensor = VIEWS[view](base)
            if tensor.is_floating_point() and tensor.is_leaf and draw(st.booleans()):
                tensor = torch.nn.Parameter(tensor, requires_grad=draw(st.booleans()))
            state[f"{number}.{view}"] = tensor
    state["other"] = draw(st.sampled_from([1, 0.5, "text", None, (1, 2), torch.Size((2, 3)), [torch.device("cpu")]]))
    return state


@given(state_dicts(), st.sampled_from(SAVED), st.sampled_from(range(2, 6)))
def test_tensors_are_what_pytorch_reads(state: dict[str, Any], form: str, protocol: int) -> None:
    content = saved(state, form, protocol)
    # PyTorch's safe reader knows protocol 2 alone, and in the old form not the types that have no storage class.
    is_typed = not any(isinstance(value, torch.Tensor) and value.dtype in UNTYPED for value in state.values())
    is_known = protocol == 2 and (form != "old" or is_typed)
    found, expected = read(content), by_pytorch(content) if is_known else state
    assert list(found) == list(expected)
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert_same(found[key], value)


def test_a_state_dict_with_metadata() -> None:
    torch.manual_seed(3)
    state = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).state_dict()
    assert state._metadata  # type: ignore[attr-defined]
    for form in SAVED:
        found = read(saved({"state_dict": state, "epoch": 3}, form))
        assert found["epoch"] == 3
        assert found["state_dict"].keys() == state.keys()
        for key, value in state.items():
            assert_same(found["state_dict"][key], value)


@pytest.mark.parametrize("form", SAVED)
def test_shared_memory_is_read_once(form: str) -> None:
    base = torch.arange(12.0)
    found = read(saved({"a": base, "b": base[3:].reshape(3, 3).T}, form))
    a, b = found["a"].load(), found["b"].load()
    a[3] = 70
    assert b[0, 0] == 70
    assert a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def test_stored_tensors_take_no_memory_beside_the_file() -> None:
    content = bytearray(saved({"a": torch.zeros(64 << 18)}))
    with at_most_more(16 << 20):
        tensor = read_checkpoint(memoryview(content))["a"].load()
    tensor[:] = 7
    assert content.count(struct.pack("<f", 7)) == 64 << 18


def test_deflated_tensors_take_no_more_than_they_are() -> None:
    content = saved({"a": torch.zeros(64 << 18), "b": torch.zeros(64 << 18)}, "deflated zip")
    assert len(content) < 1 << 20
    with at_most_more(96 << 20):
        found = read(content)  # nothing is unpacked for its names
        assert not found["a"].load().any()


def _negated(tensor: torch.Tensor) -> torch.Tensor:
    return torch._neg_view(tensor)


class Subclass(torch.Tensor):
    """A tensor of another class."""


def test_flags_and_classes_of_tensors() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    with_attribute = tensor.clone()
    with_attribute.note = "text"  # type: ignore[attr-defined]
    parameter = torch.nn.Parameter(tensor.clone())
    parameter.note = "text"  # type: ignore[attr-defined]
    state = {
        "negated": _negated(tensor),
        "attribute": with_attribute,
        "parameter": parameter,
        "subclass": tensor.as_subclass(Subclass),
    }
    for form in SAVED:
        found = read(saved(state, form))
        for key in state:
            assert_same(found[key], state[key])


def test_tensors_that_are_no_numbers_side_by_side_are_foreign() -> None:
    with warnings.catch_warnings():  # nested and quantized tensors are going out of use
        warnings.simplefilter("ignore")
        odd = {
            "sparse": torch.eye(3).to_sparse(),
            "nested": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
            "quantized": torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
            "meta": torch.zeros(3, device="meta"),
        }
    for form in SAVED[:2]:
        found = read(saved({**odd, "plain": torch.ones(2)}, form))
        assert all(type(found[key]) is Foreign for key in odd)
        assert_same(found["plain"], torch.ones(2))
    found = read(saved({"quantized": odd["quantized"], "plain": torch.ones(2)}, "old"))
    assert_same(found["plain"], torch.ones(2))


def test_values_of_the_other_byte_order() -> None:
    state = {"half": torch.randn(5).half(), "long": torch.arange(5), "complex": torch.randn(3, dtype=torch.complex64)}
    members = members_of(saved(state))
    (order,) = (name for name in members if name.endswith("/byteorder"))
    assert members[order] == b"little"
    members[order] = b"big"
    content = packed(members)
    for key, expected in by_pytorch(content).items():
        assert_same(read(content)[key], expected)
    members[order] = b"middle"
    with pytest.raises(InvalidArgumentError, match="has the byte order b'middle', expected little or big"):
        read(packed(members))
    del members[order]
    assert_same(read(packed(members))["half"], state["half"])


BESIDE = {
    "numpy scalar": np.float64(0.2),
    "numpy array": np.arange(3),
    "arguments": argparse.Namespace(lr=0.1),
    "function": torch.nn.functional.relu,
    "class": torch.nn.Linear,
    "module": torch.nn.Linear(2, 3),
    "dtype": torch.float32,
    "device": torch.device("cpu"),
    "generator's state": torch.get_rng_state(),
    "set": {1, 2},
    "sparse": torch.eye(2).to_sparse(),
    "layout": torch.strided,
}


def _optimizer() -> dict[str, Any]:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight])
    weight.grad = torch.ones(2)
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize("form", SAVED)
@pytest.mark.parametrize("protocol", range(2, 6))
def test_other_objects_do_no_harm(form: str, protocol: int) -> None:
    state = {"a": torch.randn(2, 3), "b": torch.arange(3)}
    with warnings.catch_warnings():  # the old form says that it cannot find a module's source
        warnings.simplefilter("ignore")
        content = saved({**BESIDE, "optimizer": _optimizer(), "state_dict": state}, form, protocol)
    found = read(content)
    assert list(found) == [*BESIDE, "optimizer", "state_dict"]
    for key in state:
        assert_same(found["state_dict"][key], state[key])


def _rewritten(change: Callable[[dict[str, bytes]], None]) -> bytes:
    """Return a checkpoint of one tensor "a" of 4 x 3 float32 and "b" of 5 int64, with changed members."""
    members = members_of(saved({"a": torch.ones(4, 3), "b": torch.arange(5)}))
    change(members)
    return packed(members)


def _replaced(old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        assert members["archive/data.pkl"].count(old) == 1
        members["archive/data.pkl"] = members["archive/data.pkl"].replace(old, new)

    return change


SIZE = b"K\4K\3\x86"  # of the tensor "a"; then the strides 3 and 1, and before them the offset 0
STRIDES = b"K\3K\1\x86"
HOSTILE: dict[str, Callable[[dict[str, bytes]], None]] = {
    "a negative size": _replaced(SIZE, b"J\xfc\xff\xff\xffK\3\x86"),
    "a negative stride": _replaced(STRIDES, b"J\xfd\xff\xff\xffK\1\x86"),
    "a size of one": _replaced(SIZE, b"K\4\x85"),
    "a size that is no number": _replaced(SIZE, b"K\4G?\xf0\0\0\0\0\0\0\x86"),
    "True as a size": _replaced(SIZE, b"K\4\x88\x86"),
    "sizes in a list": _replaced(SIZE, b"](K\4K\3e"),
    "a size larger than the storage": _replaced(SIZE, b"K\5K\3\x86"),
    "a vast size": _replaced(SIZE, b"\x8a\7\0\0\0\0\0\0\1K\3\x86"),
    "a size of 250 bytes": _replaced(SIZE, b"\x8a\xfa" + b"\x7f" * 250 + b"K\3\x86"),
    "a stride larger than the storage": _replaced(STRIDES, b"K\4K\1\x86"),
    "an empty tensor of vast sizes": _replaced(SIZE, b"K\0\x8a\7\0\0\0\0\0\0\1\x86"),
    "an offset": _replaced(b"QK\0" + SIZE[:2], b"QK\1" + SIZE[:2]),
    "a storage of more elements": _replaced(b"cpuq\6K\x0c", b"cpuq\6K\x0d"),
    "a storage of negative elements": _replaced(b"cpuq\6K\x0c", b"cpuq\6J\xff\xff\xff\xff"),
    "a part of a storage": _replaced(b"cpuq\6K\x0ct", b"cpuq\6K\x0c(K\0K\1K\2tt"),
    "a storage of wider elements": _replaced(b"FloatStorage", b"DoubleStorage"),
    "a missing storage": lambda members: members.__delitem__("archive/data/0"),
    "a storage cut off": lambda members: members.update({"archive/data/0": members["archive/data/0"][:-1]}),
    "no pickle": lambda members: members.__delitem__("archive/data.pkl"),
    "two pickles": lambda members: members.update({"other/data.pkl": members["archive/data.pkl"]}),
    "two types of one storage": _replaced(b"1q\x10h\x06", b"0q\x10h\x06"),
    "a reference of another kind": _replaced(b"X\7\0\0\0storage", b"X\7\0\0\0storagf"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_checkpoints_are_refused(name: str) -> None:
    content = _rewritten(HOSTILE[name])
    began = time.process_time()
    with at_most_more(64 << 20), pytest.raises(InvalidArgumentError):
        read(content)["a"].load()
    assert time.process_time() - began < 1


def test_the_checkpoint_that_is_made_hostile_is_read() -> None:
    found = read(_rewritten(lambda members: None))
    assert_same(found["a"], torch.ones(4, 3))
    assert_same(found["b"], torch.arange(5))


def test_a_pickle_of_too_many_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.model.weights.checkpoint.MAX_PICKLE_BYTES", 1 << 20)
    names = {"a" * (2 << 20): torch.ones(1)}
    with pytest.raises(InvalidArgumentError, match="has 2 MiB of names beside its tensors, expected at most 1 MiB"):
        read(saved(names))
    with pytest.raises(InvalidArgumentError, match="has a pickle that is damaged near byte"):
        read(saved(names, "old"))


def test_the_old_form_is_read_strictly() -> None:
    content = saved({"a": torch.ones(4, 3), "b": torch.arange(5)}, "old")
    values = struct.pack("<q", 12) + torch.ones(12).numpy().tobytes()
    assert content.count(values) == 1
    number = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2)
    for damaged, message in {
        content.replace(values, struct.pack("<q", 13) + values[8:]): "are not those of a tensor",
        content[:-1]: r"has [\d,]+ bytes and needs",
        content.replace(number, pickle.dumps(7, 2)): "does not begin like a checkpoint",
        content.replace(b"\x80\x02M\xe9\x03.", b"\x80\x02M\xe8\x03."): "does not begin like a checkpoint",
    }.items():
        assert damaged != content
        with pytest.raises(InvalidArgumentError, match=message):
            read(damaged)
    parts = content.index(values)
    keys = content.rindex(b"\x80\x02]", 0, parts)
    found = read(content[:keys] + pickle.dumps([], 2) + content[parts:])
    with pytest.raises(InvalidArgumentError, match="lacks values of"):
        found["a"].load()
