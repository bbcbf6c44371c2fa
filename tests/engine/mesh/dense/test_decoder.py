"""Chebyshev convolutions and the decoder made of them, against sums over neighbours in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from engine.errors import InvalidArgumentError
from engine.mesh.dense.convolution import ChebConv
from engine.mesh.dense.decoder import MeshDecoder
from engine.mesh.laplacian import chebyshev_basis, scaled_laplacian
from engine.mesh.levels import make_levels
from engine.mesh.topology import Topology
from tests.engine.mesh.meshes import icosphere, mask

Floats = NDArray[np.float64]
# Sums of some hundred float32 products of values about 1.
TOLERANCE = 1e-5


def convolved(topology: Topology, x: Floats, weight: Floats, bias: Floats) -> Floats:
    """A Chebyshev convolution of x [N, V, C] by walking over the triangles' sides; no matrix of the graph is made."""
    near: list[set[int]] = [set() for _ in topology.vertices]
    for corners in topology.triangles.tolist():
        for corner in corners:
            near[corner] |= set(corners) - {corner}

    def laplacian(values: Floats) -> Floats:
        out = np.zeros_like(values)
        for i, others in enumerate(near):
            for j in others:
                out[:, i] -= values[:, j] / np.sqrt(len(near[i]) * len(near[j]))
        return out

    terms = [x, laplacian(x)]
    while len(terms) < len(weight):
        terms.append(2 * laplacian(terms[-1]) - terms[-2])
    return np.asarray(sum(term @ w for term, w in zip(terms, weight, strict=False)) + bias)


def of(parameter: torch.Tensor) -> Floats:
    return parameter.detach().double().numpy()


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize(("channels", "out_channels"), [(3, 5), (5, 3), (4, 4), (1, 1)])
def test_convolutions_are_sums_over_neighbours(
    order: int, channels: int, out_channels: int, rng: np.random.Generator
) -> None:
    topology = mask(5, 4) if order % 2 else icosphere(0)
    layer = ChebConv(channels, out_channels, chebyshev_basis(scaled_laplacian(topology), order))
    torch.nn.init.normal_(layer.bias)
    x = rng.normal(size=(3, len(topology.vertices), channels))
    ours = layer(torch.from_numpy(x).float().transpose(0, 1)).transpose(0, 1)
    expected = convolved(topology, x, of(layer.weight), of(layer.bias))
    assert np.abs(of(ours) - expected).max() < TOLERANCE


@pytest.mark.parametrize("topology", [icosphere(1), mask(6, 7)])
def test_the_scaled_laplacian_has_eigenvalues_from_minus_1_to_1(topology: Topology) -> None:
    laplacian = scaled_laplacian(topology)
    values = np.linalg.eigvalsh(laplacian)
    assert values.min() == pytest.approx(-1)  # the constant, weighted by degrees: L's eigenvalue 0
    assert values.max() < 1 + 1e-12
    polynomials = np.polynomial.chebyshev.Chebyshev.basis
    basis = chebyshev_basis(laplacian, 5)
    for k in range(5):
        assert np.allclose(np.linalg.eigvalsh(basis[k]), np.sort(polynomials(k)(values)), atol=TOLERANCE)
    with pytest.raises(InvalidArgumentError, match="the order is 0"):
        chebyshev_basis(laplacian, 0)


def test_polynomials_are_those_of_whole_matrices(rng: np.random.Generator) -> None:
    """Of more columns than are computed at once, alone and times a matrix."""
    laplacian = scaled_laplacian(icosphere(3))
    of = rng.normal(size=(642, 30)).astype(np.float32)
    terms = [np.eye(642), laplacian]
    while len(terms) < 4:
        terms.append(2 * laplacian @ terms[-1] - terms[-2])
    for order in (1, 2, 4):
        assert np.allclose(chebyshev_basis(laplacian, order), np.stack(terms[:order]), atol=1e-6)
        assert np.allclose(chebyshev_basis(laplacian, order, of), np.stack(terms[:order]) @ of, atol=1e-5)


@pytest.mark.parametrize("number", [1, 3])
def test_the_decoder_up_samples_and_convolves(number: int, rng: np.random.Generator) -> None:
    levels = make_levels(mask(9, 8), [20, 8])
    decoder = MeshDecoder(levels, [6, 7, 5], order=4)
    codes = rng.normal(size=(number, 128))
    ours = decoder(torch.from_numpy(codes).float())
    x = (codes @ of(decoder.start.weight).T + of(decoder.start.bias)).reshape(number, 8, 5)
    for stage, level in zip(decoder.stages, (1, 0), strict=True):
        assert isinstance(stage, ChebConv)
        fine = np.stack([_mixed(levels.up[level], values) for values in _elu(x)])
        x = convolved(levels.topologies[level], fine, of(stage.weight), of(stage.bias))
    last = convolved(levels.topology, _elu(x), of(decoder.last.weight), of(decoder.last.bias))
    template = np.concatenate([levels.topology.vertices, np.full((72, 3), 0.5)], axis=1)
    assert ours.shape == (number, 72, 6)
    assert np.abs(of(ours) - last - template).max() < TOLERANCE


def _elu(x: Floats) -> Floats:
    return of(functional.elu(torch.from_numpy(x)))


def _mixed(up: tuple[NDArray[np.int32], NDArray[np.float32]], values: Floats) -> Floats:
    indices, weights = up
    return np.asarray(np.einsum("vk,vkc->vc", weights, values[indices]))


def test_a_mesh_of_one_level_is_decoded_from_a_linear_layer() -> None:
    decoder = MeshDecoder(make_levels(icosphere(0)))
    assert decoder(torch.zeros(2, 128)).shape == (2, 12, 6)
    assert set(decoder.state_dict()) == {"start.weight", "start.bias", "last.weight", "last.bias"}


def test_channels_that_do_not_fit_the_levels_are_refused() -> None:
    levels = make_levels(icosphere(1), [12])
    for channels in ([16], [16, 0], [1, 2, 3]):
        with pytest.raises(InvalidArgumentError, match="expected a number for each of 2 levels, finest first"):
            MeshDecoder(levels, channels)
