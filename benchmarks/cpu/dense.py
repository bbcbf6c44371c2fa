"""What decoding meshes takes: measured on the CPU, modelled on a GPU: python -m benchmarks.cpu.dense.

Everything on the CPU runs on one thread (OMP_NUM_THREADS=1 for NumPy's products). A modelled time is no measurement.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from benchmarks.cpu.side_by_side import milliseconds, time_in_turn
from benchmarks.kernels.model.gpus import GPUS, Gpu
from benchmarks.kernels.model.units import START_US, roofline
from engine.mesh.dense.run import DenseDecoder
from engine.mesh.dense.values import CODE, DENSE_VALUES
from engine.mesh.dense.weights import DecoderWeights
from engine.mesh.levels import MeshLevels, make_levels
from engine.mesh.topology import Topology
from engine.runtime.cpu.ort_import import import_ort

FACES = (1, 5, 20)
HALF = 2  # bytes of a float16
REACHED = 0.5  # of the peaks of memory and matrix units, by products of these sizes: an assumption


class Layer(NamedTuple):
    """A convolution: order, vertices after and before the up-sampling in it, channels before and after it."""

    order: int
    out_vertices: int
    vertices: int
    channels: int
    out_channels: int


def main() -> None:
    """Measure, and print both tables."""
    import torch

    from engine.export.dense import export_dense
    from engine.mesh.dense.decoder import MeshDecoder
    from engine.mesh.dense.faces import DenseFaces

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=32, help="of a sheet of so many by so many vertices (default 32)")
    parser.add_argument("--order", type=int, default=3, help="Chebyshev polynomials (default 3)")
    parser.add_argument("--rounds", type=int, default=40, help="timed rounds (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    levels = make_levels(sheet(arguments.rows))
    decoder = MeshDecoder(levels, order=arguments.order)
    network = export_dense(DenseFaces(levels, decoder)).SerializeToString()
    weights = decoder.weights()
    print(f"{len(levels.topology.vertices)} vertices, order {arguments.order}\n")
    print("| faces | NumPy, ms a face | ONNX Runtime, ms a face | convolutions of sparse matrices (SciPy), ms a face |")
    print("|--:|--:|--:|--:|")
    for faces in FACES:
        seconds = time_in_turn(ways(weights, network, faces), arguments.rounds)
        cells = [milliseconds({name: taken / faces}, name) for name, taken in seconds.items()]
        print(f"| {faces} | {' | '.join(cells)} |")
    gpu = next(gpu for gpu in GPUS if gpu.name == "RTX 4090")
    print(f"\n| faces | dense on {gpu.name}, modelled, us | sparse, us |\n|--:|--:|--:|")
    for faces in FACES:
        dense = sum(modelled_dense(layer, faces, gpu) for layer in layers(weights)) + linear(weights, faces, gpu)
        with_graph = sum(modelled_sparse(layer, faces, gpu) for layer in layers(weights)) + linear(weights, faces, gpu)
        print(f"| {faces} | {dense:.0f} | {with_graph:.0f} |")


def sheet(rows: int) -> Topology:
    """Return a bulged sheet of rows x rows vertices."""
    y, x = np.meshgrid(np.linspace(1, -1, rows), np.linspace(-1, 1, rows), indexing="ij")
    places = np.stack([x, y, -0.3 * (x**2 + y**2) + 0.1 * np.sin(5 * x + 3 * y)], axis=2).reshape(-1, 3)
    index = np.arange(rows * rows).reshape(rows, rows)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([a, c, b], 2).reshape(-1, 3), np.stack([b, c, d], 2).reshape(-1, 3)])
    return Topology(places.astype(np.float32), triangles.astype(np.int32))


def ways(weights: DecoderWeights, network: bytes, faces: int) -> dict[str, Callable[[], object]]:
    """Return ways to decode some faces, by name. The sparse one does the convolutions only."""
    onnxruntime = import_ort()
    rng = np.random.default_rng(faces)
    values = rng.normal(0, 0.3, (faces, DENSE_VALUES)).astype(np.float32)
    boxes = np.tile(np.array([100, 100, 300, 340], np.float32), (faces, 1))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    decoder, steps = DenseDecoder(weights), list(sparse_steps(weights))

    def with_graph() -> object:
        x: Any = np.ones((steps[0][0].shape[1], faces * steps[0][2].shape[1]), np.float32)
        for step in steps:
            x = convolve_sparse(x, *step)
        return x

    return {
        "numpy": lambda: decoder.decode(values, boxes),
        "onnx": lambda: session.run(None, {"values": values, "boxes": boxes}),
        "sparse": with_graph,
    }


def convolve_sparse(x: Any, up: Any, laplacian: Any, weight: Any) -> Any:
    """Up-sample and convolve features [V, faces x channels], without a bias."""
    order, channels = weight.shape[:2]
    terms = [up @ x]
    if order > 1:
        terms.append(laplacian @ terms[0])
    while len(terms) < order:
        terms.append(2 * (laplacian @ terms[-1]) - terms[-2])
    summed = sum(term.reshape(-1, channels) @ w for term, w in zip(terms, weight, strict=True))
    return np.asarray(summed).reshape(len(terms[0]), -1)


def sparse_steps(weights: DecoderWeights) -> Iterator[tuple[Any, Any, Any]]:
    """Yield of each convolution its up-sampling, its Laplacian, both sparse, and its weights."""
    levels: MeshLevels = weights.levels
    for i in range(len(levels.up) - 1, -2, -1):
        topology = levels.topologies[max(i, 0)]
        count = len(topology.vertices)
        up = levels.up[i].matrix(len(levels.kept[i])) if i >= 0 else np.eye(count, dtype=np.float32)
        a, b = topology.edges.T
        ones = np.ones(2 * len(a))
        adjacency = sparse.csr_matrix((ones, (np.concatenate([a, b]), np.concatenate([b, a]))), (count, count))
        root = sparse.diags(1 / np.sqrt(np.asarray(adjacency.sum(0)).ravel()))
        name = f"stages.{len(levels.up) - 1 - i}" if i >= 0 else "last"
        yield (
            sparse.csr_matrix(up),
            (-root @ adjacency @ root).astype(np.float32).tocsr(),
            weights.tensors[f"{name}.weight"],
        )


def layers(weights: DecoderWeights) -> Iterator[Layer]:
    """Yield the convolutions of a decoder."""
    for up, laplacian, weight in sparse_steps(weights):
        order, channels, out_channels = weight.shape
        yield Layer(order, laplacian.shape[0], up.shape[1], channels, out_channels)


def modelled_dense(layer: Layer, faces: int, gpu: Gpu) -> float:
    """Return the microseconds of a convolution as two matrix products in float16, and of its activation."""
    mixed = min(layer.channels, layer.out_channels) * faces
    basis = product(layer.order * layer.out_vertices, mixed, layer.vertices, gpu)
    rows = (layer.out_vertices if layer.channels <= layer.out_channels else layer.vertices) * faces
    weight = product(rows, layer.out_channels, layer.order * layer.channels, gpu)
    return basis + weight + START_US  # the activation's data stays in the L2 cache


def modelled_sparse(layer: Layer, faces: int, gpu: Gpu) -> float:
    """Return the microseconds with a kernel for each sparse product, whose neighbours come from the L2 cache.

    A vertex has 6 neighbours; an up-sampled one is of 3. Polynomials follow each other, so each is a kernel, or a wait
    of all blocks for each other inside of one.
    """
    row_bytes = layer.channels * faces * HALF
    l2_bytes_per_us = gpu.l2_bytes * gpu.multiprocessors * gpu.clock_ghz * 1e3
    kernels, gathered = layer.order - 1, 7 * (layer.order - 1)
    if layer.vertices != layer.out_vertices:
        kernels, gathered = kernels + 1, gathered + 3
    traffic = (gathered + kernels) * layer.out_vertices * row_bytes / l2_bytes_per_us / REACHED
    rows = layer.out_vertices * faces
    return (
        kernels * START_US + traffic + product(rows, layer.out_channels, layer.order * layer.channels, gpu) + START_US
    )


def linear(weights: DecoderWeights, faces: int, gpu: Gpu) -> float:
    """Return the microseconds of the first layer, and of the projection, which is one kernel."""
    return product(faces, len(weights.tensors["start.bias"]), CODE, gpu) + START_US


def product(rows: int, columns: int, summed: int, gpu: Gpu) -> float:
    """Return the modelled microseconds of a matrix product in float16."""
    moved = HALF * (rows * summed + summed * columns + rows * columns)
    return START_US + roofline(moved, 2 * rows * columns * summed, gpu) / REACHED


if __name__ == "__main__":
    main()
