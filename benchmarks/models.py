"""Builds every preset as published, in float32, float16 and INT8, and writes the table of docs/models.md.

    python -m benchmarks.models            # rewrites the table
    python -m benchmarks.models --check    # fails if a preset does not build or the table is out of date

Engines are portable TensorRT-RTX engines for up to 16 images of the preset's input size. Their size depends neither on
the weights, which are random here, nor on the scales, so INT8 is not calibrated. Takes a few minutes; needs no GPU.
"""

from __future__ import annotations

import argparse

import onnx
import torch
from torch import nn

from benchmarks.kernels import document
from engine.backend.plugin_library import plugin_library
from engine.backend.targets import check_targets
from engine.backend.tensorrt import load_backend
from engine.build.plan import PlanOptions, Toolchain, build_plan
from engine.config.detection import InputSize, Thresholds
from engine.config.formats import INT8
from engine.config.model import RetinaFaceConfig
from engine.config.presets import PRESETS
from engine.export.attach import attach_detection
from engine.export.network import export_network
from engine.model.retinaface import RetinaFace
from engine.model.weights.load import load_model
from engine.precision.cast import to_fp16
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import points, quantisable, scale_groups
from engine.precision.qdq.rewrite import prepare
from engine.precision.qdq.simulate import Simulation, to_half
from engine.precision.qdq.writer import write_quantised

DOCUMENT = document.ROOT / "docs" / "models.md"
TABLE = "model table"
HEADER = ["preset", "parameters", "GFLOPs at 640x640", "input", "anchors", "FP32 engine, MB", "FP16", "INT8"]
SIZES = 3  # columns with engine sizes, the last ones
MAX_BATCH = 16
# Engine sizes differ a little between versions of TensorRT-RTX.
SIZE_TOLERANCE = 0.05


def main(arguments: list[str] | None = None) -> int:
    """Measure every preset; write the table, or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the table in the document, write nothing")
    options = parser.parse_args(arguments)
    written = {row[0]: row for row in _rows(document.read(TABLE, DOCUMENT))}
    rows = []
    outdated = 0
    for config in PRESETS.values():
        row = [f"`{config.name}`", *facts(config), *(f"{size / 1e6:.1f}" for size in engine_bytes(config))]
        rows.append(row)
        print(*row, sep="  ", flush=True)
        if options.check and not _agree(row, written.get(row[0], [])):
            print(f"    docs/models.md says: {'  '.join(written.get(row[0], ['nothing']))}")
            outdated += 1
    if not options.check:
        document.write(TABLE, document.table(HEADER, rows), DOCUMENT)
    elif outdated:
        print("The table in docs/models.md is out of date: make model-table rewrites it.")
    return 1 if outdated else 0


def facts(config: RetinaFaceConfig) -> list[str]:
    """Return parameters, GFLOPs, input size and anchors."""
    with torch.device("meta"):
        model = RetinaFace(config).eval()
    height, width = config.input_size
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return [
        f"{parameters:,}",
        f"{flops(model, 640, 640) / 1e9:.2f}",
        f"{height}x{width}",
        f"{config.num_anchors(height, width):,}",
    ]


def flops(model: RetinaFace, height: int, width: int) -> int:
    """Count the operations of the convolutions for one image, two per multiply-add. The model is on device `meta`."""
    total = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += 2 * output.numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    model(torch.empty(1, 3, height, width, device="meta"))
    return total


def engine_bytes(config: RetinaFaceConfig) -> list[int]:
    """Build the float32, float16 and INT8 engines from one export; return their sizes in bytes."""
    backend, size = load_backend("tensorrt-rtx"), InputSize.fixed(*config.input_size)
    toolchain = Toolchain(backend, plugin_library(), check_targets((), backend.runtime))
    network = export_network(load_model(config, "random")[0], size)
    sizes = []
    for typed in (network, to_fp16(network), _int8(network, config.input_size)):
        detector = attach_detection(typed, config, Thresholds())
        plan = build_plan(detector, toolchain, PlanOptions(size, MAX_BATCH))
        sizes.append(len(plan.data))
    return sizes


def _int8(network: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto:
    """Return the network with every convolution in INT8: real weight scales, one made-up scale for all activations."""
    graph = Graph(prepare(network), size)
    simulation = Simulation(graph)
    simulation.assignment = simulation.fitted = dict.fromkeys(quantisable(graph, INT8), INT8)
    groups = scale_groups(graph)
    for name, kind in points(graph, simulation.assignment):
        simulation.scales[groups.get(name, name), kind] = torch.tensor(0.01)
    for name in simulation.assignment:
        largest = simulation.weights[name].abs().amax(dim=(1, 2, 3), keepdim=True)
        simulation.steps[name, INT8] = to_half(largest / INT8.largest)
    return write_quantised(graph, simulation)


def _rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def _agree(row: list[str], written: list[str]) -> bool:
    if row[:-SIZES] != written[:-SIZES]:
        return False
    pairs = zip(row[-SIZES:], written[-SIZES:], strict=True)
    return all(abs(float(mine) - float(theirs)) <= SIZE_TOLERANCE * float(theirs) for mine, theirs in pairs)


if __name__ == "__main__":
    raise SystemExit(main())
