"""Fake quantisation with gradients, against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.config.formats import FP8, INT8, NumberFormat
from engine.precision.qdq.simulate import fake_quantise
from engine.precision.trained.rounding import as_half, quantise


@pytest.mark.parametrize("kind", [INT8, FP8])
@pytest.mark.parametrize("shape", [(), (4, 1, 1, 1)])
def test_values_and_gradients(rng: np.random.Generator, kind: NumberFormat, shape: tuple[int, ...]) -> None:
    x = torch.from_numpy(rng.normal(0, 2, (4, 3, 5, 5)).astype(np.float32)).requires_grad_()
    # A few values saturate at either end.
    scale = torch.tensor(rng.uniform(3, 4, shape) / kind.largest, dtype=torch.float32, requires_grad=True)
    given = quantise(x, scale, kind)
    assert torch.equal(given, fake_quantise(x, scale, kind))
    weights = torch.from_numpy(rng.normal(size=x.shape).astype(np.float32))
    (given * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert scale.grad is not None
    values, factors, g = (t.detach().numpy().astype(np.float64) for t in (x, scale, weights))
    ratio, on_grid = values / factors, given.detach().numpy() / factors
    saturated = (ratio < kind.lowest) | (ratio > kind.largest)
    assert saturated.any()
    np.testing.assert_array_equal(x.grad.numpy(), np.where(saturated, 0, g).astype(np.float32))
    # Inside, on_grid is ratio plus a constant, so that d(on_grid * scale) = on_grid - ratio; outside it is a constant.
    wanted = g * np.where(saturated, on_grid, on_grid - ratio)
    wanted = wanted.sum() if shape == () else wanted.sum(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(scale.grad.numpy(), wanted, rtol=1e-3, atol=1e-3)


def test_scales_are_rounded_with_the_gradient_of_the_identity() -> None:
    scale = torch.tensor([1e-12, 0.1, 3.0003], requires_grad=True)
    given = as_half(scale)
    assert given.tolist() == pytest.approx([2.0**-14, float(np.float16(0.1)), float(np.float16(3.0003))], rel=1e-7)
    given.sum().backward()  # type: ignore[no-untyped-call]
    assert scale.grad is not None
    assert scale.grad.tolist() == [1.0, 1.0, 1.0]
