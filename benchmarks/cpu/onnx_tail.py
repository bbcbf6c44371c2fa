"""Times decoding and suppression in an exported ONNX file against ours: python -m benchmarks.cpu.onnx_tail.

The heads are those of mobilenet0.25 at 640 x 640, with a given number of candidates at random anchors. ONNX Runtime
runs the file's nodes behind the heads. Everything runs on one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.cpu.side_by_side import milliseconds, ratio, time_in_turn
from engine.config.detection import OPSET, InputSize, Thresholds, output_shapes
from engine.config.presets import preset
from engine.export.decoding import append_decoding
from engine.export.nodes import Nodes
from engine.export.suppression import SUPPRESSIONS, append_suppression
from engine.runtime.cpu.ort_import import import_ort
from engine.runtime.cpu.session import detect
from engine.types import FloatArray

CONFIG, SIZE = preset("mobilenet0.25"), InputSize.fixed(640, 640)
CANDIDATES = (0, 100, 1000, 5000)
NO_CANDIDATE = -10.0


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="timed rounds (default %(default)s)")
    rounds = parser.parse_args().rounds
    thresholds = Thresholds()
    tails = {method: _session(_tail(method, thresholds)) for method in SUPPRESSIONS}
    print(f"| candidates | faces | ours, ms | {' | '.join(f'{method}, ms | ratio' for method in tails)} |")
    print(f"|{'--:|' * (3 + 2 * len(tails))}")
    for candidates in CANDIDATES:
        heads = _heads(np.random.default_rng(candidates), candidates)
        in_order = [heads[name] for name in CONFIG.head_names()]
        faces = int(detect(in_order, CONFIG, thresholds).num_detections[0])
        ways: dict[str, Callable[[], object]] = {"ours": partial(detect, in_order, CONFIG, thresholds)}
        ways |= {method: partial(tail.run, None, heads) for method, tail in tails.items()}
        seconds = time_in_turn(ways, rounds)
        cells = [cell for method in tails for cell in (milliseconds(seconds, method), ratio(seconds, method, "ours"))]
        print(f"| {candidates} | {faces} | {milliseconds(seconds, 'ours')} | {' | '.join(cells)} |")


def _tail(method: str, thresholds: Thresholds) -> onnx.ModelProto:
    """Return a model from heads to faces."""
    shapes = CONFIG.head_shapes(*SIZE.optimum).items()
    heads = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape]) for name, shape in shapes]
    faces = [onnx.ValueInfoProto(name=name) for name in output_shapes(CONFIG, thresholds)]
    graph = helper.make_graph([], "tail", heads, faces)
    candidates = append_decoding(Nodes(graph, "decode"), CONFIG, thresholds, SIZE)
    append_suppression(Nodes(graph, "suppress"), candidates, thresholds, method, classes=1)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _session(model: onnx.ModelProto) -> Any:
    ort = import_ort()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _heads(rng: np.random.Generator, candidates: int) -> dict[str, FloatArray]:
    """Return one image's heads in which this many anchors have scores above the threshold."""
    shapes = CONFIG.head_shapes(*SIZE.optimum)
    heads = {name: rng.normal(0, 0.5, (1, *shape)).astype(np.float32) for name, shape in shapes.items()}
    chosen = rng.permutation(CONFIG.num_anchors(*SIZE.optimum)) < candidates
    for level in CONFIG.levels:
        logits = heads[f"logits_{level.stride}"]
        here, chosen = chosen[: logits[:, 1::2].size], chosen[logits[:, 1::2].size :]
        margins = np.where(here, rng.uniform(-3.5, 5, here.size), NO_CANDIDATE)
        logits[:, 0::2], logits[:, 1::2] = 0, margins.reshape(logits[:, 1::2].shape)
    return heads


if __name__ == "__main__":
    main()
