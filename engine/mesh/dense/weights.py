"""A trained mesh decoder: the levels of its mesh and its weights, in one file of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.mesh.arrays import load_arrays, make_of, typed, write_arrays
from engine.mesh.dense.values import CODE
from engine.mesh.laplacian import chebyshev_basis, scaled_laplacian
from engine.mesh.levels import MeshLevels, levels_of
from engine.types import FloatArray
from engine.untrusted.limits import MAX_DECODER_BYTES, MAX_DECODER_MEMORY_BYTES, MAX_DECODER_VALUES

_MOST_TERMS = 16
_VALUE_BYTES = 4
_WHAT = "the weights of a dense branch"


class DecoderWeights(NamedTuple):
    """What `MeshDecoder` consists of, without PyTorch.

    Attributes:
        levels: of the mesh.
        tensors: float32, by their names in the decoder's state_dict.
    """

    levels: MeshLevels
    tensors: dict[str, FloatArray]

    @property
    def order(self) -> int:
        """Number of Chebyshev polynomials."""
        return len(self.tensors["last.weight"])

    def channels(self) -> list[int]:
        """Return the channels of each level, finest first."""
        names = [f"stages.{i}.weight" for i in range(len(self.levels.up))]
        return [self.tensors[name].shape[1] for name in ("last.weight", *reversed(names))]

    def save(self, path: Path) -> None:
        """Write them to a file, which `load_weights` reads.

        Raises:
            OutputError: the file cannot be written.
        """
        write_arrays(path, {**self.levels.arrays(), **self.tensors})


def load_weights(path: Path) -> DecoderWeights:
    """Read what `DecoderWeights.save` wrote.

    Raises:
        InvalidArgumentError: the file cannot be read, or is none of these; the message names it.
    """
    return load_arrays(path, _WHAT, _checked)


def weights_of(content: bytes) -> DecoderWeights:
    """Return what is in the content of such a file.

    Raises:
        InvalidArgumentError: it is damaged, none of these, or has more than MAX_DECODER_BYTES when it is unpacked.
    """
    return make_of(content, _WHAT, _checked, MAX_DECODER_BYTES)


def _checked(arrays: Mapping[str, NDArray[Any]]) -> DecoderWeights:
    levels = levels_of(arrays)
    names = [*(f"stages.{i}" for i in range(len(levels.up))), "last"]
    tensors = {f"{name}.{kind}": arrays[f"{name}.{kind}"] for name in ("start", *names) for kind in ("weight", "bias")}
    shapes = [tensors[f"{name}.weight"].shape for name in names]
    if any(len(shape) != 3 or not 0 < shape[0] <= _MOST_TERMS or 0 in shape for shape in shapes):
        raise InvalidArgumentError(
            f"weights have the shapes {shapes}, expected [K, C, C'] with K of 1 to {_MOST_TERMS}"
        )
    _check_cost(levels, shapes)
    # What follows from the channels between the layers.
    coarsest = len(levels.topologies[-1].vertices) * shapes[0][1]
    following = [shape[1] for shape in shapes[1:]] + [6]
    expected: dict[str, tuple[int, ...]] = {"start.weight": (coarsest, CODE), "start.bias": (coarsest,)}
    for name, shape, channels in zip(names, shapes, following, strict=True):
        expected |= {f"{name}.weight": (shapes[0][0], shape[1], channels), f"{name}.bias": (channels,)}
    for name, tensor in tensors.items():
        if typed(tensor, np.float32).shape != expected[name] or not np.isfinite(tensor).all():
            raise InvalidArgumentError(
                f"{name} has the shape {tensor.shape} or values that are not finite, expected {expected[name]}"
            )
    return DecoderWeights(levels, tensors)


def _check_cost(levels: MeshLevels, shapes: Sequence[tuple[int, ...]]) -> None:
    """Check how much memory the bases take, and how much a layer computes for a face."""
    counts = [len(topology.vertices) for topology in levels.topologies]
    pairs = [*pairwise(reversed(counts)), (counts[0], counts[0])]
    needed = sum(_VALUE_BYTES * shape[0] * fine * coarse for shape, (coarse, fine) in zip(shapes, pairs, strict=True))
    if needed > MAX_DECODER_MEMORY_BYTES:
        raise InvalidArgumentError(
            f"its polynomials take {needed:,} bytes of memory, expected at most {MAX_DECODER_MEMORY_BYTES:,}: take a "
            "mesh of fewer vertices, or a lower order"
        )
    computed = max(values_of_a_face(shape, max(pair)) for shape, pair in zip(shapes, pairs, strict=True))
    if computed > MAX_DECODER_VALUES:
        raise InvalidArgumentError(
            f"a layer computes {computed:,} values for a face, expected at most {MAX_DECODER_VALUES:,}: take fewer "
            "channels"
        )


def values_of_a_face(shape: Sequence[int], vertices: int) -> int:
    """Return how many values a convolution holds for a face: with weights [K, C, C'], and so many vertices."""
    order, *channels = shape
    return order * vertices * max(channels)


def bases(levels: MeshLevels, order: int) -> list[FloatArray]:
    """Return the bases of a decoder's convolutions, float32 [K, V', V], from the coarsest to the last one.

    All but the last have the up-sampling before them in it.
    """
    stages = [
        chebyshev_basis(scaled_laplacian(topology), order, up.matrix(len(kept)))
        for topology, up, kept in zip(levels.topologies, levels.up, levels.kept, strict=False)
    ]
    return [*reversed(stages), chebyshev_basis(scaled_laplacian(levels.topology), order)]
